//! Polling and WebSocket sessions.

mod config;

pub use self::config::{Config, TransportName};
