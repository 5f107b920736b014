//! What waits for people who are away, until its delivery is confirmed.

mod config;

pub use self::config::{Config, Confirm, Delivery};
