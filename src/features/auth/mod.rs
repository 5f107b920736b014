//! Who is calling.

mod config;

pub use self::config::Config;
