//! Section `[missed_messages]`.

use serde::{Deserialize, Serialize};

/// Settings of catching up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most messages and changes in one answer.
    pub max_page: usize,
    /// Size at which an answer ends early, in bytes of JSON.
    pub max_page_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_page: 500, max_page_bytes: 524_288 }
    }
}
