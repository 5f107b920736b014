//! Raw JSON: depth, arguments, tokens. Nothing here builds a tree, so nothing recurses.

use std::fmt;

use serde::{
    Deserializer, Serialize,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::packet::MAX_ARGUMENTS;

/// The elements of an array, the event name apart from the arguments.
pub(super) struct Array<'a> {
    /// The first element when a name was asked for.
    pub(super) name: Option<&'a RawValue>,
    pub(super) args: Vec<&'a RawValue>,
}

/// Checks that `text` is one JSON array and splits it, in one pass.
pub(super) fn split_array(text: &str, with_name: bool) -> Option<Array<'_>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let array = ArrayOf { with_name }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(array)
}

/// Checks that `text` is one JSON object.
pub(super) fn object(text: &str) -> Option<&RawValue> {
    let value: &RawValue = serde_json::from_str(text).ok()?;
    value.get().starts_with('{').then_some(value)
}

/// Whether brackets nest deeper than `limit`. `text` may be broken JSON, for which either answer is fine.
pub(super) fn is_deeper_than(limit: usize, text: &str) -> bool {
    // Few packets have as many brackets as the limit, and counting them takes a fraction of the time of the scan.
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= limit {
        return false;
    }
    let mut depth = 0_usize;
    for token in Tokens::new(text) {
        match token {
            Token::OpenArray | Token::OpenObject => depth = depth.saturating_add(1),
            Token::Close => depth = depth.saturating_sub(1),
            Token::Comma | Token::String(_) | Token::Scalar(_) => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

/// Appends `value` as JSON.
pub(super) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Only texts and numbers come here, and a `Vec` takes every byte: there is no error to lose.
    serde_json::to_writer(out, value).unwrap_or_default();
}

/// A token of JSON, as far as brackets and strings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    OpenArray,
    OpenObject,
    Close,
    Comma,
    /// With its quotes and escapes.
    String(&'a str),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a str),
}

/// The tokens of a text, in one pass. It checks nothing: broken JSON gives some tokens, too.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let blank = self.rest.bytes().take_while(|&byte| is_blank(byte)).count();
        let text = self.rest.get(blank..)?;
        let first = text.bytes().next()?;
        let length = match first {
            b'"' => string_length(text),
            _ if is_punctuation(first) => 1,
            _ => text.bytes().position(|byte| is_blank(byte) || is_punctuation(byte)).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at_checked(length).unwrap_or((text, ""));
        self.rest = rest;
        Some(match first {
            b'[' => Token::OpenArray,
            b'{' => Token::OpenObject,
            b']' | b'}' => Token::Close,
            b',' => Token::Comma,
            b'"' => Token::String(token),
            _ => Token::Scalar(token),
        })
    }
}

/// What stands between tokens. The colon is here because whoever reads the tokens knows a key by its place.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b':')
}

/// What ends a number or a literal.
fn is_punctuation(byte: u8) -> bool {
    matches!(byte, b'[' | b'{' | b']' | b'}' | b',' | b'"')
}

/// Bytes of the string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return at.saturating_add(1),
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    text.len()
}

struct ArrayOf {
    with_name: bool,
}

impl<'a> DeserializeSeed<'a> for ArrayOf {
    type Value = Array<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for ArrayOf {
    type Value = Array<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let name = if self.with_name { elements.next_element()? } else { None };
        let mut args = Vec::new();
        while let Some(arg) = elements.next_element()? {
            if args.len() == MAX_ARGUMENTS {
                return Err(A::Error::custom("too many arguments"));
            }
            args.push(arg);
        }
        Ok(Array { name, args })
    }
}
