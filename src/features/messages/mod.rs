//! Sending, editing and deleting messages.

mod config;

pub use self::config::Config;
