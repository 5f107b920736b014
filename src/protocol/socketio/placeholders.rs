//! The places in a binary packet's JSON where its attachments belong: `{"_placeholder":true,"num":0}`.

use super::json::{Token, Tokens};

/// Whether every placeholder in `text` names one of `attachments` by its index.
///
/// `text` must be valid JSON; its depth bounds the memory. Keys are compared as a receiver will read them, with escapes
/// resolved. Of repeated keys every one has to be right, since receivers differ in which one they take.
///
/// Spec: Socket.IO protocol v4 and v5, "Packet encoding".
pub(super) fn all_have_attachments(text: &str, attachments: usize) -> bool {
    let mut open = Vec::new();
    for token in Tokens::new(text) {
        match token {
            Token::OpenObject | Token::OpenArray => {
                note_value(&mut open, "", attachments);
                open.push(if token == Token::OpenObject { Frame::Object(Object::default()) } else { Frame::Array });
            }
            Token::Close => {
                if let Some(Frame::Object(object)) = open.pop()
                    && object.is_placeholder
                    && object.num != Num::Valid
                {
                    return false;
                }
            }
            Token::Comma => {
                if let Some(Frame::Object(object)) = open.last_mut() {
                    object.key = Key::Expected;
                }
            }
            Token::String(text) => match open.last_mut() {
                Some(Frame::Object(object)) if object.key == Key::Expected => object.key = Key::read(text),
                Some(_) | None => note_value(&mut open, text, attachments),
            },
            Token::Scalar(text) => note_value(&mut open, text, attachments),
        }
    }
    true
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
    Valid,
    Invalid,
}

/// Takes down that the innermost object has `value` under its current key; arrays and objects come as an empty text.
fn note_value(open: &mut [Frame], value: &str, attachments: usize) {
    let Some(Frame::Object(object)) = open.last_mut() else { return };
    match object.key {
        Key::Placeholder => object.is_placeholder |= value == "true",
        Key::Num => {
            let is_index = value.parse().is_ok_and(|index: usize| index < attachments);
            object.num = if is_index && object.num != Num::Invalid { Num::Valid } else { Num::Invalid };
        }
        Key::Expected | Key::Other => {}
    }
}
