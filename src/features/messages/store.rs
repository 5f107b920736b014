//! The tables of messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, UserId},
    storage::{Old, Record, RecordError, Table},
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

/// A message, version 2.
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
    /// The message that this one is a copy of.
    pub(crate) forwarded_from: Option<MessageId>,
    pub(crate) pinned: Option<Pin>,
    /// One entry per emoji, in the order of their first use. How many there may be is a rule of the reactions' room.
    pub(crate) reactions: Vec<Reacted>,
}

/// One emoji on a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reacted {
    pub(crate) emoji: String,
    /// How many users have put it there.
    pub(crate) count: u32,
    /// The first of them.
    pub(crate) users: Vec<UserId>,
}

/// Who pinned a message, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) by: UserId,
    pub(crate) at: Timestamp,
}

/// Who deleted a message, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    pub(crate) by: UserId,
    pub(crate) at: Timestamp,
}

impl Record for MessageRecord {
    const VERSION: u8 = 2;

    /// Version 1 had neither copies nor pins nor reactions.
    fn upgrade(old: Old<'_>) -> Result<Self, RecordError> {
        let old: v1::MessageRecord = old.read()?;
        Ok(Self {
            conversation: old.conversation,
            seq: old.seq,
            rev: old.rev,
            sender: old.sender,
            recipient: old.recipient,
            kind: old.kind,
            content: old.content,
            media: old.media,
            reply_to: old.reply_to,
            mentions: old.mentions,
            client_id: old.client_id,
            data: old.data,
            created_at: old.created_at,
            edited_at: old.edited_at,
            deleted: old.deleted,
            expires_at: old.expires_at,
            forwarded_from: None,
            pinned: None,
            reactions: Vec::new(),
        })
    }

    fn stamp(&mut self, seq: u64) {
        self.seq = seq;
    }
}

mod v1 {
    //! Messages as they were first stored.

    use serde::{Deserialize, Serialize};

    use super::{Deletion, Kind, Media};
    use crate::{
        clock::Timestamp,
        ids::{ConversationId, MessageId, UserId},
        storage::Record,
    };

    /// A message, version 1.
    #[derive(Serialize, Deserialize)]
    pub(super) struct MessageRecord {
        pub(super) conversation: ConversationId,
        pub(super) seq: u64,
        pub(super) rev: u32,
        pub(super) sender: UserId,
        pub(super) recipient: Option<UserId>,
        pub(super) kind: Kind,
        pub(super) content: String,
        pub(super) media: Option<Media>,
        pub(super) reply_to: Option<MessageId>,
        pub(super) mentions: Vec<UserId>,
        pub(super) client_id: Option<String>,
        pub(super) data: Option<String>,
        pub(super) created_at: Timestamp,
        pub(super) edited_at: Option<Timestamp>,
        pub(super) deleted: Option<Deletion>,
        pub(super) expires_at: Option<Timestamp>,
    }

    impl Record for MessageRecord {
        const VERSION: u8 = 1;

        fn stamp(&mut self, seq: u64) {
            self.seq = seq;
        }
    }
}

/// Who reacted to a message with what, and when. The message's own record has the counts and the first users of each emoji, so that
/// showing a page of messages reads no row of these: a message may have thousands. What needs them is the question whether one user
/// has reacted, and the list of all.
pub(crate) const REACTIONS: Table<(MessageId, String, UserId), ReactionRecord> = Table::new("reactions");

/// A user's reaction, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReactionRecord {
    pub(crate) at: Timestamp,
}

impl Record for ReactionRecord {
    const VERSION: u8 = 1;
}

/// The messages that are pinned in a conversation, by the moment they were.
pub(super) const PINS: Table<(ConversationId, MessageId), PinRecord> = Table::new("pins");

/// A message is pinned, version 1. What there is to know is in the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinRecord;

impl Record for PinRecord {
    const VERSION: u8 = 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, Store};

    #[tokio::test]
    async fn a_message_of_version_1_is_still_read() {
        const OLD: Table<MessageId, v1::MessageRecord> = Table::new("messages");
        let (store, id) = (Store::memory(), MessageId::fresh());
        let old = v1::MessageRecord {
            conversation: ConversationId::fresh(),
            seq: 7,
            rev: 2,
            sender: UserId::new("ann").expect("a plain name"),
            recipient: None,
            kind: Kind::Image,
            content: "old".to_owned(),
            media: Some(Media { url: "u".to_owned(), ..Media::default() }),
            reply_to: None,
            mentions: Vec::new(),
            client_id: None,
            data: None,
            created_at: Timestamp::from_millis(1),
            edited_at: Some(Timestamp::from_millis(2)),
            deleted: None,
            expires_at: None,
        };
        let mut batch = Batch::new();
        batch.put(&OLD, &id, &old);
        store.commit(batch).await.expect("stored");
        let read = store.get(&MESSAGES, &id).expect("readable").expect("there");
        assert_eq!((read.content.as_str(), read.seq, read.rev, read.kind), ("old", 7, 2, Kind::Image));
        assert_eq!((read.forwarded_from, read.pinned, read.reactions.len()), (None, None, 0));
    }
}
