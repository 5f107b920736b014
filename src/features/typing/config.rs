//! Section `[typing]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of typing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A user's typing is told at most once within this time, in milliseconds; clients repeat it as often.
    pub heartbeat_ms: u64,
    /// Typing that is not repeated ends after this time, in milliseconds.
    pub expire_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { heartbeat_ms: 3000, expire_ms: 8000 }
    }
}

impl Config {
    /// A user's typing is told at most once within this time.
    #[must_use]
    pub const fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// Typing that is not repeated ends after this time.
    #[must_use]
    pub const fn expire(&self) -> Duration {
        Duration::from_millis(self.expire_ms)
    }
}
