//! One person at a time edits a message.

mod config;

pub use self::config::Config;
