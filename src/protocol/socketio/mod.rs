//! Socket.IO packets: namespaces, events, acks, and binary attachments around them.
//!
//! Owns the grammar `type [attachments "-"] [namespace ","] [ack id] [JSON]` and its limits. Arguments stay raw JSON text:
//! numbers beyond 2^53, lone surrogate escapes and duplicate keys reach the receiver as the sender wrote them. It must not
//! know which namespaces and events exist.

pub mod attachments;
mod json;
pub mod msgpack;
pub mod packet;
mod placeholders;

use thiserror::Error;

pub use attachments::{Assembled, Decoder};
pub use packet::{
    Body, Packet, PacketType, decode, encode_ack, encode_connect, encode_connect_error, encode_disconnect, encode_event,
};

use super::engineio;

/// A revision of the Socket.IO protocol; each goes with one version of Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// With Engine.IO 3: a namespace may carry a query, CONNECT is answered without payload.
    V4,
    /// With Engine.IO 4: CONNECT carries a payload both ways.
    V5,
}

impl From<engineio::Version> for Revision {
    fn from(version: engineio::Version) -> Self {
        match version {
            engineio::Version::V3 => Self::V4,
            engineio::Version::V4 => Self::V5,
        }
    }
}

/// In what form the packets of a connection go over the wire, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Text, with binary data as messages of its own behind it.
    Json,
    /// One binary message each ([`msgpack`]), a little differently in each revision.
    Msgpack(Revision),
}

/// What a client's packet may hold. The size of a packet in bytes is bounded by the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most attachments of one packet.
    pub attachments: usize,
    /// Longest event name in bytes, after its escapes are resolved.
    pub event_name_bytes: usize,
    /// Longest namespace in bytes, with its slash and, in revision 4, without its query.
    pub namespace_bytes: usize,
    /// Deepest nesting of arrays and objects, counting the array that holds the arguments.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attachments: 10, event_name_bytes: 128, namespace_bytes: 128, depth: 64 }
    }
}

/// Why a message is no Socket.IO packet of a client. Always the peer's fault; the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The message is empty, or its first character is no type that clients send.
    #[error("unknown packet type")]
    UnknownType,
    /// A binary packet announces no attachments or more than allowed, or comes where attachments are not taken.
    #[error("invalid number of attachments")]
    Attachments,
    /// The namespace is too long or, in MessagePack, cannot be written as text: without a slash in front, or with a comma.
    #[error("invalid namespace")]
    Namespace,
    /// The ack id is beyond 2^53-1, or an ack has none.
    #[error("invalid ack id")]
    Id,
    /// The payload is not the JSON that goes with the type, has more than [`packet::MAX_ARGUMENTS`], or text behind it.
    #[error("invalid payload")]
    Payload,
    /// The payload is nested too deeply.
    #[error("payload is nested too deeply")]
    Depth,
    /// The event name is missing, no string or number, too long, or reserved for the library.
    #[error("invalid event name")]
    EventName,
    /// A placeholder has no index, or the index of no attachment.
    #[error("placeholder without attachment")]
    Placeholder,
    /// A text packet came while attachments were missing.
    #[error("text packet between attachments")]
    MissingAttachment,
    /// A binary message came that no packet announced.
    #[error("binary message without packet")]
    UnannouncedAttachment,
    /// A binary message of a client that speaks MessagePack is none, or not a map of the fields of a packet.
    #[error("invalid MessagePack")]
    Msgpack,
    /// An extension type of MessagePack that stands for nothing in JSON.
    #[error("unknown extension type")]
    Extension,
    /// A text message of a client that speaks MessagePack.
    #[error("text message in MessagePack")]
    Text,
}
