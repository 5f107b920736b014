//! Section `[compat]`: what is done for clients of older servers alone.

use serde::{Deserialize, Serialize};

/// Settings of compatibility.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether events also go out under the names that older clients listen to.
    pub legacy_events: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { legacy_events: true }
    }
}
