//! Section `[rate_limits]`.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Settings of the rate limits. A limit of 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most events of one user within the window.
    pub max: u32,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// Most REST requests of one user within their window.
    pub rest_max: u32,
    /// The window of REST requests in milliseconds.
    pub rest_window_ms: u64,
    /// Most REST requests with one key of the app's backend within their window.
    pub backend_max: u32,
    /// The window of the backend's requests in milliseconds.
    pub backend_window_ms: u64,
    /// Most handshakes and refused sign-ins from one address within their window.
    pub address_max: u32,
    /// The window of addresses in milliseconds.
    pub address_window_ms: u64,
    /// Most sessions from one address at a time.
    pub sessions_per_address: u32,
    /// Most sockets of one user in one namespace at a time.
    pub sockets_per_user: u32,
    /// Limits of single events, by name.
    pub events: BTreeMap<String, Limit>,
    /// Limits of users with a role, by role.
    pub roles: BTreeMap<String, Limit>,
}

/// So many within so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Most events within the window; 0 for no limit.
    pub max: u32,
    /// The window in milliseconds.
    pub window_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max: 30,
            window_ms: 10_000,
            rest_max: 120,
            rest_window_ms: 10_000,
            backend_max: 10_000,
            backend_window_ms: 10_000,
            address_max: 300,
            address_window_ms: 60_000,
            sessions_per_address: 256,
            sockets_per_user: 32,
            events: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }
}

impl Config {
    /// What holds where neither the event nor the role says otherwise.
    #[must_use]
    pub const fn general(&self) -> Limit {
        Limit { max: self.max, window_ms: self.window_ms }
    }

    /// REST requests of a user.
    #[must_use]
    pub const fn rest(&self) -> Limit {
        Limit { max: self.rest_max, window_ms: self.rest_window_ms }
    }

    /// REST requests with a key of the app's backend.
    #[must_use]
    pub const fn backend(&self) -> Limit {
        Limit { max: self.backend_max, window_ms: self.backend_window_ms }
    }

    /// Handshakes and refused sign-ins from an address.
    #[must_use]
    pub const fn address(&self) -> Limit {
        Limit { max: self.address_max, window_ms: self.address_window_ms }
    }
}

impl Limit {
    /// The window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// Nothing when the limit is off.
    #[must_use]
    pub const fn enabled(self) -> Option<Self> {
        if self.max == 0 || self.window_ms == 0 { None } else { Some(self) }
    }

    /// The same window for so many times as much.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        Self { max: self.max.saturating_mul(factor), ..self }
    }

    /// Whether this lets more through than `other` does, in the long run. One that is off lets everything through.
    #[must_use]
    pub fn exceeds(&self, other: &Self) -> bool {
        match (self.enabled(), other.enabled()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(own), Some(other)) => {
                u128::from(own.max) * u128::from(other.window_ms) > u128::from(other.max) * u128::from(own.window_ms)
            }
        }
    }
}
