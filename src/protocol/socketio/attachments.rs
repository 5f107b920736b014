//! Puts binary packets together: a text message announces attachments, one binary message brings each of them. Or a binary message is
//! a packet by itself, from clients that speak MessagePack.
//!
//! Owns the state between those messages. The caller feeds every message of a connection in order and ends the connection
//! at the first error; what has been collected is dropped then.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Body, DecodeError, Encoding, Limits, Packet, Revision, msgpack, packet::Header, placeholders};

/// Reads the Socket.IO packets of one connection.
///
/// It keeps at most one packet, with at most [`Limits::attachments`] attachments, each as large as the transport lets a
/// message be; [`pending_bytes`](Self::pending_bytes) tells how much that is.
#[derive(Debug)]
pub struct Decoder {
    revision: Revision,
    limits: Limits,
    /// `None` until the first message shows it.
    encoding: Option<Encoding>,
    pending: Option<Pending>,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(revision: Revision, limits: Limits) -> Self {
        let encoding = match revision {
            // Here the server speaks first.
            Revision::V4 => Some(Encoding::Json),
            Revision::V5 => None,
        };
        Self { revision, limits, encoding, pending: None }
    }

    /// The same for a client that is known to speak MessagePack.
    #[must_use]
    pub fn with_msgpack(self) -> Self {
        Self { encoding: Some(Encoding::Msgpack(self.revision)), ..self }
    }

    /// In what form the client speaks and has to be spoken to; JSON as long as it has said nothing.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or(Encoding::Json)
    }

    /// Takes a text message. `None`: it announces attachments, and the packet is complete with the last of them.
    ///
    /// Spec: Socket.IO protocol v4 and v5, "Packet encoding".
    ///
    /// # Errors
    ///
    /// As [`decode`](super::decode), and [`MissingAttachment`](DecodeError::MissingAttachment) while attachments are
    /// missing. The header of a binary packet is checked in full, placeholders included, before anything is kept.
    pub fn handle_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, DecodeError> {
        match self.encoding.get_or_insert(Encoding::Json) {
            Encoding::Json => {}
            Encoding::Msgpack(Revision::V4) => return msgpack::decode_control(text, &self.limits).map(Some),
            Encoding::Msgpack(Revision::V5) => return Err(DecodeError::Text),
        }
        if self.pending.take().is_some() {
            return Err(DecodeError::MissingAttachment);
        }
        let header = Header::decode(self.revision, text, &self.limits)?;
        let (expected, payload) = (header.attachments, header.payload);
        let packet = header.into_packet(&self.limits)?;
        if expected == 0 {
            return Ok(Some(packet));
        }
        if !placeholders::all_have_attachments(payload, expected) {
            return Err(DecodeError::Placeholder);
        }
        let assembled = Assembled::of(&packet);
        self.pending = Some(Pending { expected, bytes: text.len(), assembled });
        Ok(None)
    }

    /// Takes a binary message: an attachment, or a packet in MessagePack. `None`: more are missing.
    ///
    /// A connection whose first message is a CONNECT in MessagePack speaks it from then on.
    ///
    /// # Errors
    ///
    /// [`UnannouncedAttachment`](DecodeError::UnannouncedAttachment) when no packet waits for it; as [`msgpack::decode`].
    pub fn handle_binary(&mut self, data: Bytes) -> Result<Option<Assembled>, DecodeError> {
        match self.encoding {
            Some(Encoding::Json) => {}
            Some(Encoding::Msgpack(_)) => return msgpack::decode(self.revision, &data, &self.limits).map(Some),
            None if !msgpack::is_map(&data) => return Err(DecodeError::UnannouncedAttachment),
            None => {
                let packet = msgpack::decode(self.revision, &data, &self.limits)?;
                if !matches!(packet.content, Content::Connect(_)) {
                    return Err(DecodeError::UnannouncedAttachment);
                }
                self.encoding = Some(Encoding::Msgpack(self.revision));
                return Ok(Some(packet));
            }
        }
        let mut pending = self.pending.take().ok_or(DecodeError::UnannouncedAttachment)?;
        pending.bytes = pending.bytes.saturating_add(data.len());
        pending.assembled.attachments.push(data);
        if pending.assembled.attachments.len() < pending.expected {
            self.pending = Some(pending);
            return Ok(None);
        }
        Ok(Some(pending.assembled))
    }

    /// Bytes on the wire of the packet that waits for attachments, header included; 0 without one.
    pub fn pending_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.bytes)
    }
}

/// A packet with all its attachments.
#[derive(Debug)]
pub struct Assembled {
    /// In the order they came, which is what the placeholders' `num` counts. Some may have no placeholder.
    pub attachments: Vec<Bytes>,
    namespace: String,
    query: Option<String>,
    id: Option<u64>,
    content: Content,
}

impl Assembled {
    /// The packet; the placeholders in it all name one of the attachments.
    pub fn packet(&self) -> Packet<'_> {
        let body = match &self.content {
            Content::Connect(auth) => Body::Connect(auth.as_deref()),
            Content::Disconnect => Body::Disconnect,
            Content::Event { name, args } => {
                Body::Event { name: name.into(), args: args.iter().map(|arg| &**arg).collect() }
            }
            Content::Ack(args) => Body::Ack(args.iter().map(|arg| &**arg).collect()),
        };
        Packet { namespace: &self.namespace, query: self.query.as_deref(), id: self.id, body }
    }

    /// The packet, kept for itself.
    pub(super) fn of(packet: &Packet<'_>) -> Self {
        let content = match &packet.body {
            Body::Connect(auth) => Content::Connect(auth.map(RawValue::to_owned)),
            Body::Disconnect => Content::Disconnect,
            Body::Event { name, args } => Content::Event { name: (**name).to_owned(), args: own(args) },
            Body::Ack(args) => Content::Ack(own(args)),
        };
        Self {
            attachments: Vec::new(),
            namespace: packet.namespace.to_owned(),
            query: packet.query.map(str::to_owned),
            id: packet.id,
            content,
        }
    }
}

/// A packet that waits for attachments.
#[derive(Debug)]
struct Pending {
    /// Attachments that were announced, at least 1.
    expected: usize,
    bytes: usize,
    assembled: Assembled,
}

/// The body of a packet, kept until its attachments are there.
#[derive(Debug)]
enum Content {
    Connect(Option<Box<RawValue>>),
    Disconnect,
    Event { name: String, args: Vec<Box<RawValue>> },
    Ack(Vec<Box<RawValue>>),
}

fn own(args: &[&RawValue]) -> Vec<Box<RawValue>> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}
