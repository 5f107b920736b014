//! WebSocket frames (RFC 6455) of the server's side: reads client frames into messages, writes headers.
//!
//! tungstenite encodes and decodes the frame headers. The read loop is ours, because tungstenite's own keeps a buffer per
//! connection and copies every frame it writes, where a broadcast here is one shared, ready-made frame.

#[cfg(test)]
mod tests;

use std::io::Cursor;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::deflate::{inflate, most_compressed};

/// Fragments that one message may always have.
const MAX_FRAGMENTS: usize = 1024;
/// Bytes that allow one fragment more. Tiny fragments by the hundred thousand cost CPU and carry nothing.
const BYTES_PER_FRAGMENT: usize = 32;
/// Most bytes in the payload of a control frame.
const MAX_CONTROL_BYTES: u64 = 125;
/// Longest header of a frame that the server writes.
pub(crate) const MAX_HEADER_BYTES: usize = 10;

/// Why a WebSocket has to be closed, with the close code that tells the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    /// Reserved bits or opcodes, an unmasked frame, a control frame out of shape, fragments out of order.
    #[error("websocket protocol error")]
    Protocol,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A compressed message that cannot be inflated.
    #[error("broken compression")]
    Deflate,
    /// A message over the limit, as it came or inflated.
    #[error("message too large")]
    TooLarge,
}

impl FrameError {
    /// The close code (RFC 6455, section 7.4.1).
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Utf8 | Self::Deflate => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// What a client sent: a whole message or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A text message, checked to be UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping; the pong carries the same bytes.
    Ping(&'a [u8]),
    /// A pong, with the bytes of the ping that it answers.
    Pong(&'a [u8]),
    /// The client closes, with this code if it gave one; our close frame carries the same.
    Close(Option<u16>),
}

impl Incoming<'_> {
    /// Bytes of the message, inflated.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(data) | Self::Ping(data) | Self::Pong(data) => data.len(),
            Self::Close(_) => 0,
        }
    }
}

/// Puts messages together from the bytes of one connection.
///
/// It holds memory only while something is incomplete: a frame cut by the end of a read, or a message in fragments. Together
/// they stay below the message limit plus one frame header, plus what one read brought.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// Bytes of an incomplete frame, left over from earlier reads.
    partial: BytesMut,
    /// The message whose fragments are being collected.
    fragments: Option<Box<Fragments>>,
    /// Whether the client may send compressed messages.
    inflates: bool,
}

/// What the first frame of a message says about it.
#[derive(Clone, Copy, Debug)]
struct Kind {
    text: bool,
    compressed: bool,
}

#[derive(Debug)]
struct Fragments {
    kind: Kind,
    count: usize,
    data: BytesMut,
    /// Bytes at the front that are known to be UTF-8.
    checked: usize,
}

impl Fragments {
    fn begin(kind: Kind, payload: &[u8]) -> Result<Self, FrameError> {
        let mut fragments = Self { kind, count: 0, data: BytesMut::new(), checked: 0 };
        fragments.add(payload)?;
        Ok(fragments)
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        self.count = self.count.saturating_add(1);
        self.data.extend_from_slice(payload);
        if self.count > MAX_FRAGMENTS.saturating_add(self.data.len() / BYTES_PER_FRAGMENT) {
            return Err(FrameError::Protocol);
        }
        if self.kind.text && !self.kind.compressed { self.check_utf8() } else { Ok(()) }
    }

    /// Text that can no longer become UTF-8 is refused with its fragment; a character may be cut by the end of one.
    fn check_utf8(&mut self) -> Result<(), FrameError> {
        let fresh = self.data.get(self.checked..).unwrap_or_default();
        let valid = match std::str::from_utf8(fresh) {
            Ok(_) => fresh.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(FrameError::Utf8),
        };
        self.checked = self.checked.saturating_add(valid);
        Ok(())
    }
}

/// A frame whose payload has arrived completely, still masked.
struct Frame {
    header: FrameHeader,
    start: usize,
    end: usize,
}

impl FrameReader {
    /// A reader for a connection on which compression was agreed, or not.
    pub(crate) fn new(inflates: bool) -> Self {
        Self { inflates, ..Self::default() }
    }

    /// Takes over bytes that will be read before the next ones.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
    }

    /// The bytes that are waiting, to be parsed by the caller; [`FrameReader::restore`] puts back what is left of them.
    pub(crate) fn take_partial(&mut self) -> BytesMut {
        std::mem::take(&mut self.partial)
    }

    /// Puts back what is left of [`FrameReader::take_partial`]; an empty buffer is freed.
    pub(crate) fn restore(&mut self, rest: BytesMut) {
        if rest.is_empty() {
            return;
        }
        // A few bytes must not keep the buffer of a large message alive.
        self.partial = if rest.capacity() / 4 > rest.len() { BytesMut::from(&rest[..]) } else { rest };
    }

    /// True when bytes wait that may hold whole frames.
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Reads one frame from the front of `input` and hands `each` the message it completes, if it does.
    ///
    /// Returns the number of bytes used, 0 when `input` holds no whole frame.
    ///
    /// # Errors
    ///
    /// The client broke RFC 6455 or the limit of `max_bytes` for one message; the frame's announced length is refused before its
    /// payload is waited for.
    pub(crate) fn read<R>(
        &mut self,
        input: &mut [u8],
        max_bytes: usize,
        each: impl FnOnce(Incoming<'_>) -> R,
    ) -> Result<(usize, Option<R>), FrameError> {
        let Some(frame) = self.next_frame(input, max_bytes)? else { return Ok((0, None)) };
        let payload = input.get_mut(frame.start..frame.end).ok_or(FrameError::Protocol)?;
        unmask(payload, frame.header.mask.ok_or(FrameError::Protocol)?);
        let result = match frame.header.opcode {
            OpCode::Control(Control::Ping) => Some(each(Incoming::Ping(payload))),
            OpCode::Control(Control::Pong) => Some(each(Incoming::Pong(payload))),
            OpCode::Control(_) => Some(each(Incoming::Close(close_code(payload)?))),
            OpCode::Data(Data::Continue) => self.continue_message(payload, frame.header.is_final, max_bytes, each)?,
            OpCode::Data(data) => {
                if self.fragments.is_some() {
                    return Err(FrameError::Protocol);
                }
                let kind = Kind { text: data == Data::Text, compressed: frame.header.rsv1 };
                if frame.header.is_final {
                    Some(deliver(kind, payload, max_bytes, each)?)
                } else {
                    self.fragments = Some(Box::new(Fragments::begin(kind, payload)?));
                    None
                }
            }
        };
        Ok((frame.end, result))
    }

    fn continue_message<R>(
        &mut self,
        payload: &[u8],
        is_final: bool,
        max_bytes: usize,
        each: impl FnOnce(Incoming<'_>) -> R,
    ) -> Result<Option<R>, FrameError> {
        let fragments = self.fragments.as_mut().ok_or(FrameError::Protocol)?;
        fragments.add(payload)?;
        if !is_final {
            return Ok(None);
        }
        let Some(whole) = self.fragments.take() else { return Ok(None) };
        deliver(whole.kind, &whole.data, max_bytes, each).map(Some)
    }

    /// Finds the frame at the front of `input` and checks its header; `None` while it is incomplete.
    fn next_frame(&self, input: &[u8], max_bytes: usize) -> Result<Option<Frame>, FrameError> {
        let mut cursor = Cursor::new(input);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| FrameError::Protocol)? else {
            return Ok(None);
        };
        // The first frame of a message says whether it is compressed; nothing else may.
        let may_be_compressed = self.inflates && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        if header.rsv1 && !may_be_compressed || header.rsv2 || header.rsv3 || header.mask.is_none() {
            return Err(FrameError::Protocol);
        }
        if matches!(header.opcode, OpCode::Control(_)) {
            if !header.is_final || length > MAX_CONTROL_BYTES {
                return Err(FrameError::Protocol);
            }
        } else {
            let (collected, compressed) = match &self.fragments {
                Some(fragments) => (fragments.data.len(), fragments.kind.compressed),
                None => (0, header.rsv1),
            };
            let room = if compressed { most_compressed(max_bytes) } else { max_bytes }.saturating_sub(collected);
            if usize::try_from(length).map_or(true, |length| length > room) {
                return Err(FrameError::TooLarge);
            }
        }
        let start = input.len().saturating_sub(cursor.remaining());
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        Ok(end.filter(|end| *end <= input.len()).map(|end| Frame { header, start, end }))
    }
}

/// Hands on a whole message, inflated if it has to be.
fn deliver<R>(
    kind: Kind,
    payload: &[u8],
    max_bytes: usize,
    each: impl FnOnce(Incoming<'_>) -> R,
) -> Result<R, FrameError> {
    if !kind.compressed {
        return Ok(each(message(kind.text, payload)?));
    }
    let inflated = inflate(payload, max_bytes)?;
    Ok(each(message(kind.text, &inflated)?))
}

fn message(text: bool, payload: &[u8]) -> Result<Incoming<'_>, FrameError> {
    if text {
        std::str::from_utf8(payload).map(Incoming::Text).map_err(|_| FrameError::Utf8)
    } else {
        Ok(Incoming::Binary(payload))
    }
}

/// The code of a close frame, which is empty, or a code that may be sent and a reason in UTF-8.
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [_] => Err(FrameError::Protocol),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(FrameError::Protocol);
            }
            std::str::from_utf8(reason).map(|_| Some(code)).map_err(|_| FrameError::Utf8)
        }
    }
}

/// Removes the client's mask, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Writes the header of an unfragmented server frame to the end of `room`, and returns where it begins.
pub(crate) fn write_header(room: &mut [u8; MAX_HEADER_BYTES], opcode: OpCode, payload_bytes: usize) -> usize {
    write_any_header(room, opcode, false, payload_bytes)
}

fn write_any_header(room: &mut [u8; MAX_HEADER_BYTES], opcode: OpCode, rsv1: bool, payload_bytes: usize) -> usize {
    let header = FrameHeader { is_final: true, rsv1, rsv2: false, rsv3: false, opcode, mask: None };
    let length = payload_bytes as u64;
    let start = MAX_HEADER_BYTES.saturating_sub(header.len(length));
    if let Some(mut target) = room.get_mut(start..) {
        // Writing into a slice of the very length cannot fail.
        header.format(length, &mut target).ok();
    }
    start
}

/// A whole frame as one piece.
pub(crate) fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    any_frame(opcode, false, payload)
}

/// A whole message whose payload is compressed.
pub(crate) fn compressed_frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    any_frame(opcode, true, payload)
}

fn any_frame(opcode: OpCode, rsv1: bool, payload: &[u8]) -> Bytes {
    let mut header = [0; MAX_HEADER_BYTES];
    let start = write_any_header(&mut header, opcode, rsv1, payload.len());
    let header = header.get(start..).unwrap_or_default();
    let mut frame = Vec::with_capacity(header.len().saturating_add(payload.len()));
    frame.extend_from_slice(header);
    frame.extend_from_slice(payload);
    frame.into()
}

/// A close frame; without a code it is empty, which clients report as 1005.
pub(crate) fn close_frame(code: Option<u16>) -> Bytes {
    let payload = code.map(u16::to_be_bytes);
    frame(OpCode::Control(Control::Close), payload.as_ref().map_or(&[], |code| code.as_slice()))
}

/// A ping; the peer's pong carries the same bytes.
pub(crate) fn ping_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Control(Control::Ping), payload)
}

/// The pong that answers a ping.
pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Control(Control::Pong), payload)
}
