//! Catching up after an absence.

mod config;

pub use self::config::Config;
