//! A notification as its reader sees it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Kind, NotificationId, Priority, Status, store::NotificationRecord};
use crate::clock::Timestamp;

/// A notification.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Notification")]
pub struct NotificationView {
    /// The same as `id`, where clients of the reference app look for it.
    #[serde(rename = "_id")]
    pub legacy_id: NotificationId,
    /// The id.
    pub id: NotificationId,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// One line, up to 200 characters.
    pub title: String,
    /// The text, up to 500 characters. Of one about a message, the beginning of the message as it is now: empty once that was deleted.
    pub message: String,
    /// Any JSON up to 16 KiB; an empty object where there is none, since clients look into it.
    pub data: Box<RawValue>,
    /// How much it matters.
    pub priority: Priority,
    /// What opens when it is chosen: http(s), relative, or the app's own scheme.
    pub action_url: Option<String>,
    /// How far its reader has come.
    pub status: Status,
    /// What it replaces while that is unread, and is replaced by.
    pub collapse_key: Option<String>,
    /// How many it stands for: one more each time it is replaced.
    pub count: u32,
    /// When it was made or last renewed.
    pub created_at: Timestamp,
    /// When it was read.
    pub read_at: Option<Timestamp>,
    /// When it goes by itself.
    pub expires_at: Option<Timestamp>,
}

impl From<NotificationRecord> for NotificationView {
    fn from(record: NotificationRecord) -> Self {
        Self {
            legacy_id: record.id,
            id: record.id,
            kind: record.kind,
            title: record.title,
            message: record.message,
            data: record.data.and_then(|data| RawValue::from_string(data).ok()).unwrap_or_else(no_data),
            priority: record.priority,
            action_url: record.action_url,
            status: record.status,
            collapse_key: record.collapse_key,
            count: record.count,
            created_at: record.created_at,
            read_at: record.read_at,
            expires_at: record.expires_at,
        }
    }
}

/// `{}`.
fn no_data() -> Box<RawValue> {
    serde_json::value::to_raw_value(&serde_json::Map::new()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
