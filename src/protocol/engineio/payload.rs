//! The body of one polling request or answer: several packets, in one of three framings.
//!
//! Text with separators (version 4), text with lengths (version 3), and binary with lengths (version 3, when a packet is
//! binary and the client can take it). Owns the framing only; the size of a body is bounded by whoever reads it.

use super::{DecodeError, Packet, Version};

/// Most digits of a packet length in version 3. More than any body can need, and few enough to fit a 64-bit integer.
pub const LENGTH_DIGITS: usize = 10;

/// Separates packets in a version 4 body (ASCII record separator).
const SEPARATOR: u8 = 0x1e;

/// Ends a length in the version 3 text framing.
const LENGTH_END: u8 = b':';

/// Begins a text packet, or a binary one, in the version 3 binary framing.
const TEXT_PACKET: u8 = 0;
const BINARY_PACKET: u8 = 1;

/// Ends a length in the version 3 binary framing, where digits are bytes of value 0 to 9.
const BINARY_LENGTH_END: u8 = 255;

/// Reads the body of one polling request.
///
/// `binary_framing` says that the content type was `application/octet-stream`. Packets are read when they are asked for,
/// in one linear pass, and no announced length buys memory.
///
/// Spec: Engine.IO v3 and v4, "Payload" and "HTTP long-polling".
pub fn decode(version: Version, body: &[u8], binary_framing: bool) -> Packets<'_> {
    let rest = match (version, binary_framing) {
        _ if body.is_empty() => Rest::Failed(DecodeError::Empty),
        (Version::V4, true) => Rest::Failed(DecodeError::Framing),
        (Version::V3, true) => Rest::Binary(body),
        (Version::V3, false) => text(body).map_or_else(Rest::Failed, Rest::Lengths),
        (Version::V4, false) => text(body).map_or_else(Rest::Failed, Rest::Separated),
    };
    Packets { rest }
}

/// The packets of a body, in the order the client sent them.
///
/// The first malformed packet is the last item: what follows it is not read. Packets in front of it have been handed out
/// by then.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: Rest<'a>,
}

impl<'a> Packets<'a> {
    /// What has not been read yet, to be decoded later with the same framing; `None` when everything was.
    #[must_use]
    pub fn remaining(&self) -> Option<&'a [u8]> {
        match self.rest {
            Rest::Lengths("") | Rest::Binary([]) | Rest::Failed(_) | Rest::Done => None,
            Rest::Separated(text) | Rest::Lengths(text) => Some(text.as_bytes()),
            Rest::Binary(body) => Some(body),
        }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (packet, rest) = match self.rest {
            Rest::Failed(error) => (Err(error), Rest::Done),
            Rest::Separated(text) => match text.split_once(char::from(SEPARATOR)) {
                Some((first, rest)) => (Packet::decode_text(Version::V4, first), Rest::Separated(rest)),
                None => (Packet::decode_text(Version::V4, text), Rest::Done),
            },
            Rest::Done | Rest::Lengths("") | Rest::Binary([]) => return None,
            Rest::Lengths(text) => match split_by_length(text) {
                Ok((first, rest)) => (Packet::decode_text(Version::V3, first).map(decode_twice), Rest::Lengths(rest)),
                Err(error) => (Err(error), Rest::Done),
            },
            Rest::Binary(body) => match split_binary(body) {
                Ok((first, rest)) => (first.decode(), Rest::Binary(rest)),
                Err(error) => (Err(error), Rest::Done),
            },
        };
        self.rest = if packet.is_ok() { rest } else { Rest::Done };
        Some(packet)
    }
}

impl std::iter::FusedIterator for Packets<'_> {}

/// The body of one polling answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes to send.
    pub body: Vec<u8>,
    /// Whether they are in the version 3 binary framing, which goes with the content type `application/octet-stream`.
    pub binary: bool,
}

/// Writes one polling answer.
///
/// `base64_only` says that the client asked for base64 (`b64=1`). Without it, version 3 uses the binary framing for a body
/// with a binary packet or with text beyond ASCII; version 4 has base64 only, and its texts must not hold the separator 0x1e:
/// JSON never does.
///
/// Spec: Engine.IO v3 and v4, "Payload".
pub fn encode(version: Version, packets: &[Packet<'_>], base64_only: bool) -> Encoded {
    let has_binary = || packets.iter().any(|packet| matches!(packet, Packet::Binary(_)));
    let mut body = Vec::new();
    match version {
        Version::V4 => encode_separated(packets, &mut body),
        Version::V3 if !base64_only && has_binary() => {
            encode_binary(packets, &mut body);
            return Encoded { body, binary: true };
        }
        Version::V3 => {
            encode_with_lengths(packets, &mut body);
            // Clients 1.x count the lengths of the text framing in bytes, later ones in UTF-16 units. In ASCII both are the
            // same, and in the binary framing all of them count bytes.
            if !base64_only && !body.is_ascii() {
                body.clear();
                encode_binary(packets, &mut body);
                return Encoded { body, binary: true };
            }
        }
    }
    Encoded { body, binary: false }
}

/// What has not been read yet.
#[derive(Clone, Copy, Debug)]
enum Rest<'a> {
    /// Version 4. An empty rest is an empty packet, since it stands behind a separator.
    Separated(&'a str),
    /// Version 3, text framing.
    Lengths(&'a str),
    /// Version 3, binary framing.
    Binary(&'a [u8]),
    /// The next item is this error.
    Failed(DecodeError),
    /// There is no next item.
    Done,
}

/// One packet of the binary framing, before its type is read.
enum Framed<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

impl<'a> Framed<'a> {
    fn decode(self) -> Result<Packet<'a>, DecodeError> {
        match self {
            Self::Text(data) => Packet::decode_text(Version::V3, text(data)?),
            Self::Binary(data) => Packet::decode_binary(Version::V3, data),
        }
    }
}

/// Clients 1.x encode text as UTF-8 and then the bytes, taken for characters, as UTF-8 once more. What reads as UTF-8 a second
/// time was such a text: other clients would have to send the very characters that a wrong decoding shows.
fn decode_twice(packet: Packet<'_>) -> Packet<'_> {
    let Packet::Text(text) = &packet else { return packet };
    if text.is_ascii() {
        return packet;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Packet::Text(text.into()),
        None => packet,
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)
}

/// Splits the first packet off a version 3 text body: `length:packet`, the length in UTF-16 code units.
fn split_by_length(text: &str) -> Result<(&str, &str), DecodeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).take(LENGTH_DIGITS).count();
    let (length, rest) = text.split_at_checked(digits).ok_or(DecodeError::Length)?;
    let rest = rest.strip_prefix(char::from(LENGTH_END)).ok_or(DecodeError::Length)?;
    let units = length.parse().map_err(|_| DecodeError::Length)?;
    split_at_unit(rest, units).ok_or(DecodeError::Truncated)
}

/// Splits behind `units` UTF-16 code units; `None` past the end and inside a character of two units.
fn split_at_unit(text: &str, units: usize) -> Option<(&str, &str)> {
    // A unit takes a byte at least, so neither the shortcut nor the walk looks further than the packet it returns.
    if text.as_bytes().get(..units)?.is_ascii() {
        return text.split_at_checked(units);
    }
    let mut left = units;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return text.split_at_checked(at);
        }
        left = left.checked_sub(c.len_utf16())?;
    }
    (left == 0).then_some((text, ""))
}

/// Splits the first packet off a version 3 binary body: kind, decimal digits, 255, then that many bytes.
fn split_binary(body: &[u8]) -> Result<(Framed<'_>, &[u8]), DecodeError> {
    let (&kind, rest) = body.split_first().ok_or(DecodeError::Empty)?;
    let digits = rest.iter().take_while(|&&byte| byte <= 9).take(LENGTH_DIGITS).count();
    let (length, rest) = rest.split_at_checked(digits).ok_or(DecodeError::Length)?;
    let Some((&BINARY_LENGTH_END, rest)) = rest.split_first() else { return Err(DecodeError::Length) };
    if length.is_empty() {
        return Err(DecodeError::Length);
    }
    let length = length.iter().try_fold(0_usize, |sum, &digit| sum.checked_mul(10)?.checked_add(digit.into()));
    let (data, rest) = length.and_then(|length| rest.split_at_checked(length)).ok_or(DecodeError::Truncated)?;
    match kind {
        TEXT_PACKET => Ok((Framed::Text(data), rest)),
        BINARY_PACKET => Ok((Framed::Binary(data), rest)),
        _ => Err(DecodeError::Framing),
    }
}

fn encode_separated(packets: &[Packet<'_>], body: &mut Vec<u8>) {
    for (index, packet) in packets.iter().enumerate() {
        if index > 0 {
            body.push(SEPARATOR);
        }
        packet.encode_text(Version::V4, body);
    }
}

fn encode_with_lengths(packets: &[Packet<'_>], body: &mut Vec<u8>) {
    let mut packet_text = Vec::new();
    for packet in packets {
        packet_text.clear();
        packet.encode_text(Version::V3, &mut packet_text);
        body.extend_from_slice(utf16_units(&packet_text).to_string().as_bytes());
        body.push(LENGTH_END);
        body.extend_from_slice(&packet_text);
    }
}

fn encode_binary(packets: &[Packet<'_>], body: &mut Vec<u8>) {
    let mut data = Vec::new();
    for packet in packets {
        data.clear();
        if let Packet::Binary(message) = packet {
            Packet::encode_binary(Version::V3, message, &mut data);
            body.push(BINARY_PACKET);
        } else {
            packet.encode_text(Version::V3, &mut data);
            body.push(TEXT_PACKET);
        }
        body.extend(data.len().to_string().bytes().map(|digit| digit.saturating_sub(b'0')));
        body.push(BINARY_LENGTH_END);
        body.extend_from_slice(&data);
    }
}

/// The length of UTF-8 in UTF-16 code units: one per character, two for the four-byte ones.
fn utf16_units(utf8: &[u8]) -> usize {
    let characters = utf8.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    let astral = utf8.iter().filter(|&&byte| byte >= 0xf0).count();
    characters.saturating_add(astral)
}
