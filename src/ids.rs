//! Newtypes for everything that names something.
//!
//! Ids that the server makes are 12 bytes (48 bits of milliseconds, 48 bits of randomness), written as 24 lower-case hex
//! digits: sortable by time, and valid wherever a client of the reference app expects an ObjectId. User ids come from the
//! token and are kept as they are.

use std::{fmt, str::FromStr, sync::Arc};

use rand::RngExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::clock::Timestamp;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Ids have 1 to 128 bytes.
    #[error("expected 1 to {max} bytes", max = UserId::MAX_BYTES)]
    Length,
    /// Control, bidirectional and line-separator characters make ids that look like other ids.
    #[error("contains a control, bidirectional or line-separator character")]
    Character,
    /// Ids made by this server are 24 hex digits.
    #[error("expected 24 hex digits")]
    NotHex,
}

/// The id of a user, as the app's token spells it: 1 to 128 bytes without control or bidirectional characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Longest user id in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks and keeps `text`.
    ///
    /// # Errors
    ///
    /// When it is empty, longer than 128 bytes, or holds a character that could disguise it.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(IdError::Length);
        }
        if text.chars().any(is_deceptive) {
            return Err(IdError::Character);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// True for characters that change how the text around them is read or shown.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for UserId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UserId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": Self::MAX_BYTES})
    }
}

/// Twelve bytes, rising with time: what the server's own ids are made of.
fn fresh_id_bytes() -> [u8; 12] {
    let mut bytes = [0; 12];
    let millis = Timestamp::now().as_millis().to_be_bytes();
    let (time, random) = bytes.split_at_mut(6);
    time.copy_from_slice(&millis[2..]);
    rand::rng().fill(random);
    bytes
}

macro_rules! server_made_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 12]);

        impl $name {
            /// A new id: 48 bits of milliseconds, 48 bits from the operating system's randomness.
            #[must_use]
            pub fn fresh() -> Self {
                Self(fresh_id_bytes())
            }

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 12]) -> Self {
                Self(bytes)
            }

            /// The twelve bytes; they sort as the ids do.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 12] {
                &self.0
            }

            /// When it was made, to the millisecond.
            #[must_use]
            pub fn created_at(self) -> Timestamp {
                let mut millis = [0; 8];
                millis[2..].copy_from_slice(&self.0[..6]);
                Timestamp::from_millis(i64::from_be_bytes(millis))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": "^[0-9a-f]{24}$"})
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(as_text(&to_hex(self.0)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(as_text(&to_hex(self.0)))
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 12]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

server_made_id! {
    /// The id of a message.
    MessageId
}

server_made_id! {
    /// The id of a conversation.
    ConversationId
}

server_made_id! {
    /// The id of a notification.
    NotificationId
}

/// Reads exactly 24 hex digits.
fn parse_hex(text: &str) -> Result<[u8; 12], IdError> {
    let digits = text.as_bytes();
    if digits.len() != 24 {
        return Err(IdError::NotHex);
    }
    let mut bytes = [0; 12];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return Err(IdError::NotHex) };
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Ok(bytes)
}

fn hex_digit(c: u8) -> Result<u8, IdError> {
    match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        b'A'..=b'F' => Ok(c - b'A' + 10),
        _ => Err(IdError::NotHex),
    }
}

/// 24 lower-case digits. A message shows half a dozen ids, which is why this does not go through `format!`.
fn to_hex(bytes: [u8; 12]) -> [u8; 24] {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    let mut text = [0; 24];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

fn as_text(digits: &[u8; 24]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

/// An unguessable Engine.IO session id: 15 random bytes in base64url, 20 characters.
///
/// For polling it is the only credential of a request, so it is never logged in full.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sid(Arc<str>);

impl Sid {
    /// How much of it may be in a log: enough to follow a session, not enough to take it over.
    pub const LOGGED_CHARS: usize = 6;

    /// A new id from the operating system's randomness.
    #[must_use]
    pub fn fresh() -> Self {
        Self(random_base64url().into())
    }

    /// A new id that ends with `tag`, by which the nodes of a cluster know whose session it is. It is behind the rest, so that what a log
    /// shows stays another one for each session.
    #[must_use]
    pub fn fresh_with(tag: &str) -> Self {
        if tag.is_empty() { Self::fresh() } else { Self((random_base64url() + tag).into()) }
    }

    /// An id that was made before and kept.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Sid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Shows the first characters only.
impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.0.get(..Self::LOGGED_CHARS).unwrap_or_default())
    }
}

/// The public id of one socket: a session has one per namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SocketId(Arc<str>);

impl JsonSchema for SocketId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SocketId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

impl SocketId {
    /// A new id from the operating system's randomness.
    #[must_use]
    pub fn fresh() -> Self {
        Self(random_base64url().into())
    }

    /// An id that was made before and kept.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The id that Engine.IO 3 clients derive for themselves: the sid, after `/ns#` for other namespaces than `/`.
    #[must_use]
    pub fn from_sid(namespace: &str, sid: &Sid) -> Self {
        if namespace == "/" { Self(Arc::clone(&sid.0)) } else { Self(format!("{namespace}#{}", sid.as_str()).into()) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for SocketId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn random_base64url() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 15];
    rand::rng().fill(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_reads_back_from_its_text_and_tells_its_time() {
        let before = Timestamp::now();
        let id = MessageId::fresh();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 24);
        assert!(id.created_at() >= before);
    }

    #[test]
    fn user_ids_refuse_what_could_disguise_them() {
        assert!(UserId::new("auth0|5f7c8ec7c33c6c004bbafe82").is_ok());
        assert!(UserId::new("用户:*").is_ok());
        assert_eq!(UserId::new(""), Err(IdError::Length));
        assert_eq!(UserId::new(&"x".repeat(129)), Err(IdError::Length));
        assert_eq!(UserId::new("a\nb"), Err(IdError::Character));
        assert_eq!(UserId::new("a\u{202e}b"), Err(IdError::Character));
        assert_eq!(UserId::new("a\u{2028}b"), Err(IdError::Character));
    }

    #[test]
    fn the_log_form_of_a_sid_does_not_give_it_away() {
        let sid = Sid::fresh();
        assert_eq!(sid.as_str().len(), 20);
        assert!(!format!("{sid:?}").contains(sid.as_str()));
    }

    #[test]
    fn a_tag_is_behind_what_cannot_be_guessed() {
        let (sid, other) = (Sid::fresh_with("tagged"), Sid::fresh_with("tagged"));
        assert_eq!((sid.as_str().len(), &sid.as_str()[20..]), (26, "tagged"));
        assert_ne!(sid.as_str()[..20], other.as_str()[..20]);
        assert_eq!(Sid::fresh_with("").as_str().len(), 20);
    }
}
