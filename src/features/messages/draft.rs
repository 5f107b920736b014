//! A message on its way in: the fields that clients send, and their limits.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Config, Kind, Media};
use crate::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
};

/// Longest client key in bytes.
const MAX_CLIENT_ID_BYTES: usize = 128;
/// Users mentioned in one message.
const MAX_MENTIONS: usize = 100;
/// Longest address, name or media type of a file in bytes.
const MAX_MEDIA_FIELD_BYTES: usize = 2048;
/// The app's own JSON in bytes.
const MAX_DATA_BYTES: usize = 16 * 1024;

/// What a client wants to send. Over REST the names of the reference app work as well.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// The conversation; or else `to`.
    #[serde(default, alias = "conversation_id", alias = "groupId")]
    pub conversation_id: Option<ConversationId>,
    /// Whom to: the direct conversation with this user is found or made.
    #[serde(default, alias = "recipient_id", alias = "recipientId")]
    pub to: Option<UserId>,
    /// The text, up to 5,000 characters; empty only beside a `mediaUrl`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub content: String,
    /// What it carries.
    #[serde(default, rename = "type", deserialize_with = "null_as_default")]
    pub kind: Kind,
    /// The message that this one answers, in the same conversation.
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    /// Users to be told.
    #[serde(default, deserialize_with = "null_as_default")]
    pub mentions: Vec<UserId>,
    /// The client's own key, 1 to 128 bytes: repeating the request with it within 7 days is harmless.
    #[serde(default)]
    pub client_id: Option<String>,
    /// When the message goes by itself.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Any JSON of the app's, at most 16 KiB; handed on unread.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// Where the file is.
    #[serde(default)]
    pub media_url: Option<String>,
    /// The file's name.
    #[serde(default)]
    pub media_name: Option<String>,
    /// The file's size in bytes.
    #[serde(default)]
    pub media_size: Option<u64>,
    /// The file's media type.
    #[serde(default)]
    pub media_mime_type: Option<String>,
}

/// Clients write `null` for what they leave out.
fn null_as_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Draft {
    /// Checks everything that can be checked without the store.
    ///
    /// # Errors
    ///
    /// `invalid_payload` or `too_long`, naming the field and the limit.
    pub(super) fn check(&self, config: &Config) -> Result<(), Refusal> {
        check_content(&self.content, self.media_url.is_some(), config)?;
        if self.kind == Kind::System {
            return Err(Refusal::invalid("type", "expected text, image, video, audio or file"));
        }
        if self.client_id.as_ref().is_some_and(String::is_empty) {
            return Err(Refusal::invalid("clientId", "expected 1 to 128 bytes"));
        }
        check_bytes("clientId", self.client_id.as_deref(), MAX_CLIENT_ID_BYTES)?;
        check_bytes("mediaUrl", self.media_url.as_deref(), MAX_MEDIA_FIELD_BYTES)?;
        check_bytes("mediaName", self.media_name.as_deref(), MAX_MEDIA_FIELD_BYTES)?;
        check_bytes("mediaMimeType", self.media_mime_type.as_deref(), MAX_MEDIA_FIELD_BYTES)?;
        check_bytes("data", self.data.as_ref().map(|data| data.get()), MAX_DATA_BYTES)?;
        if self.mentions.len() > MAX_MENTIONS {
            return Err(Refusal::too_long("mentions", MAX_MENTIONS, "users"));
        }
        Ok(())
    }

    /// The file, if there is one.
    pub(super) fn media(&self) -> Option<Media> {
        self.media_url.as_ref().map(|url| Media {
            url: url.clone(),
            name: self.media_name.clone(),
            size: self.media_size,
            mime_type: self.media_mime_type.clone(),
        })
    }

    /// A number for what is sent, so that a repeat is told from another message under the same key.
    pub(super) fn fingerprint(&self) -> u64 {
        let parts = (
            (self.conversation_id.map(|id| id.to_string()), self.to.as_ref().map(UserId::as_str)),
            (&self.content, self.kind, self.reply_to.map(|id| id.to_string())),
            (self.mentions.iter().map(UserId::as_str).collect::<Vec<_>>(), self.data.as_ref().map(|data| data.get())),
            (self.media(), self.expires_at.map(Timestamp::as_millis)),
        );
        // Debug output is unambiguous, and both sides of the comparison are made by this line.
        xxhash_rust::xxh3::xxh3_64(serde_json::to_string(&parts).unwrap_or_default().as_bytes())
    }
}

/// Text of 1 to `max_content_chars` characters, or none beside a file.
pub(super) fn check_content(content: &str, has_media: bool, config: &Config) -> Result<(), Refusal> {
    if content.is_empty() && !has_media {
        return Err(Refusal::invalid("content", "required, unless there is a mediaUrl"));
    }
    // Bytes first: counting the characters of a megabyte is not needed to see that it is too long.
    let limit = config.max_content_chars;
    if content.len() > limit.saturating_mul(4) || content.chars().count() > limit {
        return Err(Refusal::too_long("content", limit, "characters"));
    }
    Ok(())
}

fn check_bytes(field: &str, value: Option<&str>, limit: usize) -> Result<(), Refusal> {
    match value {
        Some(value) if value.len() > limit => Err(Refusal::too_long(field, limit, "bytes")),
        _ => Ok(()),
    }
}
