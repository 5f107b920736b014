//! Section `[socketio]`: the options of the Socket.IO server, and the limits of a session.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::engineio::TransportKind;

/// Settings of Engine.IO and Socket.IO sessions.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch by itself")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Path of the endpoint. It starts and ends with a slash.
    pub path: String,
    /// Time between two heartbeats, in milliseconds.
    pub ping_interval_ms: u64,
    /// Time to answer a heartbeat before the session counts as lost, in milliseconds.
    pub ping_timeout_ms: u64,
    /// Time to finish an upgrade from polling to WebSocket, in milliseconds.
    pub upgrade_timeout_ms: u64,
    /// Time to join a first namespace, in milliseconds: a peer that shows no token is gone after it.
    pub connect_timeout_ms: u64,
    /// Largest message, and largest polling body, of a signed-in client in bytes.
    pub max_http_buffer_bytes: usize,
    /// Largest message, and largest polling body, before the client has joined a namespace, in bytes.
    pub unauthenticated_bytes: usize,
    /// Whether clients of Engine.IO 3 (socket.io-client 1.x and 2.x) may connect.
    pub allow_eio3: bool,
    /// The transports offered.
    pub transports: Vec<TransportName>,
    /// Whether a session may move from polling to WebSocket.
    pub allow_upgrades: bool,
    /// Whether handshakes that a page of a foreign origin causes are forbidden, `server.client_origin` being the others. Without it
    /// such a page gets nowhere without a token, and its browser's cookies do not count.
    pub check_origin: bool,
    /// Most packets that wait for a client; at more the client is cut off as too slow.
    pub outbox_packets: usize,
    /// Most bytes that wait for a client; at more the client is cut off as too slow.
    pub outbox_bytes: usize,
    /// Most namespaces that one session may join.
    pub max_namespaces: usize,
    /// Most events of one session that are worked on at the same time; reading pauses until one is done.
    pub in_flight_events: usize,
    /// Whether messages over WebSocket (permessage-deflate, both ways) and polling answers (gzip) are compressed for clients that offer
    /// it.
    pub compression: bool,
    /// Messages and polling answers of fewer bytes are sent as they are.
    pub compression_threshold_bytes: usize,
    /// How long after its connection was cut a client may take up its session again, in milliseconds; 0: never.
    pub recovery_ms: u64,
}

/// A transport, as settings spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// WebSocket.
    WebSocket,
    /// HTTP long-polling.
    Polling,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            ping_interval_ms: 25_000,
            ping_timeout_ms: 60_000,
            upgrade_timeout_ms: 10_000,
            connect_timeout_ms: 10_000,
            max_http_buffer_bytes: 1_000_000,
            unauthenticated_bytes: 16_384,
            allow_eio3: true,
            transports: vec![TransportName::WebSocket, TransportName::Polling],
            allow_upgrades: true,
            check_origin: false,
            outbox_packets: 1024,
            outbox_bytes: 1_048_576,
            max_namespaces: 16,
            in_flight_events: 64,
            compression: true,
            compression_threshold_bytes: 1024,
            recovery_ms: 120_000,
        }
    }
}

impl Config {
    /// Time between two heartbeats.
    #[must_use]
    pub const fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    /// Time to answer a heartbeat.
    #[must_use]
    pub const fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout_ms)
    }

    /// Time to finish an upgrade.
    #[must_use]
    pub const fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.upgrade_timeout_ms)
    }

    /// Time to join a first namespace.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long a session may be taken up again.
    #[must_use]
    pub const fn recovery(&self) -> Duration {
        Duration::from_millis(self.recovery_ms)
    }

    /// Whether `transport` is offered.
    #[must_use]
    pub fn offers(&self, transport: TransportKind) -> bool {
        let name = match transport {
            TransportKind::WebSocket => TransportName::WebSocket,
            TransportKind::Polling => TransportName::Polling,
        };
        self.transports.contains(&name)
    }

    /// Whether polling sessions are told that they may upgrade.
    #[must_use]
    pub fn upgrades(&self) -> bool {
        self.allow_upgrades && self.offers(TransportKind::WebSocket)
    }
}
