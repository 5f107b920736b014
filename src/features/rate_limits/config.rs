//! Section `[rate_limits]`.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Settings of the rate limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most events of one user within the window.
    pub max: u32,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// Limits of single events, by name.
    pub events: BTreeMap<String, Limit>,
    /// Limits of users with a role, by role.
    pub roles: BTreeMap<String, Limit>,
}

/// So many within so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Most events within the window.
    pub max: u32,
    /// The window in milliseconds.
    pub window_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max: 30, window_ms: 10_000, events: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

impl Config {
    /// What holds where neither the event nor the role says otherwise.
    #[must_use]
    pub const fn general(&self) -> Limit {
        Limit { max: self.max, window_ms: self.window_ms }
    }
}

impl Limit {
    /// The window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }
}
