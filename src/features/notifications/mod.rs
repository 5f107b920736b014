//! Notifications: kept for people until they have read them.

mod config;

pub use self::config::Config;
