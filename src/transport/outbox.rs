//! What waits to be sent to one session: shared, ready-made packets in a bounded queue.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::websocket::{MAX_HEADER_BYTES, write_header};
use crate::protocol::engineio::Packet;

/// An Engine.IO packet on its way out. Cloning one shares its bytes, so a broadcast is encoded once for all receivers and for
/// both transports.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A packet in its text form.
    Text(TextPacket),
    /// A binary message (one attachment).
    Binary(Bytes),
}

impl Outgoing {
    /// Any packet that is not a hot path: heartbeats, the open packet, an echo.
    #[must_use]
    pub fn from_packet(packet: &Packet<'_>) -> Self {
        if let Packet::Binary(data) = packet {
            return Self::Binary(Bytes::copy_from_slice(data));
        }
        let mut text = TextWriter::with_capacity(64);
        // The text form of everything but binary is the same in both versions.
        packet.encode_text(crate::protocol::engineio::Version::V4, text.buffer());
        Self::Text(text.finish())
    }

    /// Bytes that count against the limit of a queue.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.frame.len(),
            Self::Binary(data) => data.len(),
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
pub struct TextPacket {
    frame: Bytes,
    header: u8,
}

impl TextPacket {
    /// The whole WebSocket frame.
    pub(super) fn into_frame(self) -> Bytes {
        self.frame
    }

    /// The packet without the WebSocket header: type digit and data.
    #[must_use]
    pub fn packet(&self) -> &str {
        let packet = self.frame.get(usize::from(self.header)..).unwrap_or_default();
        // TextWriter takes text only; should that ever break, an empty packet is better than a panic.
        std::str::from_utf8(packet).unwrap_or_default()
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
        let frame = Bytes::from(self.buffer).slice(start..);
        let header = u8::try_from(MAX_HEADER_BYTES.saturating_sub(start)).unwrap_or_default();
        TextPacket { frame, header }
    }
}

/// How much may wait for one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutboxLimits {
    pub(super) packets: usize,
    pub(super) bytes: usize,
}

/// The queue of one session. It holds no memory while empty.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Outgoing>,
    bytes: usize,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It waits to be written.
    Yes,
    /// It was volatile and the reader is slow: dropped.
    Dropped,
    /// The queue is full: the session has to be closed.
    Overflow,
}

impl Outbox {
    /// Appends packets that belong together (a header and its attachments): all or none.
    ///
    /// A volatile one is dropped as soon as the queue is half full, so that ephemeral events go before anything else does. An
    /// empty queue takes one message of any size: the limit is for what a slow reader lets pile up.
    pub(super) fn push(&mut self, packets: &[Outgoing], volatile: bool, limits: OutboxLimits) -> Queued {
        let bytes = packets.iter().fold(self.bytes, |sum, packet| sum.saturating_add(packet.len()));
        let count = self.queue.len().saturating_add(packets.len());
        if volatile && (bytes > limits.bytes / 2 || count > limits.packets / 2) {
            return Queued::Dropped;
        }
        if !self.queue.is_empty() && (bytes > limits.bytes || count > limits.packets) {
            return Queued::Overflow;
        }
        self.queue.extend(packets.iter().cloned());
        self.bytes = bytes;
        Queued::Yes
    }

    /// Appends one small packet, whatever the limits say.
    pub(super) fn force(&mut self, packet: Outgoing) {
        self.bytes = self.bytes.saturating_add(packet.len());
        self.queue.push_back(packet);
    }

    /// True when nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True when so much waits that the session should answer less: reading from its client pauses.
    pub(super) fn is_half_full(&self, limits: OutboxLimits) -> bool {
        self.bytes > limits.bytes / 2 || self.queue.len() > limits.packets / 2
    }

    /// Takes up to `packets` from the front; gives the memory back once empty.
    pub(super) fn take(&mut self, packets: usize, into: &mut VecDeque<Outgoing>) {
        if self.queue.len() <= packets && into.is_empty() {
            std::mem::swap(&mut self.queue, into);
            self.queue = VecDeque::new();
            self.bytes = 0;
            return;
        }
        for packet in self.queue.drain(..packets.min(self.queue.len())) {
            self.bytes = self.bytes.saturating_sub(packet.len());
            into.push_back(packet);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OutboxLimits = OutboxLimits { packets: 4, bytes: 100 };

    fn packet(bytes: usize) -> Outgoing {
        Outgoing::Binary(vec![0; bytes].into())
    }

    #[test]
    fn a_text_packet_is_a_frame_for_websocket_and_plain_text_for_polling() {
        let mut writer = TextWriter::message(16);
        writer.buffer().extend_from_slice("2[\"é\"]".as_bytes());
        let text = writer.finish();
        assert_eq!(text.packet(), "42[\"é\"]");
        assert_eq!(text.frame.first(), Some(&0x81));
        assert_eq!(text.frame.get(1), Some(&8));
        assert_eq!(text.frame.len(), 10);
    }

    #[test]
    fn volatile_packets_go_first_and_then_the_queue_overflows() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&[packet(40)], false, LIMITS), Queued::Yes);
        assert_eq!(outbox.push(&[packet(40)], true, LIMITS), Queued::Dropped);
        assert_eq!(outbox.push(&[packet(40)], false, LIMITS), Queued::Yes);
        assert_eq!(outbox.push(&[packet(40)], false, LIMITS), Queued::Overflow);
    }

    #[test]
    fn a_header_is_never_queued_without_its_attachments() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&[packet(1), packet(1), packet(1)], false, LIMITS), Queued::Yes);
        assert_eq!(outbox.push(&[packet(1), packet(1)], false, LIMITS), Queued::Overflow);
        let mut taken = VecDeque::new();
        outbox.take(9, &mut taken);
        assert_eq!(taken.len(), 3);
    }

    #[test]
    fn an_empty_queue_takes_one_message_of_any_size() {
        assert_eq!(Outbox::default().push(&[packet(500)], false, LIMITS), Queued::Yes);
    }
}
