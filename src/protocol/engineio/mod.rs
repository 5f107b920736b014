//! Engine.IO: the transport-independent session under Socket.IO.
//!
//! Owns packets, polling payloads and what differs between protocol versions 3 and 4. It must not know what a text
//! message contains.

pub mod jsonp;
pub mod packet;
pub mod payload;
pub mod session;

use thiserror::Error;

pub use jsonp::Jsonp;
pub use packet::Packet;
pub use session::{CloseReason, Output, Session, Timing};

/// A protocol version that is spoken here, as the client names it in the query parameter `EIO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Socket.IO clients 1.x and 2.x: the client pings, polling payloads carry lengths.
    V3,
    /// Socket.IO clients 3.x and 4.x: the server pings, polling payloads carry separators.
    V4,
}

impl Version {
    /// The version named by the query parameter `EIO`: exactly `3` or `4`, everything else is not spoken here.
    pub fn from_query(value: &str) -> Option<Self> {
        match value {
            "3" => Some(Self::V3),
            "4" => Some(Self::V4),
            _ => None,
        }
    }

    /// The number of the version, for logs and metrics.
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

/// How packets travel, as the client names it in the query parameter `transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// HTTP long-polling: a GET waits for packets, a POST brings some.
    Polling,
    /// One WebSocket: a frame is a packet.
    WebSocket,
}

impl TransportKind {
    /// The transport named by the query parameter `transport`, in lower case only.
    pub fn from_query(value: &str) -> Option<Self> {
        match value {
            "polling" => Some(Self::Polling),
            "websocket" => Some(Self::WebSocket),
            _ => None,
        }
    }

    /// The name on the wire, which is also the one in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// Why bytes are no packet or no payload. Always the peer's fault; the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A packet has at least its type, a payload at least one packet.
    #[error("empty packet or payload")]
    Empty,
    /// The first character, or the first byte of a binary packet, is no packet type.
    #[error("unknown packet type")]
    UnknownType,
    /// The binary packet inside a text is not base64 of the standard alphabet.
    #[error("broken base64")]
    Base64,
    /// The text is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// The length in front of a packet has no digit, more than [`payload::LENGTH_DIGITS`], or no terminator.
    #[error("malformed packet length")]
    Length,
    /// The length in front of a packet reaches past the payload, or ends inside a character.
    #[error("packet length does not fit the payload")]
    Truncated,
    /// The binary framing, which version 4 does not have, or a byte in it that says neither text nor binary.
    #[error("invalid binary framing")]
    Framing,
}
