//! A notification on its way in, and the limits of its fields.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Kind, Priority};
use crate::{clock::Timestamp, ids::MessageId, server::Refusal};

/// Longest title in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Longest text in characters.
const MAX_MESSAGE_CHARS: usize = 500;
/// The app's own JSON in bytes.
const MAX_DATA_BYTES: usize = 16 * 1024;
/// Longest link in bytes.
const MAX_ACTION_URL_BYTES: usize = 2048;
/// Longest key of what replaces each other, in bytes.
const MAX_COLLAPSE_KEY_BYTES: usize = 128;
/// A link that a client opens must not run in the page or read what is on the device.
const REFUSED_SCHEMES: [&str; 5] = ["javascript", "data", "vbscript", "blob", "file"];

/// What somebody is to be told. Part of stored jobs, so its fields are those of their version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// What it is about.
    pub kind: Kind,
    /// One line, 1 to 200 characters.
    pub title: String,
    /// The text, up to 500 characters.
    pub message: String,
    /// Any JSON, up to 16 KiB, as text. The keys that clients of the reference app look for are `messageId`, `conversationId`,
    /// `groupId`, `fromUserId` and `metadata`.
    pub data: Option<String>,
    /// How much it matters.
    pub priority: Priority,
    /// What opens when the notification is chosen: http(s), a relative path or the app's own scheme; up to 2048 bytes.
    pub action_url: Option<String>,
    /// An unread notification with the same key is replaced by this one; 1 to 128 bytes.
    pub collapse_key: Option<String>,
    /// When it goes by itself.
    pub expires_at: Option<Timestamp>,
    /// The message whose beginning is its text. It is looked up whenever the notification is shown, never stored with it, so that it
    /// changes and goes with the message.
    pub about: Option<MessageId>,
}

impl Draft {
    /// A draft of normal priority. Title and text are cut to their limits: what the server itself tells must not fail for a
    /// long name.
    #[must_use]
    pub fn new(kind: Kind, title: &str, message: &str) -> Self {
        Self {
            kind,
            title: cut(title, MAX_TITLE_CHARS),
            message: cut(message, MAX_MESSAGE_CHARS),
            data: None,
            priority: Priority::Normal,
            action_url: None,
            collapse_key: None,
            expires_at: None,
            about: None,
        }
    }

    /// With the beginning of this message as its text.
    #[must_use]
    pub fn about(self, message: MessageId) -> Self {
        Self { about: Some(message), ..self }
    }

    /// With this JSON beside the text.
    #[must_use]
    pub fn with_data(self, data: &serde_json::Value) -> Self {
        Self { data: Some(data.to_string()), ..self }
    }

    /// In place of an unread notification with the same key.
    #[must_use]
    pub fn collapsing(self, key: String) -> Self {
        Self { collapse_key: Some(key), ..self }
    }

    /// Looks at every limit.
    ///
    /// # Errors
    ///
    /// `invalid_payload` or `too_long`, naming the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.title.trim().is_empty() {
            return Err(Refusal::invalid("title", "expected 1 to 200 characters"));
        }
        check_chars("title", &self.title, MAX_TITLE_CHARS)?;
        check_chars("message", &self.message, MAX_MESSAGE_CHARS)?;
        if let Some(data) = &self.data {
            check_bytes("data", data, MAX_DATA_BYTES)?;
            if serde_json::from_str::<&RawValue>(data).is_err() {
                return Err(Refusal::invalid("data", "expected JSON"));
            }
        }
        if let Some(url) = &self.action_url {
            check_bytes("actionUrl", url, MAX_ACTION_URL_BYTES)?;
            if !is_harmless_link(url) {
                return Err(Refusal::invalid("actionUrl", "expected http(s), a relative path or the app's own scheme"));
            }
        }
        if let Some(key) = &self.collapse_key {
            check_bytes("collapseKey", key, MAX_COLLAPSE_KEY_BYTES)?;
            if key.is_empty() {
                return Err(Refusal::invalid("collapseKey", "expected 1 to 128 bytes"));
            }
        }
        if self.expires_at.is_some_and(|at| at <= Timestamp::now()) {
            return Err(Refusal::invalid("expiresAt", "expected a moment to come"));
        }
        Ok(())
    }
}

/// The first `limit` characters.
fn cut(text: &str, limit: usize) -> String {
    text.char_indices().nth(limit).map_or(text, |(end, _)| text.get(..end).unwrap_or_default()).to_owned()
}

fn check_chars(field: &str, text: &str, limit: usize) -> Result<(), Refusal> {
    // Bytes first: counting the characters of a megabyte is not needed to see that it is too long.
    if text.len() > limit.saturating_mul(4) || text.chars().count() > limit {
        return Err(Refusal::too_long(field, limit, "characters"));
    }
    Ok(())
}

fn check_bytes(field: &str, text: &str, limit: usize) -> Result<(), Refusal> {
    if text.len() > limit { Err(Refusal::too_long(field, limit, "bytes")) } else { Ok(()) }
}

/// Whether a page may put `url` behind a link.
///
/// Browsers drop blanks around a link and control characters within, so a link with either may have another scheme than it
/// seems to have.
fn is_harmless_link(url: &str) -> bool {
    if url.is_empty() || url.trim() != url || url.chars().any(char::is_control) {
        return false;
    }
    let first_segment = url.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    match first_segment.split_once(':') {
        None => true,
        Some((scheme, _)) => {
            let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
            is_scheme && !REFUSED_SCHEMES.iter().any(|refused| refused.eq_ignore_ascii_case(scheme))
        }
    }
}
