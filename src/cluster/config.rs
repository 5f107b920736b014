//! Section `[cluster]`: several servers as one, with Redis between them.

use std::{fmt::Write as _, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::setting::Secret;

/// Longest name of a node in bytes.
const MAX_NODE_ID: usize = 64;

/// Settings of a node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this server is a node of a cluster.
    pub enabled: bool,
    /// Where Redis is. Wins over host, port, password and database.
    #[serde(skip_serializing)]
    pub url: Option<Secret>,
    /// Redis's host.
    pub host: String,
    /// Redis's port.
    pub port: u16,
    /// Redis's password.
    #[serde(skip_serializing)]
    pub password: Option<Secret>,
    /// The number of the database in Redis.
    pub db: u32,
    /// What the names of all keys and channels of this server begin with.
    pub prefix: String,
    /// What the names of the channels begin with that are shared with Socket.IO servers on Node.
    pub socketio_key: String,
    /// The name of this node. Unset: made at random and kept in the data directory.
    pub node_id: Option<String>,
    /// Where the other nodes reach this one.
    pub advertise_url: Option<String>,
    /// What the nodes know each other by. Unset: derived from the JWT secret.
    #[serde(skip_serializing)]
    pub secret: Option<Secret>,
    /// A node that is silent for so long counts as gone, in milliseconds.
    pub lease_ms: u64,
    /// How many entries of the log Redis keeps, about.
    pub log_entries: u64,
    /// Most bytes that wait on this node's disk while Redis is away; messages beyond are refused.
    pub spool_max_bytes: usize,
    /// Whether a Redis is used that forgets at a restart or drops keys when it is full.
    pub allow_volatile_redis: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            url: None,
            host: "localhost".to_owned(),
            port: 6379,
            password: None,
            db: 0,
            prefix: "hobnob".to_owned(),
            socketio_key: "socket.io".to_owned(),
            node_id: None,
            advertise_url: None,
            secret: None,
            lease_ms: 10_000,
            log_entries: 100_000,
            spool_max_bytes: 256 << 20,
            allow_volatile_redis: false,
        }
    }
}

impl Config {
    /// A node that is silent for so long counts as gone.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// The address of Redis with all that is needed to log in. Not for any log: see [`Target`](super::redis::Target).
    pub(super) fn redis_url(&self) -> String {
        if let Some(url) = &self.url {
            return String::from_utf8_lossy(url.as_bytes()).into_owned();
        }
        let mut url = "redis://".to_owned();
        if let Some(password) = &self.password {
            let password = String::from_utf8_lossy(password.as_bytes());
            write!(url, ":{}@", utf8_percent_encode(&password, NON_ALPHANUMERIC)).unwrap_or_default();
        }
        let is_bare_ipv6 = self.host.contains(':') && !self.host.starts_with('[');
        let (open, close) = if is_bare_ipv6 { ("[", "]") } else { ("", "") };
        write!(url, "{open}{}{close}:{}/{}", self.host, self.port, self.db).unwrap_or_default();
        url
    }
}

/// True for what can name a node: letters, digits, `.`, `-` and `_`.
#[must_use]
pub fn is_node_id(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    (1..=MAX_NODE_ID).contains(&text.len()) && text.bytes().all(is_plain)
}

/// True for what names of keys and channels can begin with: printable, short, and nothing that Redis would take for a pattern.
#[must_use]
pub fn is_key_prefix(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'/');
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_wins_over_its_parts() {
        let mut config = Config { host: "redis.example".into(), port: 7000, db: 3, ..Config::default() };
        assert_eq!(config.redis_url(), "redis://redis.example:7000/3");
        config.password = Some(Secret::new("p@ss:/word"));
        assert_eq!(config.redis_url(), "redis://:p%40ss%3A%2Fword@redis.example:7000/3");
        config.host = "::1".into();
        assert!(config.redis_url().ends_with("@[::1]:7000/3"));
        config.url = Some(Secret::new("rediss://other"));
        assert_eq!(config.redis_url(), "rediss://other");
    }

    #[test]
    fn neither_the_password_nor_the_url_is_shown() {
        let config = Config { url: Some(Secret::new("redis://:hunter2@x")), ..Config::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn prefixes_are_no_patterns() {
        assert!(is_key_prefix("socket.io") && is_key_prefix("app:hobnob"));
        for other in ["", "a*", "a?", "a[b]", "a#", "a b", "é"] {
            assert!(!is_key_prefix(other) && !is_node_id(other), "{other}");
        }
    }
}
