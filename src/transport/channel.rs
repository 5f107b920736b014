//! One WebSocket connection: reads frames through a buffer that a thread's connections share, writes what is queued together.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{
    deflate::Deflate,
    io::Io,
    outgoing::{BinaryPacket, Outgoing, TextPacket},
    websocket::{FrameError, FrameReader, Incoming, MAX_HEADER_BYTES, write_header},
};
use crate::protocol::engineio::Version;

/// Bytes read at once. The buffer belongs to the thread: ten thousand idle connections need none.
const READ_BYTES: usize = 64 * 1024;
/// Most pieces in one write.
const PIECES: usize = 64;
/// Packets taken from the queue at a time, so that most of what a slow reader lets pile up stays under the queue's limits.
pub(super) const PACKETS_PER_WRITE: usize = 64;
/// Pieces that wait to be written, at most, before reading pauses: what a peer can make us answer must not pile up while it reads
/// nothing. What was taken from the session's queue stays below.
const CLOGGED_PIECES: usize = 256;
/// A drained queue keeps room for this many pieces; more is given back.
const KEPT_PIECES: usize = 4;

/// Reads after our close frame, at most: what a client had under way when it was told.
const READS_PER_END: usize = 64;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Why reading stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// The peer is gone.
    Gone,
    /// The peer broke the WebSocket protocol or a limit.
    Broken(FrameError),
}

/// What the caller wants after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continue {
    /// The next message.
    Yes,
    /// A pause: what was read already is kept for the next call.
    Pause,
}

/// A WebSocket over any byte stream.
pub(super) struct Channel {
    io: Box<dyn Io>,
    reader: FrameReader,
    /// How messages are compressed, if that was agreed.
    deflate: Option<Deflate>,
    /// Whether the client takes binary messages as text only.
    base64_only: bool,
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written already.
    written: usize,
    /// Something is written that is not flushed yet.
    is_flushing: bool,
    /// Our half of the stream has ended.
    is_shut: bool,
}

/// Bytes to be written, most of them shared with other connections.
enum Piece {
    Frame(Bytes),
    Text(TextPacket),
    Binary(BinaryPacket),
    Static(&'static [u8]),
    /// The header of a binary frame: the bytes of the array from this one on.
    Header(u8, [u8; MAX_HEADER_BYTES]),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame,
            Self::Text(text) => text.frame(),
            Self::Binary(binary) => binary.data(),
            Self::Static(bytes) => bytes,
            Self::Header(start, bytes) => bytes.get(usize::from(*start)..).unwrap_or_default(),
        }
    }

    fn binary_header(payload_bytes: usize) -> Self {
        let mut bytes = [0; MAX_HEADER_BYTES];
        let start = write_header(&mut bytes, OpCode::Data(Data::Binary), payload_bytes);
        Self::Header(u8::try_from(start).unwrap_or_default(), bytes)
    }
}

impl Channel {
    pub(super) fn new(io: Box<dyn Io>, deflate: Option<Deflate>) -> Self {
        Self {
            io,
            reader: FrameReader::new(deflate.is_some()),
            deflate,
            base64_only: false,
            pieces: VecDeque::new(),
            written: 0,
            is_flushing: false,
            is_shut: false,
        }
    }

    /// Writes binary messages as base64 in text from now on, if the client wants that.
    pub(super) fn base64_only(mut self, base64_only: bool) -> Self {
        self.base64_only = base64_only;
        self
    }

    /// Reads once and hands every whole message to `each`, in order, until it asks for a pause.
    ///
    /// `Ready(Ok(true))` when something was read or handled, `Ready(Ok(false))` after a pause.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
        each: &mut impl FnMut(Incoming<'_>) -> Continue,
    ) -> Poll<Result<bool, ReadEnd>> {
        if self.reader.has_partial() {
            // What an earlier pause left may hold whole frames; then nothing has to be read for them.
            let mut waiting = self.reader.take_partial();
            let before = waiting.len();
            let result = Self::parse(&mut self.reader, &mut waiting, max_bytes, each);
            let used = result.unwrap_or(before);
            waiting.advance(used.min(before));
            self.reader.restore(waiting);
            match result {
                Err(error) => return Poll::Ready(Err(ReadEnd::Broken(error))),
                Ok(0) => {}
                Ok(_) => return Poll::Ready(Ok(true)),
            }
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(ReadEnd::Gone)),
                Poll::Ready(Ok(())) => {}
            }
            let input = buffer.filled_mut();
            if input.is_empty() {
                return Poll::Ready(Err(ReadEnd::Gone));
            }
            self.take_input(input, max_bytes, each).map_err(ReadEnd::Broken)?;
            Poll::Ready(Ok(true))
        })
    }

    fn take_input(
        &mut self,
        input: &mut [u8],
        max_bytes: usize,
        each: &mut impl FnMut(Incoming<'_>) -> Continue,
    ) -> Result<(), FrameError> {
        if self.reader.has_partial() {
            self.reader.push(input);
            let mut waiting = self.reader.take_partial();
            let used = Self::parse(&mut self.reader, &mut waiting, max_bytes, each)?;
            waiting.advance(used.min(waiting.len()));
            self.reader.restore(waiting);
        } else {
            let used = Self::parse(&mut self.reader, input, max_bytes, each)?;
            self.reader.push(input.get(used..).unwrap_or_default());
        }
        Ok(())
    }

    /// Parses whole frames from the front and returns the bytes used.
    fn parse(
        reader: &mut FrameReader,
        input: &mut [u8],
        max_bytes: usize,
        each: &mut impl FnMut(Incoming<'_>) -> Continue,
    ) -> Result<usize, FrameError> {
        let mut used = 0_usize;
        while let Some(rest) = input.get_mut(used..).filter(|rest| !rest.is_empty()) {
            let (count, wish) = reader.read(rest, max_bytes, &mut *each)?;
            used = used.saturating_add(count);
            if count == 0 || wish == Some(Continue::Pause) {
                break;
            }
        }
        Ok(used)
    }

    /// True when so much waits to be written that nothing more should be read.
    pub(super) fn is_clogged(&self) -> bool {
        self.pieces.len() >= CLOGGED_PIECES
    }

    /// Queues a ready-made frame.
    pub(super) fn queue_frame(&mut self, frame: Bytes) {
        self.pieces.push_back(Piece::Frame(frame));
    }

    /// Queues packets in this connection's wire form.
    pub(super) fn queue(&mut self, version: Version, packets: impl Iterator<Item = Outgoing>) {
        for packet in packets {
            match packet {
                Outgoing::Text(text) => self.queue_text(text),
                Outgoing::Binary(binary) if self.base64_only => self.queue_text(binary.as_base64(version)),
                Outgoing::Binary(binary) => self.queue_binary(version, binary),
            }
        }
    }

    fn queue_text(&mut self, text: TextPacket) {
        let deflated = self.deflate.and_then(|deflate| text.deflated(deflate));
        self.pieces.push_back(deflated.map_or(Piece::Text(text), Piece::Frame));
    }

    fn queue_binary(&mut self, version: Version, binary: BinaryPacket) {
        if let Some(frame) = self.deflate.and_then(|deflate| binary.deflated(deflate, version)) {
            return self.pieces.push_back(Piece::Frame(frame));
        }
        let marker = BinaryPacket::marker(version);
        self.pieces.push_back(Piece::binary_header(binary.data().len().saturating_add(marker.len())));
        let parts = [Piece::Static(marker), Piece::Binary(binary)];
        self.pieces.extend(parts.into_iter().filter(|piece| !piece.bytes().is_empty()));
    }

    /// Writes what is queued, many pieces in one call. `Ready(Ok)` when all is written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.pieces.is_empty() {
            let written = match self.pieces.front() {
                Some(piece) if self.pieces.len() == 1 => {
                    let rest = piece.bytes().get(self.written..).unwrap_or_default();
                    Pin::new(&mut self.io).poll_write(cx, rest)
                }
                _ => {
                    let mut slices = [IoSlice::new(&[]); PIECES];
                    let (mut count, mut skip) = (0, self.written);
                    for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
                        *slot = IoSlice::new(piece.bytes().get(skip..).unwrap_or_default());
                        (count, skip) = (count + 1, 0);
                    }
                    let slices = slices.get(..count).unwrap_or_default();
                    Pin::new(&mut self.io).poll_write_vectored(cx, slices)
                }
            };
            match written {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.advance(count),
            }
        }
        if self.pieces.capacity() > KEPT_PIECES {
            self.pieces = VecDeque::new();
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.is_flushing = flushed.is_pending();
        flushed
    }

    /// Whether nothing is queued and everything is flushed. A new channel is idle, too: the answer to its upgrade may wait for the
    /// first packet.
    pub(super) fn is_idle(&self) -> bool {
        self.pieces.is_empty() && !self.is_flushing
    }

    /// Ends our half of the stream.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_shut {
            // A peer that is gone already has ended it, too.
            ready!(Pin::new(&mut self.io).poll_shutdown(cx)).ok();
            self.is_shut = true;
        }
        Poll::Ready(())
    }

    /// Reads and forgets until the peer has closed its half too.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..READS_PER_END {
                let mut buffer = ReadBuf::new(buffer);
                match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
            // A peer that goes on sending after the close frame is not waited for.
            Poll::Ready(())
        })
    }

    fn advance(&mut self, count: usize) {
        self.written = self.written.saturating_add(count);
        while let Some(piece) = self.pieces.front() {
            let length = piece.bytes().len();
            if self.written < length {
                return;
            }
            self.written = self.written.saturating_sub(length);
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};

    use super::{super::deflate::negotiate, *};

    fn channel(offer: &'static str) -> Channel {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, offer.parse().expect("a header"));
        let deflate = negotiate(&headers, 1024).map(|(deflate, _)| deflate);
        Channel::new(Box::new(tokio::io::duplex(1).0), deflate)
    }

    /// Where the bytes are that `channel` would write, and how they begin.
    fn queued(channel: &mut Channel, packet: &Outgoing) -> Vec<(*const u8, u8)> {
        channel.queue(Version::V4, std::iter::once(packet.clone()));
        channel.pieces.drain(..).map(|piece| (piece.bytes().as_ptr(), piece.bytes()[0])).collect()
    }

    #[test]
    fn a_broadcast_is_encoded_once_and_compressed_once() {
        let text = Outgoing::from_packet(&crate::protocol::engineio::Packet::Text("x".repeat(2_000).into()));
        let binary = Outgoing::binary(vec![7; 2_000].into());
        let offers =
            ["permessage-deflate", "permessage-deflate", "permessage-deflate; server_max_window_bits=9", "", ""];
        let mut channels = offers.map(channel);
        for (packet, kind) in [(text, 1), (binary, 2)] {
            let pieces = channels.each_mut().map(|channel| queued(channel, &packet));
            let [one, two, small, plain, other] = pieces;
            assert_eq!(one, two, "the same bytes for the same window");
            assert_eq!((one.len(), one[0].1, small[0].1), (1, 0xc0 | kind, 0xc0 | kind));
            assert_ne!(one[0].0, small[0].0);
            assert_eq!(plain[0].1, 0x80 | kind);
            assert_eq!(plain.last().map(|piece| piece.0), other.last().map(|piece| piece.0));
        }
    }

    #[test]
    fn a_small_packet_is_never_compressed() {
        let packet = Outgoing::binary(vec![7; 1_023].into());
        assert_eq!(queued(&mut channel("permessage-deflate"), &packet).len(), 2, "a header and the shared bytes");
    }

    #[test]
    fn what_waits_to_be_written_is_no_larger_than_a_shared_slice() {
        assert!(size_of::<Piece>() <= size_of::<Bytes>() + 8);
        assert!(size_of::<Outgoing>() <= 16);
    }
}
