//! MessagePack as the adapters of Socket.IO write it, to and from JSON text.
//!
//! Binary values become attachments with placeholders in the text, as in a Socket.IO packet, dates the text that JavaScript
//! makes of them. Neither direction builds a tree, and what comes is taken to be hostile: a length that is announced buys no memory.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use crate::clock::Timestamp;

/// Deepest nesting of what is read: events of clients have 64, plus what is around them.
pub(super) const MAX_DEPTH: usize = 80;
/// Most attachments of what is read.
pub(super) const MAX_ATTACHMENTS: usize = 64;

/// Why bytes are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They end too early, or later than what they hold.
    #[error("the message has another length than it says")]
    Length,
    /// They hold something that has no place in JSON.
    #[error("the message holds something that JSON cannot")]
    Kind,
    /// They are nested too deeply.
    #[error("the message is nested too deeply")]
    Depth,
    /// They hold too much binary data.
    #[error("the message has too many attachments")]
    Attachments,
    /// They are larger than any message.
    #[error("the message is too large")]
    TooLarge,
    /// They are something, and no message of this protocol.
    #[error("the message is none of this protocol")]
    Shape,
}

/// Reads one value as JSON, with the attachments that its placeholders stand for.
pub(super) fn to_json(bytes: &[u8]) -> Result<(String, Vec<Bytes>), Malformed> {
    let mut reader = Reader { rest: bytes, json: String::with_capacity(bytes.len()), attachments: Vec::new() };
    reader.value(0)?;
    if reader.rest.is_empty() { Ok((reader.json, reader.attachments)) } else { Err(Malformed::Length) }
}

struct Reader<'a> {
    rest: &'a [u8],
    json: String,
    attachments: Vec<Bytes>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        let [marker] = self.array()?;
        match marker {
            0x00..=0x7f => self.show(marker),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), depth),
            0x90..=0x9f => self.list(usize::from(marker & 0x0f), depth),
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f)),
            0xc0 => self.show("null"),
            0xc1 => Err(Malformed::Kind),
            0xc2 => self.show(false),
            0xc3 => self.show(true),
            0xc4..=0xc6 => self.length(marker - 0xc4).and_then(|length| self.attach(length)),
            0xc7..=0xc9 => self.length(marker - 0xc7).and_then(|length| self.extension(length)),
            0xca => self.array().and_then(|bytes| self.float(f64::from(f32::from_be_bytes(bytes)))),
            0xcb => self.array().and_then(|bytes| self.float(f64::from_be_bytes(bytes))),
            0xcc => self.array().and_then(|bytes| self.show(u8::from_be_bytes(bytes))),
            0xcd => self.array().and_then(|bytes| self.show(u16::from_be_bytes(bytes))),
            0xce => self.array().and_then(|bytes| self.show(u32::from_be_bytes(bytes))),
            0xcf => self.array().and_then(|bytes| self.show(u64::from_be_bytes(bytes))),
            0xd0 => self.array().and_then(|bytes| self.show(i8::from_be_bytes(bytes))),
            0xd1 => self.array().and_then(|bytes| self.show(i16::from_be_bytes(bytes))),
            0xd2 => self.array().and_then(|bytes| self.show(i32::from_be_bytes(bytes))),
            0xd3 => self.array().and_then(|bytes| self.show(i64::from_be_bytes(bytes))),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4)),
            0xd9..=0xdb => self.length(marker - 0xd9).and_then(|length| self.text(length)),
            0xdc | 0xdd => self.length(marker - 0xdc + 1).and_then(|length| self.list(length, depth)),
            0xde | 0xdf => self.length(marker - 0xde + 1).and_then(|length| self.map(length, depth)),
            0xe0..=0xff => self.show(i8::from_be_bytes([marker])),
        }
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<(), Malformed> {
        let depth = deeper(depth)?;
        self.json.push('[');
        for index in 0..length {
            if index > 0 {
                self.json.push(',');
            }
            self.value(depth)?;
        }
        self.json.push(']');
        Ok(())
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<(), Malformed> {
        let depth = deeper(depth)?;
        self.json.push('{');
        for index in 0..length {
            if index > 0 {
                self.json.push(',');
            }
            self.key()?;
            self.json.push(':');
            self.value(depth)?;
        }
        self.json.push('}');
        Ok(())
    }

    /// A key of a map: a text, or a number, which JavaScript makes a text of.
    fn key(&mut self) -> Result<(), Malformed> {
        match self.rest.first().ok_or(Malformed::Length)? {
            0xa0..=0xbf | 0xd9..=0xdb => self.value(MAX_DEPTH),
            0x00..=0x7f | 0xcc..=0xcf | 0xd0..=0xd3 | 0xe0..=0xff => {
                self.json.push('"');
                self.value(MAX_DEPTH)?;
                self.json.push('"');
                Ok(())
            }
            _ => Err(Malformed::Kind),
        }
    }

    /// A text. What is no UTF-8, such as half a character, becomes what a browser would show for it.
    fn text(&mut self, length: usize) -> Result<(), Malformed> {
        let text = String::from_utf8_lossy(self.take(length)?);
        let quoted = serde_json::to_string(&text).map_err(|_| Malformed::Kind)?;
        self.json.push_str(&quoted);
        Ok(())
    }

    fn attach(&mut self, length: usize) -> Result<(), Malformed> {
        if self.attachments.len() >= MAX_ATTACHMENTS {
            return Err(Malformed::Attachments);
        }
        let bytes = Bytes::copy_from_slice(self.take(length)?);
        let index = self.attachments.len();
        self.attachments.push(bytes);
        self.show(format_args!("{{\"_placeholder\":true,\"num\":{index}}}"))
    }

    /// A date (type -1), or what notepack makes of `undefined` (type 0).
    fn extension(&mut self, length: usize) -> Result<(), Malformed> {
        let [kind] = self.array()?;
        let seconds_and_nanos = match (i8::from_be_bytes([kind]), length) {
            (-1, 4) => (i64::from(u32::from_be_bytes(self.array()?)), 0),
            (-1, 8) => {
                let both = u64::from_be_bytes(self.array()?);
                (i64::try_from(both & 0x3_ffff_ffff).unwrap_or_default(), both >> 34)
            }
            (-1, 12) => {
                let nanos = u32::from_be_bytes(self.array()?);
                (i64::from_be_bytes(self.array()?), u64::from(nanos))
            }
            (0, 1) => {
                self.take(1)?;
                return self.show("null");
            }
            _ => return Err(Malformed::Kind),
        };
        let (seconds, nanos) = seconds_and_nanos;
        let millis = seconds.checked_mul(1000).zip(i64::try_from(nanos / 1_000_000).ok());
        let millis = millis.and_then(|(seconds, millis)| seconds.checked_add(millis)).ok_or(Malformed::Kind)?;
        self.show(format_args!("\"{}\"", Timestamp::from_millis(millis)))
    }

    /// As JSON has neither infinity nor "not a number", they are null, as in JavaScript.
    fn float(&mut self, value: f64) -> Result<(), Malformed> {
        if value.is_finite() { self.show(serde_json::Value::from(value)) } else { self.show("null") }
    }

    fn show(&mut self, value: impl fmt::Display) -> Result<(), Malformed> {
        write!(self.json, "{value}").map_err(|_| Malformed::Kind)
    }

    /// A length of 1, 2 or 4 bytes.
    fn length(&mut self, size: u8) -> Result<usize, Malformed> {
        let length = match size {
            0 => u32::from(u8::from_be_bytes(self.array()?)),
            1 => u32::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?),
        };
        usize::try_from(length).map_err(|_| Malformed::Length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(*taken)
    }
}

fn deeper(depth: usize) -> Result<usize, Malformed> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Malformed::Depth) }
}

/// Appends the value of a JSON text, placeholders replaced by the attachments they stand for.
pub(super) fn write_json(out: &mut Vec<u8>, json: &str, attachments: &[Bytes]) -> Result<(), serde_json::Error> {
    let mut text = serde_json::Deserializer::from_str(json);
    Value { out, attachments }.deserialize(&mut text)?;
    text.end()
}

/// Appends the beginning of an array.
pub(super) fn write_array(out: &mut Vec<u8>, length: usize) {
    write_count(out, [0x90, 0xdc, 0xdd], length);
}

/// Appends the beginning of a map.
pub(super) fn write_map(out: &mut Vec<u8>, length: usize) {
    write_count(out, [0x80, 0xde, 0xdf], length);
}

fn write_count(out: &mut Vec<u8>, [short, middle, long]: [u8; 3], length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..16), _) => out.push(short | length),
        (_, Ok(length)) => {
            out.push(middle);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => write_long(out, long, length),
    }
}

/// What does not fit into 4 bytes of length was refused long before.
fn write_long(out: &mut Vec<u8>, marker: u8, length: usize) {
    out.push(marker);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

/// Appends a text.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ ..32), _) => out.push(0xa0 | length),
        (Ok(length), _) => out.extend_from_slice(&[0xd9, length]),
        (_, Ok(length)) => {
            out.push(0xda);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => write_long(out, 0xdb, text.len()),
    }
    out.extend_from_slice(text.as_bytes());
}

/// Appends a truth value.
pub(super) fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// Appends a number.
pub(super) fn write_number(out: &mut Vec<u8>, number: u64) {
    match (u8::try_from(number), u16::try_from(number), u32::try_from(number)) {
        (Ok(number @ ..0x80), ..) => out.push(number),
        (Ok(number), ..) => out.extend_from_slice(&[0xcc, number]),
        (_, Ok(number), _) => {
            out.push(0xcd);
            out.extend_from_slice(&number.to_be_bytes());
        }
        (.., Ok(number)) => {
            out.push(0xce);
            out.extend_from_slice(&number.to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn write_negative(out: &mut Vec<u8>, number: i64) {
    match (i8::try_from(number), i32::try_from(number)) {
        (Ok(number @ -32..), _) => out.extend_from_slice(&number.to_be_bytes()),
        (_, Ok(number)) => {
            out.push(0xd2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
        (Ok(length), _) => out.extend_from_slice(&[0xc4, length]),
        (_, Ok(length)) => {
            out.push(0xc5);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => write_long(out, 0xc6, bytes.len()),
    }
    out.extend_from_slice(bytes);
}

/// Writes the value that comes.
struct Value<'a> {
    out: &'a mut Vec<u8>,
    attachments: &'a [Bytes],
}

/// What was written, as far as placeholders are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    True,
    Number(u64),
    Other,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Written;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        self.out.push(0xc0);
        Ok(Written::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        write_bool(self.out, value);
        Ok(if value { Written::True } else { Written::Other })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        write_number(self.out, value);
        Ok(Written::Number(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        write_negative(self.out, value);
        Ok(Written::Other)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        self.out.push(0xcb);
        self.out.extend_from_slice(&value.to_be_bytes());
        Ok(Written::Other)
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        write_text(self.out, value);
        Ok(Written::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Written, A::Error> {
        let Self { out, attachments } = self;
        let start = begin(out, 0xdd);
        let mut count = 0_u32;
        while list.next_element_seed(Value { out, attachments })?.is_some() {
            count = count.saturating_add(1);
        }
        end(out, start, count);
        Ok(Written::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let Self { out, attachments } = self;
        let start = begin(out, 0xdf);
        let (mut count, mut is_placeholder, mut num) = (0_u32, false, None);
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            write_text(out, &key);
            let written = map.next_value_seed(Value { out, attachments })?;
            match (&*key, written) {
                ("_placeholder", written) => is_placeholder = written == Written::True,
                ("num", Written::Number(number)) => num = usize::try_from(number).ok(),
                _ => {}
            }
            count = count.saturating_add(1);
        }
        match num.and_then(|num| attachments.get(num)) {
            Some(attachment) if is_placeholder && count == 2 => {
                out.truncate(start);
                write_binary(out, attachment);
            }
            _ => end(out, start, count),
        }
        Ok(Written::Other)
    }
}

/// Leaves room for the length of what has just begun: JSON does not tell it.
fn begin(out: &mut Vec<u8>, marker: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[marker, 0, 0, 0, 0]);
    start
}

fn end(out: &mut [u8], start: usize, count: u32) {
    if let Some(length) = out.get_mut(start + 1..start + 5) {
        length.copy_from_slice(&count.to_be_bytes());
    }
}
