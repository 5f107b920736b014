//! JSON of this server as MessagePack.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::{
    json::{Token, Tokens},
    placeholders::{Finder, Found},
};

/// Appends the value of a JSON text, with `attachments` in the place of their placeholders.
pub(super) fn json(out: &mut Vec<u8>, json: &str, attachments: &[Bytes]) {
    let mut lengths = lengths(json).into_iter();
    let mut finder = Finder::new(attachments.len());
    let mut starts = Vec::new();
    for token in Tokens::new(json) {
        let found = finder.take(token);
        match token {
            Token::OpenArray => {
                starts.push(out.len());
                array(out, lengths.next().unwrap_or_default());
            }
            Token::OpenObject => {
                starts.push(out.len());
                map(out, lengths.next().unwrap_or_default() / 2);
            }
            Token::Close => {
                let start = starts.pop();
                if let (Some(start), Some(Found::Attachment(index))) = (start, found)
                    && let Some(attachment) = attachments.get(index)
                {
                    out.truncate(start);
                    binary(out, attachment);
                }
            }
            Token::Comma => {}
            Token::String(quoted) => text(out, &unquote(quoted)),
            Token::Scalar(scalar) => self::scalar(out, scalar),
        }
    }
}

/// How many values each array and object holds, keys included, in the order in which they begin: the lengths come first.
fn lengths(json: &str) -> Vec<usize> {
    let (mut lengths, mut open): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for token in Tokens::new(json) {
        match token {
            Token::Comma => continue,
            Token::Close => {
                open.pop();
                continue;
            }
            Token::OpenArray | Token::OpenObject | Token::String(_) | Token::Scalar(_) => {}
        }
        if let Some(length) = open.last().and_then(|&index| lengths.get_mut(index)) {
            *length = length.saturating_add(1);
        }
        if matches!(token, Token::OpenArray | Token::OpenObject) {
            open.push(lengths.len());
            lengths.push(0);
        }
    }
    lengths
}

pub(super) fn map(out: &mut Vec<u8>, length: usize) {
    head(out, length, (0x80, 15), [None, Some(0xde), Some(0xdf)]);
}

fn array(out: &mut Vec<u8>, length: usize) {
    head(out, length, (0x90, 15), [None, Some(0xdc), Some(0xdd)]);
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    head(out, text.len(), (0xa0, 31), [Some(0xd9), Some(0xda), Some(0xdb)]);
    out.extend_from_slice(text.as_bytes());
}

fn binary(out: &mut Vec<u8>, data: &[u8]) {
    let markers = [Some(0xc4), Some(0xc5), Some(0xc6)];
    // There is no form within one byte.
    match u8::try_from(data.len()) {
        Ok(length) => out.extend_from_slice(&[0xc4, length]),
        Err(_) => head(out, data.len(), (0, 0), markers),
    }
    out.extend_from_slice(data);
}

/// A length, within one byte or behind the marker for one, two or four. No message has more than four gigabytes.
fn head(out: &mut Vec<u8>, length: usize, (marker, most): (u8, u8), markers: [Option<u8>; 3]) {
    let [one, two, four] = markers;
    match (u8::try_from(length), u16::try_from(length), one, two) {
        (Ok(length), ..) if length <= most => out.push(marker | length),
        (Ok(length), _, Some(one), _) => out.extend_from_slice(&[one, length]),
        (_, Ok(length), _, Some(two)) => {
            out.push(two);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.extend(four);
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

pub(super) fn unsigned(out: &mut Vec<u8>, number: u64) {
    if let Ok(number @ 0..=0x7f) = u8::try_from(number) {
        out.push(number);
    } else if let Ok(number) = u8::try_from(number) {
        out.extend_from_slice(&[0xcc, number]);
    } else if let Ok(number) = u16::try_from(number) {
        out.push(0xcd);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        out.push(0xce);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn negative(out: &mut Vec<u8>, number: i64) {
    if let Ok(number @ -0x20..) = i8::try_from(number) {
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i8::try_from(number) {
        out.push(0xd0);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xd1);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        out.push(0xd2);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// A literal or a number. One that is no integer of 64 bits is what `JSON.parse` takes it for.
fn scalar(out: &mut Vec<u8>, scalar: &str) {
    match scalar {
        "true" => out.push(0xc3),
        "false" => out.push(0xc2),
        "null" => out.push(0xc0),
        number => {
            if let Ok(number) = number.parse() {
                unsigned(out, number);
            } else if let Ok(number @ ..0) = number.parse() {
                negative(out, number);
            } else {
                out.push(0xcb);
                out.extend_from_slice(&number.parse::<f64>().unwrap_or(f64::NAN).to_be_bytes());
            }
        }
    }
}

/// The text that a JSON string stands for.
fn unquote(quoted: &str) -> Cow<'_, str> {
    if !quoted.contains('\\') {
        return quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().into();
    }
    let whole = serde_json::from_str::<String>(quoted);
    // Half a pair of surrogates is no text: JSON can say it, MessagePack cannot.
    whole.or_else(|_| serde_json::from_str(&without_lone_surrogates(quoted))).unwrap_or_default().into()
}

/// Puts the replacement character in the place of escapes that stand for half a character.
fn without_lone_surrogates(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let length = match (unit(behind), behind.get(5..).and_then(|next| next.strip_prefix('\\')).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 11,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str(r"\ufffd");
                rest = behind.get(5..).unwrap_or_default();
                continue;
            }
            (Some(_), _) => 5,
            (None, _) => 1,
        };
        let (escape, behind) = behind.split_at_checked(length).unwrap_or((behind, ""));
        out.push('\\');
        out.push_str(escape);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The value of an escape `uXXXX`.
fn unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok()
}
