//! Section `[locks]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of message locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a lock holds unless it is renewed, in milliseconds.
    pub timeout_ms: u64,
    /// How long the lock of a user outlives the last of his sockets, in milliseconds.
    pub grace_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout_ms: 300_000, grace_ms: 10_000 }
    }
}

impl Config {
    /// How long a lock holds unless it is renewed.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long the lock of a user outlives the last of his sockets.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}
