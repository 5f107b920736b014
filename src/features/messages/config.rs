//! Section `[messages]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest text of a message in characters (Unicode scalar values).
    pub max_content_chars: usize,
    /// How long a repeated `clientId` finds the first message, in seconds.
    pub client_id_retention_s: u64,
    /// How long messages are kept, in seconds; 0: for ever.
    pub retention_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_content_chars: 5000, client_id_retention_s: 604_800, retention_s: 0 }
    }
}

impl Config {
    /// How long a repeated `clientId` finds the first message.
    #[must_use]
    pub const fn client_id_retention(&self) -> Duration {
        Duration::from_secs(self.client_id_retention_s)
    }

    /// How long messages are kept, unless it is for ever.
    #[must_use]
    pub fn retention(&self) -> Option<Duration> {
        (self.retention_s > 0).then(|| Duration::from_secs(self.retention_s))
    }
}
