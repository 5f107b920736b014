//! Puts binary packets together: a text message announces attachments, one binary message brings each of them.
//!
//! Owns the state between those messages. The caller feeds every message of a connection in order and ends the connection
//! at the first error; what has been collected is dropped then.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Body, DecodeError, Limits, Packet, Revision, packet::Header, placeholders};

/// Reads the Socket.IO packets of one connection.
///
/// It keeps at most one packet, with at most [`Limits::attachments`] attachments, each as large as the transport lets a
/// message be; [`pending_bytes`](Self::pending_bytes) tells how much that is.
#[derive(Debug)]
pub struct Decoder {
    revision: Revision,
    limits: Limits,
    pending: Option<Pending>,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(revision: Revision, limits: Limits) -> Self {
        Self { revision, limits, pending: None }
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
        let assembled = Assembled::without_attachments(&packet).ok_or(DecodeError::Attachments)?;
        self.pending = Some(Pending { expected, bytes: text.len(), assembled });
        Ok(None)
    }

    /// Takes a binary message, which must be an attachment. `None`: more are missing.
    ///
    /// # Errors
    ///
    /// [`UnannouncedAttachment`](DecodeError::UnannouncedAttachment) when no packet waits for it.
    pub fn handle_binary(&mut self, data: Bytes) -> Result<Option<Assembled>, DecodeError> {
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

/// A binary packet with all its attachments.
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
    /// The packet, its body an event or an ack; the placeholders in it all name one of the attachments.
    pub fn packet(&self) -> Packet<'_> {
        let body = match &self.content {
            Content::Event { name, args } => {
                Body::Event { name: name.into(), args: args.iter().map(|arg| &**arg).collect() }
            }
            Content::Ack(args) => Body::Ack(args.iter().map(|arg| &**arg).collect()),
        };
        Packet { namespace: &self.namespace, query: self.query.as_deref(), id: self.id, body }
    }

    /// `None` for the types that have no attachments.
    fn without_attachments(packet: &Packet<'_>) -> Option<Self> {
        let content = match &packet.body {
            Body::Connect(_) | Body::Disconnect => return None,
            Body::Event { name, args } => Content::Event { name: (**name).to_owned(), args: own(args) },
            Body::Ack(args) => Content::Ack(own(args)),
        };
        Some(Self {
            attachments: Vec::new(),
            namespace: packet.namespace.to_owned(),
            query: packet.query.map(str::to_owned),
            id: packet.id,
            content,
        })
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

/// The body of a binary packet, kept until its attachments are there.
#[derive(Debug)]
enum Content {
    Event { name: String, args: Vec<Box<RawValue>> },
    Ack(Vec<Box<RawValue>>),
}

fn own(args: &[&RawValue]) -> Vec<Box<RawValue>> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}
