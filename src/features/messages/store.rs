//! The tables of messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, UserId},
    storage::{Record, Table},
};

/// The present state of every message, by id.
pub(crate) const MESSAGES: Table<MessageId, MessageRecord> = Table::new("messages");

/// Which message a client's key stands for. Rows older than `messages.client_id_retention_s` are dead and swept.
pub(super) const CLIENT_IDS: Table<(UserId, String), ClientIdRecord> = Table::new("client_ids");

/// Messages that go by themselves, by the moment they do.
pub(super) const EXPIRING: Table<(Timestamp, MessageId), ExpiringRecord> = Table::new("expiring_messages");

/// What a message carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "MessageType")]
pub enum Kind {
    /// Text alone.
    #[default]
    Text,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// Sound.
    Audio,
    /// Any other file.
    File,
    /// Made by the server; clients cannot send it.
    System,
}

/// A file beside the text. The file itself is kept by the app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where it is.
    pub url: String,
    /// Its name.
    pub name: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its media type.
    pub mime_type: Option<String>,
}

/// A message, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MessageRecord {
    pub(crate) conversation: ConversationId,
    /// Its place in the conversation's log, given by the store.
    pub(crate) seq: u64,
    /// Rises with every edit, 1 at first.
    pub(crate) rev: u32,
    pub(crate) sender: UserId,
    /// The other one of a direct conversation.
    pub(crate) recipient: Option<UserId>,
    pub(crate) kind: Kind,
    pub(crate) content: String,
    pub(crate) media: Option<Media>,
    pub(crate) reply_to: Option<MessageId>,
    pub(crate) mentions: Vec<UserId>,
    pub(crate) client_id: Option<String>,
    /// The app's own JSON, as it came.
    pub(crate) data: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) edited_at: Option<Timestamp>,
    pub(crate) deleted: Option<Deletion>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Who deleted a message, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    pub(crate) by: UserId,
    pub(crate) at: Timestamp,
}

impl Record for MessageRecord {
    const VERSION: u8 = 1;

    fn stamp(&mut self, seq: u64) {
        self.seq = seq;
    }
}

/// What a client's key was used for, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClientIdRecord {
    pub(super) message: MessageId,
    /// XXH3 of what was sent: the same key with other content is a mistake of the client's.
    pub(super) fingerprint: u64,
}

impl Record for ClientIdRecord {
    const VERSION: u8 = 1;
}

/// A message has an end, version 1. All there is to know is in the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExpiringRecord;

impl Record for ExpiringRecord {
    const VERSION: u8 = 1;
}
