//! Keys as bytes: they sort as the keys do, and each ends by itself, so that tuples are concatenations.

use crate::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, NotificationId, UserId},
};

/// What a table can be keyed by.
///
/// The bytes of two keys compare as the keys themselves do, and no key's bytes begin with those of another one of the
/// same type. Tables are never re-sorted, so an encoding is fixed for ever.
pub trait Key: Sized {
    /// Appends the bytes of this key.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes one key from the front of `input`; `None` when no key of this type starts there.
    fn decode(input: &mut &[u8]) -> Option<Self>;
}

/// A leading part of the composite key `K`, by which a table can be scanned.
pub trait PrefixOf<K>: Key {}

impl<A: Key, B: Key> PrefixOf<(A, B)> for A {}
impl<A: Key, B: Key, C: Key> PrefixOf<(A, B, C)> for A {}
impl<A: Key, B: Key, C: Key> PrefixOf<(A, B, C)> for (A, B) {}

/// Takes a fixed number of bytes from the front of `input`.
fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

impl Key for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        take(input).map(Self::from_be_bytes)
    }
}

impl Key for Timestamp {
    fn encode(&self, out: &mut Vec<u8>) {
        // With the sign bit flipped, moments before 1970 sort before those after it.
        (self.as_millis().cast_unsigned() ^ SIGN).encode(out);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        u64::decode(input).map(|bits| Self::from_millis((bits ^ SIGN).cast_signed()))
    }
}

const SIGN: u64 = 1 << 63;

impl Key for MessageId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        take(input).map(Self::from_bytes)
    }
}

impl Key for ConversationId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        take(input).map(Self::from_bytes)
    }
}

impl Key for NotificationId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        take(input).map(Self::from_bytes)
    }
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        decode_text(input)
    }
}

impl Key for UserId {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self.as_str(), out);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        Self::new(&decode_text(input)?).ok()
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        Some((A::decode(input)?, B::decode(input)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        Some((A::decode(input)?, B::decode(input)?, C::decode(input)?))
    }
}

/// After a zero byte: the text goes on, and the zero was part of it.
const ESCAPED_ZERO: u8 = 0xff;
/// After a zero byte: the text is over. Lower than [`ESCAPED_ZERO`] and than any text byte that could follow, so that
/// a text sorts before its own continuations.
const END: u8 = 0x01;

/// Text of any length: a zero byte becomes `00 ff`, the end is `00 01`.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend_from_slice(&[0, END]);
}

fn decode_text(input: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        match take::<1>(input)? {
            [0] => match take::<1>(input)? {
                [END] => return String::from_utf8(text).ok(),
                [ESCAPED_ZERO] => text.push(0),
                _ => return None,
            },
            [byte] => text.push(byte),
        }
    }
}
