//! The tables of conversations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, UserId},
    storage::{Log, Record, Table},
};

/// Every conversation, by id.
pub(super) const CONVERSATIONS: Table<ConversationId, ConversationRecord> = Table::new("conversations");

/// Who is in a conversation. The truth about access: a row here is what lets a user in.
pub(super) const MEMBERS: Table<(ConversationId, UserId), MemberRecord> = Table::new("members");

/// The same, the other way round: the conversations of a user.
pub(super) const MEMBERSHIPS: Table<(UserId, ConversationId), MembershipRecord> = Table::new("memberships");

/// The direct conversation of two users, the smaller id first. What makes it unique.
pub(super) const DIRECT: Table<(UserId, UserId), DirectRecord> = Table::new("direct_conversations");

/// How much of a conversation's log has been trimmed. No row: nothing.
pub(super) const TRIMMED: Table<ConversationId, TrimmedRecord> = Table::new("trimmed_logs");

/// What happened in a conversation, in order, for ever or as long as `messages.retention_s` says. The sequence number is the order that every client sees, and what a
/// client has missed is what comes after its number.
pub(crate) const LOG: Log<ConversationId, ChangeRecord> = Log::new("conversation_log");

/// What a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ConversationType")]
pub enum Kind {
    /// Two users, for ever.
    Direct,
    /// Members come and go.
    Group,
}

/// A conversation, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConversationRecord {
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
    pub(super) created_by: UserId,
    pub(super) created_at: Timestamp,
    /// Rises with every change of name or members, so that two changes at once cannot overlook each other.
    pub(super) revision: u32,
    /// How many members there are: what is too much for a large group is decided without counting its rows.
    pub(super) members: usize,
}

impl Record for ConversationRecord {
    const VERSION: u8 = 1;
}

/// A member, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRecord {
    pub(super) admin: bool,
    pub(super) joined_at: Timestamp,
}

impl Record for MemberRecord {
    const VERSION: u8 = 1;
}

/// A membership, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MembershipRecord {
    pub(super) kind: Kind,
    /// The other one of a direct conversation.
    pub(super) other: Option<UserId>,
}

impl Record for MembershipRecord {
    const VERSION: u8 = 1;
}

/// Where two users talk, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirectRecord {
    pub(super) conversation: ConversationId,
}

impl Record for DirectRecord {
    const VERSION: u8 = 1;
}

/// One entry of a conversation's log, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangeRecord {
    pub(crate) change: Change,
    pub(crate) at: Timestamp,
}

impl Record for ChangeRecord {
    const VERSION: u8 = 1;
}

/// How much of a log has been trimmed, version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrimmedRecord {
    /// Everything up to here is gone. The entry with this number itself stays for as long as it is the last one, since the store
    /// counts on from it; nobody reads it.
    pub(crate) up_to: u64,
    /// The date of the youngest entry and message among what is gone.
    pub(crate) at: Timestamp,
}

impl Record for TrimmedRecord {
    const VERSION: u8 = 1;
}

impl TrimmedRecord {
    /// The oldest number that is there, when some are gone.
    pub(crate) fn before(&self) -> Option<u64> {
        (self.up_to > 0).then(|| self.up_to.saturating_add(1))
    }

    /// Whether a message that is missing was among what is gone: a later change in the log may still name it.
    pub(crate) fn covers(&self, message: MessageId) -> bool {
        self.up_to > 0 && message.created_at() <= self.at
    }
}

/// What happened. The message's own state is in its table; the log keeps the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// A message was sent.
    New(MessageId),
    /// A message was edited, by its sender.
    Edited(MessageId),
    /// A message was deleted.
    Deleted { message: MessageId, by: UserId },
    /// Somebody reacted to a message, or took a reaction back.
    Reacted { message: MessageId, by: UserId, emoji: String, added: bool },
    /// A message was pinned.
    Pinned { message: MessageId, by: UserId },
    /// A message was unpinned.
    Unpinned { message: MessageId, by: UserId },
}

impl Change {
    /// The message that it is about.
    pub(crate) fn message(&self) -> MessageId {
        let (Self::New(message)
        | Self::Edited(message)
        | Self::Deleted { message, .. }
        | Self::Reacted { message, .. }
        | Self::Pinned { message, .. }
        | Self::Unpinned { message, .. }) = self;
        *message
    }

    /// The message that it brought in, if it did.
    pub(crate) fn brings(&self) -> Option<MessageId> {
        match self {
            Self::New(message) => Some(*message),
            Self::Edited(_)
            | Self::Deleted { .. }
            | Self::Reacted { .. }
            | Self::Pinned { .. }
            | Self::Unpinned { .. } => None,
        }
    }
}
