//! Sections `[queue]` and `[delivery]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a message waits for a member who is away, in seconds.
    pub expiry_s: u64,
    /// Most messages that wait for one user; the oldest go first.
    pub max_per_user: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { expiry_s: 604_800, max_per_user: 10_000 }
    }
}

impl Config {
    /// How long a message waits for a member who is away.
    #[must_use]
    pub const fn expiry(&self) -> Duration {
        Duration::from_secs(self.expiry_s)
    }
}

/// Settings of delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// What confirms that a message has arrived.
    pub confirm: Confirm,
}

/// What confirms that a message has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// The transport: an answer to a ping sent after it, or the next poll.
    #[default]
    Transport,
    /// Nothing but the events `message:delivered` and `message:read`.
    Explicit,
}
