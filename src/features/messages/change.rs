//! The events that tell of changes in a conversation: the one place that makes them, for those who are there and for those who come
//! later.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Around, MessageRecord, MessageView,
    view::{ReactionView, reactions},
};
use crate::{
    features::conversations::{Change, Rooms},
    ids::{ConversationId, MessageId, UserId},
    server::ServerEvent,
};

/// A message was sent; to everybody in the conversation, the sender too.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageNew {
    /// The message.
    #[serde(flatten)]
    pub message: Box<MessageView>,
    /// The number of this change in the conversation's log: what a client keeps as its cursor.
    pub change_seq: u64,
}

impl MessageNew {
    /// The payload for a message that is written as JSON already: the same text goes into the sender's ack.
    pub(crate) fn json(message: &str, change_seq: u64) -> String {
        let open = message.strip_suffix('}').unwrap_or(message);
        format!(r#"{open},"changeSeq":{change_seq}}}"#)
    }
}

impl ServerEvent for MessageNew {
    const NAME: &'static str = "message:new";
}

/// The text of a message has changed; to everybody in the conversation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MessageUpdated")]
pub struct Updated {
    /// The message after it.
    #[serde(flatten)]
    pub message: Box<MessageView>,
    /// Its id once more.
    pub message_id: MessageId,
    /// Who changed it.
    pub edited_by: UserId,
    /// The number of this change in the conversation's log.
    pub change_seq: u64,
}

impl ServerEvent for Updated {
    const NAME: &'static str = "message:updated";
}

/// A message was deleted; to everybody in the conversation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MessageDeleted")]
pub struct Deleted {
    /// The message.
    pub message_id: MessageId,
    /// The same, as the reference app names it.
    #[serde(rename = "_id")]
    pub legacy_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The same, as the reference app names it.
    pub conversation: ConversationId,
    /// Who deleted it.
    pub deleted_by: UserId,
    /// The number of the deletion in the conversation's log.
    pub seq: u64,
    /// The same, under the name that all changes have.
    pub change_seq: u64,
}

impl ServerEvent for Deleted {
    const NAME: &'static str = "message:deleted";
}

/// Whether a reaction came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReactionAction {
    /// It was put on the message.
    Added,
    /// It was taken back.
    Removed,
}

/// Somebody reacted to a message, or took a reaction back; to everybody in the conversation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReactionUpdated {
    /// The message.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Whose reaction it is.
    pub user_id: UserId,
    /// The emoji.
    pub emoji: String,
    /// What became of it.
    pub action: ReactionAction,
    /// All reactions of the message after it.
    pub reactions: Vec<ReactionView>,
    /// The number of this change in the conversation's log.
    pub change_seq: u64,
}

impl ServerEvent for ReactionUpdated {
    const NAME: &'static str = "reaction:updated";
}

/// A message was pinned; to everybody in the conversation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MessagePinned")]
pub struct Pinned {
    /// The message.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The conversation again when it is a group.
    pub group_id: Option<ConversationId>,
    /// Who pinned it.
    pub pinned_by: UserId,
    /// The number of this change in the conversation's log.
    pub change_seq: u64,
}

impl ServerEvent for Pinned {
    const NAME: &'static str = "message:pinned";
}

/// The pin was taken off a message; to everybody in the conversation. `pinnedBy` is who did that.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "MessageUnpinned")]
pub struct Unpinned(pub Pinned);

impl ServerEvent for Unpinned {
    const NAME: &'static str = "message:unpinned";
}

/// A change of a conversation as the event that tells of it: `event` is its name, beside the payload of that event.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event")]
pub enum ChangeEvent {
    /// A message was sent.
    #[serde(rename = "message:new")]
    New(MessageNew),
    /// Its text has changed.
    #[serde(rename = "message:updated")]
    Updated(Updated),
    /// It was deleted.
    #[serde(rename = "message:deleted")]
    Deleted(Deleted),
    /// A reaction came or went.
    #[serde(rename = "reaction:updated")]
    Reaction(ReactionUpdated),
    /// It was pinned.
    #[serde(rename = "message:pinned")]
    Pinned(Pinned),
    /// It was unpinned.
    #[serde(rename = "message:unpinned")]
    Unpinned(Unpinned),
}

impl ChangeEvent {
    /// The event of change number `seq`, made from the present state of its message. Whatever the change was, a message that is
    /// deleted by now is told as deleted: nobody gets its text any more.
    pub(crate) fn new(seq: u64, change: &Change, record: &MessageRecord, around: &Around) -> Self {
        let (id, conversation_id) = (change.message(), record.conversation);
        let deleted = |by: &UserId| {
            Self::Deleted(Deleted {
                message_id: id,
                legacy_id: id,
                conversation_id,
                conversation: conversation_id,
                deleted_by: by.clone(),
                seq,
                change_seq: seq,
            })
        };
        if let Some(deletion) = &record.deleted {
            return deleted(&deletion.by);
        }
        let message = || Box::new(around.show(id, record.clone()));
        let group_id = record.recipient.is_none().then_some(conversation_id);
        let pinned =
            |by: &UserId| Pinned { message_id: id, conversation_id, group_id, pinned_by: by.clone(), change_seq: seq };
        match change {
            Change::New(_) => Self::New(MessageNew { message: message(), change_seq: seq }),
            Change::Edited(_) => {
                let edited_by = record.sender.clone();
                Self::Updated(Updated { message: message(), message_id: id, edited_by, change_seq: seq })
            }
            Change::Deleted { by, .. } => deleted(by),
            Change::Reacted { by, emoji, added, .. } => Self::Reaction(ReactionUpdated {
                message_id: id,
                conversation_id,
                user_id: by.clone(),
                emoji: emoji.clone(),
                action: if *added { ReactionAction::Added } else { ReactionAction::Removed },
                reactions: reactions(record.reactions.clone()),
                change_seq: seq,
            }),
            Change::Pinned { by, .. } => Self::Pinned(pinned(by)),
            Change::Unpinned { by, .. } => Self::Unpinned(Unpinned(pinned(by))),
        }
    }

    /// The name of the event.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::New(_) => MessageNew::NAME,
            Self::Updated(_) => Updated::NAME,
            Self::Deleted(_) => Deleted::NAME,
            Self::Reaction(_) => ReactionUpdated::NAME,
            Self::Pinned(_) => Pinned::NAME,
            Self::Unpinned(_) => Unpinned::NAME,
        }
    }

    /// Whose change it is.
    #[must_use]
    pub const fn by(&self) -> &UserId {
        match self {
            Self::New(event) => &event.message.sender_id,
            Self::Updated(event) => &event.edited_by,
            Self::Deleted(event) => &event.deleted_by,
            Self::Reaction(event) => &event.user_id,
            Self::Pinned(event) => &event.pinned_by,
            Self::Unpinned(event) => &event.0.pinned_by,
        }
    }

    /// The payload of the event as JSON.
    pub(crate) fn json(&self) -> Option<String> {
        let json = match self {
            Self::New(event) => serde_json::to_string(event),
            Self::Updated(event) => serde_json::to_string(event),
            Self::Deleted(event) => serde_json::to_string(event),
            Self::Reaction(event) => serde_json::to_string(event),
            Self::Pinned(event) => serde_json::to_string(event),
            Self::Unpinned(event) => serde_json::to_string(event),
        };
        json.inspect_err(|error| tracing::error!(%error, "a change could not be written as JSON")).ok()
    }

    /// Tells everybody in the conversation. Called in commit order.
    pub(super) fn tell(&self, rooms: &Rooms, conversation: ConversationId, seq: u64) {
        let Some(json) = self.json() else { return };
        let emit = match self {
            Self::New(_) => Rooms::emit_change::<MessageNew>,
            Self::Updated(_) => Rooms::emit_change::<Updated>,
            Self::Deleted(_) => Rooms::emit_change::<Deleted>,
            Self::Reaction(_) => Rooms::emit_change::<ReactionUpdated>,
            Self::Pinned(_) => Rooms::emit_change::<Pinned>,
            Self::Unpinned(_) => Rooms::emit_change::<Unpinned>,
        };
        emit(rooms, conversation, seq, &json);
    }
}
