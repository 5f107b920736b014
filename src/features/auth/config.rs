//! Section `[auth]`: which tokens are accepted, and where they are looked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{self, Secret};

/// Settings of authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the operator, not states")]
pub struct Config {
    /// The secret that HS256 tokens are signed with, at least 32 bytes. Without one the server makes its own in the data
    /// directory at the first start.
    #[serde(skip_serializing)]
    pub jwt_secret: Option<Secret>,
    /// When set, tokens must carry this `iss`.
    pub issuer: Option<String>,
    /// When not empty, tokens must carry one of these as `aud`.
    #[serde(deserialize_with = "setting::list")]
    pub audience: Vec<String>,
    /// How far the clocks of the issuer and of this server may differ, in seconds.
    pub leeway_s: u64,
    /// Whether tokens must carry `exp`.
    pub require_exp: bool,
    /// Whether an unknown user id in a valid token makes a user on the spot.
    pub auto_provision: bool,
    /// Whether the query parameter `token` is looked at.
    pub query_token: bool,
    /// Whether the cookie `token` is looked at; it counts only from an allowed origin.
    pub cookie_token: bool,
    /// Longest token in bytes.
    pub max_token_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            issuer: None,
            audience: Vec::new(),
            leeway_s: 5,
            require_exp: true,
            auto_provision: true,
            query_token: true,
            cookie_token: true,
            max_token_bytes: 4096,
        }
    }
}

impl Config {
    /// How far the clocks of the issuer and of this server may differ.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        Duration::from_secs(self.leeway_s)
    }
}
