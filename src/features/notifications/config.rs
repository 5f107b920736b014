//! Section `[notifications]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of notifications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a notification is kept after it was read, in seconds.
    pub read_retention_s: u64,
    /// Most notifications of one user; the oldest read ones go first, then the oldest.
    pub max_per_user: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { read_retention_s: 604_800, max_per_user: 1000 }
    }
}

impl Config {
    /// How long a notification is kept after it was read.
    #[must_use]
    pub const fn read_retention(&self) -> Duration {
        Duration::from_secs(self.read_retention_s)
    }
}
