//! MessagePack from a client, as JSON.

use bytes::Bytes;

use super::super::{DecodeError, Limits, json, packet::MAX_ID};
use crate::clock::Timestamp;

/// `undefined`, as `notepack.io` writes it; a byte without a meaning follows.
const UNDEFINED: [u8; 2] = [0xd4, 0];
/// Up to here every integer is a number of JavaScript's.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads values from the front of a message. Declared lengths are believed no further than there are bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    limits: &'a Limits,
    attachments: Vec<Bytes>,
}

/// How a value begins.
enum Head {
    Nil,
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(usize),
    Binary(usize),
    Array(usize),
    Map(usize),
    /// Milliseconds since 1970, which may be beyond all dates.
    Date(Option<i64>),
}

impl Head {
    /// A number that is a whole one and not negative. Some programs write those with a sign.
    fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8], limits: &'a Limits) -> Self {
        Self { rest: data, limits, attachments: Vec::new() }
    }

    /// The number of entries of a map.
    pub(super) fn map(&mut self) -> Read<usize> {
        match self.head()? {
            Head::Map(length) => Ok(length),
            _ => Err(DecodeError::Msgpack),
        }
    }

    /// The key of an entry, which is text in everything that JavaScript calls an object.
    pub(super) fn key(&mut self) -> Read<&'a str> {
        self.text()
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        match self.head()? {
            Head::Text(length) => self.str(length),
            _ => Err(DecodeError::Msgpack),
        }
    }

    /// The number of a packet type.
    pub(super) fn number(&mut self) -> Read<u64> {
        self.head()?.unsigned().ok_or(DecodeError::UnknownType)
    }

    /// An ack id, if there is one.
    pub(super) fn optional_id(&mut self) -> Read<Option<u64>> {
        match self.head()? {
            Head::Undefined => Ok(None),
            head => head.unsigned().filter(|id| *id <= MAX_ID).map(Some).ok_or(DecodeError::Id),
        }
    }

    /// A value as JSON, if there is one.
    pub(super) fn optional_json(&mut self) -> Read<Option<String>> {
        if self.take_undefined() {
            return Ok(None);
        }
        let mut out = Vec::new();
        self.value(self.limits.depth, &mut out)?;
        String::from_utf8(out).map(Some).map_err(|_| DecodeError::Msgpack)
    }

    /// Passes over a value that nobody wants.
    pub(super) fn skip(&mut self) -> Read<()> {
        let attachments = self.attachments.len();
        self.value(self.limits.depth, &mut Vec::new())?;
        self.attachments.truncate(attachments);
        Ok(())
    }

    /// The binary data on the way here, at the end of the message.
    pub(super) fn finish(self) -> Read<Vec<Bytes>> {
        if self.rest.is_empty() { Ok(self.attachments) } else { Err(DecodeError::Msgpack) }
    }

    /// Writes a value that has at most `depth` levels. It calls itself once per level.
    fn value(&mut self, depth: usize, out: &mut Vec<u8>) -> Read<()> {
        match self.head()? {
            // An element of an array cannot be left out.
            Head::Nil | Head::Undefined => out.extend_from_slice(b"null"),
            Head::Bool(value) => json::write(out, &value),
            Head::Unsigned(number) => json::write(out, &number),
            Head::Signed(number) => json::write(out, &number),
            Head::Float(number) => write_float(out, number),
            Head::Text(length) => json::write(out, self.str(length)?),
            Head::Binary(length) => self.attachment(length, out)?,
            Head::Date(millis) => write_date(out, millis),
            Head::Array(length) => {
                let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
                out.push(b'[');
                for index in 0..length {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.value(depth, out)?;
                }
                out.push(b']');
            }
            Head::Map(length) => {
                let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
                out.push(b'{');
                let mut is_first = true;
                for _ in 0..length {
                    let key = self.key()?;
                    if self.take_undefined() {
                        continue;
                    }
                    if !std::mem::take(&mut is_first) {
                        out.push(b',');
                    }
                    json::write(out, key);
                    out.push(b':');
                    self.value(depth, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }

    fn attachment(&mut self, length: usize, out: &mut Vec<u8>) -> Read<()> {
        // A copy: a few bytes that wait for somebody must not keep the whole message.
        let data = Bytes::copy_from_slice(self.take(length)?);
        let index = self.attachments.len();
        if index == self.limits.attachments {
            return Err(DecodeError::Attachments);
        }
        self.attachments.push(data);
        out.extend_from_slice(format!(r#"{{"_placeholder":true,"num":{index}}}"#).as_bytes());
        Ok(())
    }

    fn take_undefined(&mut self) -> bool {
        let Some(rest) = self.rest.strip_prefix(&UNDEFINED).and_then(|rest| rest.get(1..)) else { return false };
        self.rest = rest;
        true
    }

    fn head(&mut self) -> Read<Head> {
        let [first] = self.array()?;
        Ok(match first {
            0x00..=0x7f => Head::Unsigned(first.into()),
            0x80..=0x8f => Head::Map(usize::from(first & 0x0f)),
            0x90..=0x9f => Head::Array(usize::from(first & 0x0f)),
            0xa0..=0xbf => Head::Text(usize::from(first & 0x1f)),
            0xc0 => Head::Nil,
            0xc2 | 0xc3 => Head::Bool(first == 0xc3),
            0xc4 => Head::Binary(self.length::<1>()?),
            0xc5 => Head::Binary(self.length::<2>()?),
            0xc6 => Head::Binary(self.length::<4>()?),
            0xc7 => self.extension::<1>()?,
            0xc8 => self.extension::<2>()?,
            0xc9 => self.extension::<4>()?,
            0xca => Head::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Head::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Head::Unsigned(u8::from_be_bytes(self.array()?).into()),
            0xcd => Head::Unsigned(u16::from_be_bytes(self.array()?).into()),
            0xce => Head::Unsigned(u32::from_be_bytes(self.array()?).into()),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => Head::Signed(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Head::Signed(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Head::Signed(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Head::Signed(i64::from_be_bytes(self.array()?)),
            0xd4 => self.fixed_extension(1)?,
            0xd5 => self.fixed_extension(2)?,
            0xd6 => self.fixed_extension(4)?,
            0xd7 => self.fixed_extension(8)?,
            0xd8 => self.fixed_extension(16)?,
            0xd9 => Head::Text(self.length::<1>()?),
            0xda => Head::Text(self.length::<2>()?),
            0xdb => Head::Text(self.length::<4>()?),
            0xdc => Head::Array(self.length::<2>()?),
            0xdd => Head::Array(self.length::<4>()?),
            0xde => Head::Map(self.length::<2>()?),
            0xdf => Head::Map(self.length::<4>()?),
            0xe0..=0xff => Head::Signed(i8::from_be_bytes([first]).into()),
            // Stands for nothing.
            0xc1 => return Err(DecodeError::Msgpack),
        })
    }

    /// A length that takes so many bytes, at most four.
    fn length<const BYTES: usize>(&mut self) -> Read<usize> {
        let bytes = self.array::<BYTES>()?;
        Ok(bytes.into_iter().fold(0, |length: usize, byte| length.wrapping_shl(8) | usize::from(byte)))
    }

    /// Type 0 is an `ArrayBuffer` here; and there is one kind of date of this form.
    fn extension<const BYTES: usize>(&mut self) -> Read<Head> {
        let length = self.length::<BYTES>()?;
        match (i8::from_be_bytes(self.array()?), length) {
            (0, length) => Ok(Head::Binary(length)),
            (-1, 12) => {
                let nanos = u32::from_be_bytes(self.array()?);
                Ok(Head::Date(millis(i64::from_be_bytes(self.array()?), nanos)))
            }
            _ => Err(DecodeError::Extension),
        }
    }

    /// Type 0 is `undefined` with one byte, and a date with eight; -1 is a date in the forms of the specification.
    fn fixed_extension(&mut self, length: usize) -> Read<Head> {
        match (i8::from_be_bytes(self.array()?), length) {
            (0, 1) => self.take(1).map(|_| Head::Undefined),
            (0, 8) => Ok(Head::Date(Some(i64::from_be_bytes(self.array()?)))),
            (-1, 4) => Ok(Head::Date(millis(u32::from_be_bytes(self.array()?).into(), 0))),
            (-1, 8) => {
                let both = u64::from_be_bytes(self.array()?);
                let (nanos, seconds) = (u32::try_from(both >> 34), i64::try_from(both & 0x3_ffff_ffff));
                Ok(Head::Date(nanos.ok().zip(seconds.ok()).and_then(|(nanos, seconds)| millis(seconds, nanos))))
            }
            _ => Err(DecodeError::Extension),
        }
    }

    fn str(&mut self, length: usize) -> Read<&'a str> {
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Msgpack)
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Msgpack)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Msgpack)?;
        self.rest = rest;
        Ok(*taken)
    }
}

fn millis(seconds: i64, nanos: u32) -> Option<i64> {
    seconds.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))
}

/// Whole numbers come without a fraction, as JavaScript writes them: for a reader of JSON `3.0` may be none.
fn write_float(out: &mut Vec<u8>, number: f64) {
    if number == 0.0 {
        out.push(b'0');
    } else if number.fract() == 0.0 && number.abs() <= MAX_EXACT {
        out.extend_from_slice(format!("{number:.0}").as_bytes());
    } else {
        // JSON has no infinity, and `null` is written for it.
        json::write(out, &number);
    }
}

fn write_date(out: &mut Vec<u8>, millis: Option<i64>) {
    let text = millis.map(|millis| Timestamp::from_millis(millis).to_string()).filter(|text| text.contains('T'));
    // A date that none is is `null` in JavaScript's JSON, too.
    json::write(out, &text);
}
