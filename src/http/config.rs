//! Section `[server]`: where to listen, who may call from a browser, and what a connection may cost.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::setting;

/// Settings of the HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Origins of web pages that may call (`https://chat.example.org`), or `*` for any. Empty: pages of the same origin only.
    #[serde(deserialize_with = "setting::list")]
    pub client_origin: Vec<String>,
    /// Time for the headers of a request, in milliseconds; a connection between two requests is closed after it, too.
    pub header_timeout_ms: u64,
    /// Time for the body of a request, in milliseconds.
    pub body_timeout_ms: u64,
    /// Largest body of a REST request in bytes.
    pub max_body_bytes: usize,
    /// Largest request line and headers together, in bytes.
    pub max_header_bytes: usize,
    /// Most connections at the same time; more wait to be accepted.
    pub max_connections: usize,
    /// Memory of the process in bytes from which on new sessions are refused; 0: four fifths of what it may use.
    pub memory_high_bytes: u64,
    /// Time to tell clients, flush and close after SIGTERM, in milliseconds.
    pub shutdown_timeout_ms: u64,
    /// Proxies whose `X-Forwarded-For` is believed: addresses, or networks such as `10.0.0.0/8`.
    #[serde(deserialize_with = "setting::list")]
    pub trusted_proxies: Vec<String>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Programs on this machine that connect directly, not through a proxy.
    #[default]
    Loopback,
    /// Whoever reaches the server.
    Public,
    /// Nobody.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)),
            client_origin: Vec::new(),
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            max_body_bytes: 65_536,
            max_header_bytes: 16_384,
            max_connections: 20_000,
            memory_high_bytes: 0,
            shutdown_timeout_ms: 10_000,
            trusted_proxies: Vec::new(),
            metrics: MetricsAccess::Loopback,
        }
    }
}

impl Config {
    /// Time for the headers of a request.
    #[must_use]
    pub const fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// Time for the body of a request.
    #[must_use]
    pub const fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// Time to tell clients, flush and close.
    #[must_use]
    pub const fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}
