//! Log output.

mod config;

pub use self::config::{Config, Format};
