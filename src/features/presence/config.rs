//! Section `[presence]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a user stays online after the last of his sockets has gone, in milliseconds.
    pub offline_grace_ms: u64,
    /// In conversations with more members nobody is told who comes and goes.
    pub max_told_members: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { offline_grace_ms: 10_000, max_told_members: 500 }
    }
}

impl Config {
    /// How long a user stays online after the last of his sockets has gone.
    #[must_use]
    pub const fn offline_grace(&self) -> Duration {
        Duration::from_millis(self.offline_grace_ms)
    }
}
