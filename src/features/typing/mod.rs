//! Who is writing at the moment.

mod config;

pub use self::config::Config;
