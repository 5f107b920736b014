//! How many events a user may send in a while, over all sockets together.

mod config;

pub use self::config::{Config, Limit};
