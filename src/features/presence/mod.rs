//! Who is online.

mod config;

pub use self::config::Config;
