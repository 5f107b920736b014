//! WebSocket frames (RFC 6455) of the server's side: reads client frames into messages, writes headers.
//!
//! tungstenite encodes and decodes the frame headers. The read loop is ours, because tungstenite's own keeps a buffer per
//! connection and copies every frame it writes, where a broadcast here is one shared, ready-made frame.

use std::io::Cursor;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// Most fragments of one message. Tiny fragments by the hundred thousand cost CPU and carry nothing.
const MAX_FRAGMENTS: usize = 1024;
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
    /// A message over the limit.
    #[error("message too large")]
    TooLarge,
}

impl FrameError {
    /// The close code (RFC 6455, section 7.4.1).
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Utf8 => 1007,
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
    /// The client closes.
    Close,
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
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    count: usize,
    data: BytesMut,
}

/// A frame whose payload has arrived completely, still masked.
struct Frame {
    header: FrameHeader,
    start: usize,
    end: usize,
}

impl FrameReader {
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
            OpCode::Control(_) => {
                check_close(payload)?;
                Some(each(Incoming::Close))
            }
            OpCode::Data(Data::Continue) => self.continue_message(payload, frame.header.is_final, each)?,
            OpCode::Data(kind) => {
                if self.fragments.is_some() {
                    return Err(FrameError::Protocol);
                }
                let text = kind == Data::Text;
                if frame.header.is_final {
                    Some(each(message(text, payload)?))
                } else {
                    self.fragments = Some(Box::new(Fragments { text, count: 1, data: BytesMut::from(&*payload) }));
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
        each: impl FnOnce(Incoming<'_>) -> R,
    ) -> Result<Option<R>, FrameError> {
        let fragments = self.fragments.as_mut().ok_or(FrameError::Protocol)?;
        fragments.count = fragments.count.saturating_add(1);
        if fragments.count > MAX_FRAGMENTS {
            return Err(FrameError::Protocol);
        }
        fragments.data.extend_from_slice(payload);
        if !is_final {
            return Ok(None);
        }
        let Some(whole) = self.fragments.take() else { return Ok(None) };
        Ok(Some(each(message(whole.text, &whole.data)?)))
    }

    /// Finds the frame at the front of `input` and checks its header; `None` while it is incomplete.
    fn next_frame(&self, input: &[u8], max_bytes: usize) -> Result<Option<Frame>, FrameError> {
        let mut cursor = Cursor::new(input);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| FrameError::Protocol)? else {
            return Ok(None);
        };
        if header.rsv1 || header.rsv2 || header.rsv3 || header.mask.is_none() {
            return Err(FrameError::Protocol);
        }
        if matches!(header.opcode, OpCode::Control(_)) {
            if !header.is_final || length > MAX_CONTROL_BYTES {
                return Err(FrameError::Protocol);
            }
        } else {
            let collected = self.fragments.as_ref().map_or(0, |fragments| fragments.data.len());
            let room = max_bytes.saturating_sub(collected);
            if usize::try_from(length).map_or(true, |length| length > room) {
                return Err(FrameError::TooLarge);
            }
        }
        let start = input.len().saturating_sub(cursor.remaining());
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        Ok(end.filter(|end| *end <= input.len()).map(|end| Frame { header, start, end }))
    }
}

fn message(text: bool, payload: &[u8]) -> Result<Incoming<'_>, FrameError> {
    if text {
        std::str::from_utf8(payload).map(Incoming::Text).map_err(|_| FrameError::Utf8)
    } else {
        Ok(Incoming::Binary(payload))
    }
}

/// A close frame is empty, or a code that may be sent and a reason in UTF-8.
fn check_close(payload: &[u8]) -> Result<(), FrameError> {
    match payload {
        [] => Ok(()),
        [_] => Err(FrameError::Protocol),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(FrameError::Protocol);
            }
            std::str::from_utf8(reason).map(|_| ()).map_err(|_| FrameError::Utf8)
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
    let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None };
    let length = payload_bytes as u64;
    let start = MAX_HEADER_BYTES.saturating_sub(header.len(length));
    if let Some(mut target) = room.get_mut(start..) {
        // Writing into a slice of the very length cannot fail.
        header.format(length, &mut target).ok();
    }
    start
}

/// A whole control frame, or a binary frame's header, as one piece.
pub(crate) fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let mut header = [0; MAX_HEADER_BYTES];
    let start = write_header(&mut header, opcode, payload.len());
    let header = header.get(start..).unwrap_or_default();
    let mut frame = Vec::with_capacity(header.len().saturating_add(payload.len()));
    frame.extend_from_slice(header);
    frame.extend_from_slice(payload);
    frame.into()
}

/// The header alone of a binary frame whose payload is written behind it.
pub(crate) fn binary_header(payload_bytes: usize) -> Bytes {
    let mut header = [0; MAX_HEADER_BYTES];
    let start = write_header(&mut header, OpCode::Data(Data::Binary), payload_bytes);
    Bytes::copy_from_slice(header.get(start..).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).expect("below 126")),
            long => {
                frame.push(0x80 | 0x7e);
                frame.extend_from_slice(&u16::try_from(long).expect("test payloads are short").to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    /// Reads everything in `input`; each message becomes a line.
    fn read_all(reader: &mut FrameReader, mut input: Vec<u8>) -> Result<Vec<String>, FrameError> {
        let mut lines = Vec::new();
        let mut rest = input.as_mut_slice();
        loop {
            let (used, line) = reader.read(rest, LIMIT, |incoming| format!("{incoming:?}"))?;
            lines.extend(line);
            if used == 0 {
                return Ok(lines);
            }
            rest = &mut rest[used..];
        }
    }

    #[test]
    fn messages_fragments_and_control_frames_come_out_in_order() {
        let mut input = client_frame(0x81, "héllo".as_bytes());
        input.extend(client_frame(0x01, "a\u{20ac}".as_bytes().get(..2).expect("cut inside a character")));
        input.extend(client_frame(0x89, b"now"));
        input.extend(client_frame(0x80, "a\u{20ac}".as_bytes().get(2..).expect("the rest")));
        input.extend(client_frame(0x82, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
        let lines = read_all(&mut FrameReader::default(), input).expect("all legal");
        assert_eq!(
            lines,
            ["Text(\"héllo\")", "Ping([110, 111, 119])", "Text(\"a€\")", "Binary([1, 2, 3, 4, 5, 6, 7, 8, 9])"]
        );
    }

    #[test]
    fn an_incomplete_frame_is_waited_for() {
        let whole = client_frame(0x81, &[b'x'; 300]);
        for cut in 0..whole.len() {
            let mut reader = FrameReader::default();
            let mut start = whole.get(..cut).expect("within").to_vec();
            assert_eq!(reader.read(&mut start, LIMIT, |_| ()), Ok((0, None)), "cut at {cut}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_told_apart() {
        let cases: [(Vec<u8>, FrameError); 9] = [
            (vec![0x81, 0x01, b'x'], FrameError::Protocol),
            (client_frame(0xc1, b"x"), FrameError::Protocol),
            (client_frame(0x83, b"x"), FrameError::Protocol),
            (client_frame(0x80, b"x"), FrameError::Protocol),
            (client_frame(0x09, b"x"), FrameError::Protocol),
            (client_frame(0x89, &[0; 126]), FrameError::Protocol),
            (client_frame(0x88, &[0]), FrameError::Protocol),
            (client_frame(0x81, &[0xff]), FrameError::Utf8),
            (client_frame(0x82, &[0; LIMIT + 1]), FrameError::TooLarge),
        ];
        for (input, error) in cases {
            assert_eq!(read_all(&mut FrameReader::default(), input.clone()), Err(error), "{input:x?}");
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_payload_arrives() {
        for length in [LIMIT as u64 + 1, 1 << 40, 1 << 63, u64::MAX] {
            let mut header = vec![0x82, 0x80 | 0x7f];
            header.extend_from_slice(&length.to_be_bytes());
            header.extend_from_slice(&[0; 4]);
            assert_eq!(read_all(&mut FrameReader::default(), header), Err(FrameError::TooLarge));
        }
    }

    #[test]
    fn the_limit_and_the_fragment_count_hold_for_the_whole_message() {
        let mut input = client_frame(0x02, &[0; 600]);
        input.extend(client_frame(0x80, &[0; 401]));
        assert_eq!(read_all(&mut FrameReader::default(), input), Err(FrameError::TooLarge));
        let mut input = client_frame(0x02, &[]);
        for _ in 0..MAX_FRAGMENTS {
            input.extend(client_frame(0x00, &[]));
        }
        assert_eq!(read_all(&mut FrameReader::default(), input), Err(FrameError::Protocol));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(256))]

        #[test]
        fn whatever_arrives_is_read_to_an_end_without_a_panic(input: Vec<u8>, limit in 0_usize..200) {
            let (mut reader, mut input, mut used) = (FrameReader::default(), input, 0);
            while let Ok((count @ 1.., _)) = reader.read(&mut input[used..], limit, |_| ()) {
                used += count;
            }
            proptest::prop_assert!(used <= input.len());
        }

        #[test]
        fn a_message_in_any_fragments_is_read_as_it_was_sent(parts in proptest::collection::vec(".{0,40}", 1..6)) {
            let last = parts.len() - 1;
            let frames = parts.iter().enumerate().map(|(index, part)| {
                let first = u8::from(index == 0) | (u8::from(index == last) << 7);
                client_frame(first, part.as_bytes())
            });
            let lines = read_all(&mut FrameReader::default(), frames.flatten().collect()).expect("all legal");
            proptest::prop_assert_eq!(lines, [format!("Text({:?})", parts.concat())]);
        }
    }

    #[test]
    fn headers_of_every_length_are_written_in_front_of_the_payload() {
        for (length, header_bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut room = [0; MAX_HEADER_BYTES];
            let start = write_header(&mut room, OpCode::Data(Data::Text), length);
            assert_eq!(MAX_HEADER_BYTES - start, header_bytes);
            assert_eq!(room[start], 0x81);
        }
    }
}
