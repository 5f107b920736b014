//! Packets on their way out: encoded once, shared by all receivers and by both transports.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{
    deflate::{Deflate, Shared},
    websocket::{MAX_HEADER_BYTES, compressed_frame, write_header},
};
use crate::protocol::engineio::{Packet, Version};

/// An Engine.IO packet on its way out. Cloning one shares its bytes, so a broadcast is encoded once for all receivers and for
/// both transports, and compressed once for those that want it so.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A packet in its text form.
    Text(TextPacket),
    /// A binary message (one attachment).
    Binary(BinaryPacket),
}

impl Outgoing {
    /// A binary message.
    #[must_use]
    pub fn binary(data: Bytes) -> Self {
        Self::Binary(BinaryPacket::new(data))
    }

    /// Any packet that is not a hot path: heartbeats, the open packet, an echo.
    #[must_use]
    pub fn from_packet(packet: &Packet<'_>) -> Self {
        if let Packet::Binary(data) = packet {
            return Self::binary(Bytes::copy_from_slice(data));
        }
        let mut text = TextWriter::with_capacity(64);
        // The text form of everything but binary is the same in both versions.
        packet.encode_text(Version::V4, text.buffer());
        Self::Text(text.finish())
    }

    /// Bytes that count against the limit of a queue.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.frame().len(),
            Self::Binary(binary) => binary.data().len(),
        }
    }

    /// True for a binary message without bytes; text packets have at least their type.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An Engine.IO text packet with its WebSocket header in front, as one piece.
#[derive(Clone, Debug)]
pub struct TextPacket(Arc<Text>);

#[derive(Debug)]
struct Text {
    /// Room for the longest header, of which the end is used, and the packet.
    buffer: Vec<u8>,
    /// Where the header begins.
    start: usize,
    deflated: Shared,
    twin: OnceLock<BinaryPacket>,
}

impl TextPacket {
    /// The whole WebSocket frame.
    pub(super) fn frame(&self) -> &[u8] {
        self.0.buffer.get(self.0.start..).unwrap_or_default()
    }

    /// The frame with the packet compressed, if that is worth it for this connection.
    pub(super) fn deflated(&self, deflate: Deflate) -> Option<Bytes> {
        let payload = self.0.buffer.get(MAX_HEADER_BYTES..).unwrap_or_default();
        deflate.share(&self.0.deflated, &[], payload, |data| compressed_frame(OpCode::Data(Data::Text), data))
    }

    /// The packet without the WebSocket header: type digit and data.
    #[must_use]
    pub fn packet(&self) -> &str {
        let packet = self.0.buffer.get(MAX_HEADER_BYTES..).unwrap_or_default();
        // TextWriter takes text only; should that ever break, an empty packet is better than a panic.
        std::str::from_utf8(packet).unwrap_or_default()
    }

    /// The binary message that says the same to receivers of another kind, made for the first of them and shared by all.
    #[must_use]
    pub fn twin(&self, make: impl FnOnce() -> Vec<u8>) -> Outgoing {
        Outgoing::Binary(self.0.twin.get_or_init(|| BinaryPacket::new(make().into())).clone())
    }
}

/// A binary message, without a WebSocket header: what comes before it depends on the version.
#[derive(Clone, Debug)]
pub struct BinaryPacket(Arc<Binary>);

#[derive(Debug)]
struct Binary {
    data: Bytes,
    deflated: Shared,
}

impl BinaryPacket {
    fn new(data: Bytes) -> Self {
        Self(Arc::new(Binary { data, deflated: Shared::default() }))
    }

    /// The message.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.0.data
    }

    /// The message as text, for a client that cannot take anything else. Few do, so each gets its own.
    pub(super) fn as_base64(&self, version: Version) -> TextPacket {
        let mut text = TextWriter::with_capacity(self.data().len().saturating_mul(4) / 3);
        Packet::Binary(self.data().as_ref().into()).encode_text(version, text.buffer());
        text.finish()
    }

    /// What a WebSocket message begins with: version 3 marks the type of a binary one with a byte of value 4.
    pub(super) fn marker(version: Version) -> &'static [u8] {
        match version {
            Version::V3 => &[4],
            Version::V4 => &[],
        }
    }

    /// The frame with the message compressed, if that is worth it for this connection.
    pub(super) fn deflated(&self, deflate: Deflate, version: Version) -> Option<Bytes> {
        let make = |data: &[u8]| compressed_frame(OpCode::Data(Data::Binary), data);
        deflate.share(&self.0.deflated, Self::marker(version), &self.0.data, make)
    }
}

/// Builds a [`TextPacket`]: leaves room for the WebSocket header, so that nothing is copied at the end.
#[derive(Debug)]
pub struct TextWriter {
    buffer: Vec<u8>,
}

impl TextWriter {
    /// Room for a packet of about `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.saturating_add(MAX_HEADER_BYTES));
        buffer.extend_from_slice(&[0; MAX_HEADER_BYTES]);
        Self { buffer }
    }

    /// A packet of type message: the type digit is written already.
    #[must_use]
    pub fn message(bytes: usize) -> Self {
        let mut writer = Self::with_capacity(bytes);
        writer.buffer.push(b'4');
        writer
    }

    /// Where to append the text of the packet. What is there already must stay.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Puts the header in front.
    #[must_use]
    pub fn finish(mut self) -> TextPacket {
        let payload = self.buffer.len().saturating_sub(MAX_HEADER_BYTES);
        let mut room = [0; MAX_HEADER_BYTES];
        let start = write_header(&mut room, OpCode::Data(Data::Text), payload);
        if let Some(front) = self.buffer.get_mut(..MAX_HEADER_BYTES) {
            front.copy_from_slice(&room);
        }
        let (deflated, twin) = (Shared::default(), OnceLock::new());
        TextPacket(Arc::new(Text { buffer: self.buffer, start, deflated, twin }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_packet_is_a_frame_for_websocket_and_plain_text_for_polling() {
        let mut writer = TextWriter::message(16);
        writer.buffer().extend_from_slice("2[\"é\"]".as_bytes());
        let text = writer.finish();
        assert_eq!(text.packet(), "42[\"é\"]");
        assert_eq!(text.frame().first(), Some(&0x81));
        assert_eq!(text.frame().get(1), Some(&8));
        assert_eq!(text.frame().len(), 10);
    }
}
