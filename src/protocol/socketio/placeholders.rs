//! The places in a binary packet's JSON where its attachments belong: `{"_placeholder":true,"num":0}`.

use super::json::{Token, Tokens};

/// Whether every placeholder in `text` names one of `attachments` by its index.
///
/// `text` must be valid JSON; its depth bounds the memory. Keys are compared as a receiver will read them, with escapes
/// resolved. Of repeated keys every one has to be right, since receivers differ in which one they take.
///
/// Spec: Socket.IO protocol v4 and v5, "Packet encoding".
pub(super) fn all_have_attachments(text: &str, attachments: usize) -> bool {
    let mut finder = Finder::new(attachments);
    Tokens::new(text).all(|token| finder.take(token) != Some(Found::Dangling))
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The attachment with this index.
    Attachment(usize),
    /// None that there is.
    Dangling,
}

/// Tells which objects are placeholders, from the tokens of a text.
pub(super) struct Finder {
    attachments: usize,
    open: Vec<Frame>,
}

impl Finder {
    pub(super) fn new(attachments: usize) -> Self {
        Self { attachments, open: Vec::new() }
    }

    /// Takes the next token. At the end of a placeholder it tells what that stands for.
    pub(super) fn take(&mut self, token: Token<'_>) -> Option<Found> {
        match token {
            Token::OpenObject | Token::OpenArray => {
                self.note_value("");
                let is_object = token == Token::OpenObject;
                self.open.push(if is_object { Frame::Object(Object::default()) } else { Frame::Array });
            }
            Token::Close => {
                if let Some(Frame::Object(object)) = self.open.pop()
                    && object.is_placeholder
                {
                    return Some(match object.num {
                        Num::Valid(index) => Found::Attachment(index),
                        Num::Absent | Num::Invalid => Found::Dangling,
                    });
                }
            }
            Token::Comma => {
                if let Some(Frame::Object(object)) = self.open.last_mut() {
                    object.key = Key::Expected;
                }
            }
            Token::String(text) => match self.open.last_mut() {
                Some(Frame::Object(object)) if object.key == Key::Expected => object.key = Key::read(text),
                Some(_) | None => self.note_value(text),
            },
            Token::Scalar(text) => self.note_value(text),
        }
        None
    }

    /// Takes down that the innermost object has `value` under its current key; arrays and objects come as an empty text.
    fn note_value(&mut self, value: &str) {
        let Some(Frame::Object(object)) = self.open.last_mut() else { return };
        match object.key {
            Key::Placeholder => object.is_placeholder |= value == "true",
            Key::Num => {
                let index = value.parse().ok().filter(|index| *index < self.attachments);
                object.num = match index {
                    Some(index) if object.num != Num::Invalid => Num::Valid(index),
                    _ => Num::Invalid,
                };
            }
            Key::Expected | Key::Other => {}
        }
    }
}

/// An array or object whose end has not been seen.
enum Frame {
    Array,
    Object(Object),
}

/// What an object has shown so far.
#[derive(Default)]
struct Object {
    key: Key,
    is_placeholder: bool,
    num: Num,
}

/// The key whose value comes next.
#[derive(Default, PartialEq, Eq)]
enum Key {
    /// The next string is a key.
    #[default]
    Expected,
    Placeholder,
    Num,
    Other,
}

impl Key {
    fn read(quoted: &str) -> Self {
        if !quoted.contains('\\') {
            return Self::named(quoted.trim_matches('"'));
        }
        // What cannot be decoded holds a lone surrogate and is none of the two keys.
        serde_json::from_str::<String>(quoted).map_or(Self::Other, |key| Self::named(&key))
    }

    fn named(key: &str) -> Self {
        match key {
            "_placeholder" => Self::Placeholder,
            "num" => Self::Num,
            _ => Self::Other,
        }
    }
}

#[derive(Default, PartialEq, Eq)]
enum Num {
    #[default]
    Absent,
    /// With the index; of repeated ones the last, as receivers read it.
    Valid(usize),
    Invalid,
}
