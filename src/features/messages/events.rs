//! The events of messages.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Draft, MessageRecord, MessageView, ReactionView};
use crate::{
    features::conversations::Empty,
    ids::{ConversationId, MessageId, UserId},
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] = &[
    ServerEventDoc::of::<MessageNew>(),
    ServerEventDoc::of::<Updated<'_>>(),
    ServerEventDoc::of::<Deleted<'_>>(),
    ServerEventDoc::of::<ReactionUpdated>(),
    ServerEventDoc::of::<Pinned>(),
    ServerEventDoc::of::<Unpinned>(),
];

/// Sends a message; for members of the conversation. The ack comes after it is on disk. Repeated with the same `clientId` within 7
/// days it gives the same message, with other content `conflict`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SendMessage(pub Draft);

impl ClientEvent for SendMessage {
    const NAME: &'static str = "message:send";
    type Ack = SentAck;
}

/// As `message:send`, under the reference app's name; the message is told with the sender's plain id.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct LegacySendMessage(pub Draft);

impl ClientEvent for LegacySendMessage {
    const NAME: &'static str = "send-message";
    type Ack = SentAck;
}

/// The ack of a message that was sent.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SentAck {
    /// Its id.
    pub id: MessageId,
    /// Its place in the conversation's log.
    pub seq: u64,
    /// The message.
    #[schemars(with = "MessageView")]
    pub message: Box<RawValue>,
    /// True when this client key had been used for it before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// Changes the text of a message; for its sender.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditMessage {
    /// The message.
    pub message_id: MessageId,
    /// The new text.
    pub content: String,
    /// The revision that the client has seen; if it is not the present one: `conflict`.
    #[serde(default)]
    pub rev: Option<u32>,
    /// The fencing number of the lock under which it was edited; once that has ended it is a conflict.
    #[serde(default)]
    pub fence: Option<u64>,
}

impl ClientEvent for EditMessage {
    const NAME: &'static str = "message:edit";
    type Ack = EditedAck;
}

/// The ack of an edit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EditedAck {
    /// The message after it.
    pub message: MessageView,
}

/// Deletes a message for everybody; for its sender and the group's admins. A tombstone stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteMessage {
    /// The message.
    pub message_id: MessageId,
}

impl ClientEvent for DeleteMessage {
    const NAME: &'static str = "message:delete";
    type Ack = DeletedAck;
}

/// The ack of a deletion.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedAck {
    /// The message.
    pub message_id: MessageId,
}

/// Puts copies of a message into other conversations: all of them or none; for members of all of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardMessage {
    /// The message.
    pub message_id: MessageId,
    /// Where to; 1 to 20.
    pub conversation_ids: Vec<ConversationId>,
}

impl ClientEvent for ForwardMessage {
    const NAME: &'static str = "message:forward";
    type Ack = ForwardedAck;
}

/// The ack of a message that was forwarded.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ForwardedAck {
    /// The copies, in the order of the conversations.
    #[schemars(with = "Vec<MessageView>")]
    pub messages: Vec<Box<RawValue>>,
}

/// Pins a message; for admins of a group, and for both in a direct conversation. Up to 100 in a conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinMessage {
    /// The message.
    pub message_id: MessageId,
}

impl ClientEvent for PinMessage {
    const NAME: &'static str = "message:pin";
    type Ack = Empty;
}

/// Takes the pin off; for admins of a group, and for both in a direct conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnpinMessage {
    /// The message.
    pub message_id: MessageId,
}

impl ClientEvent for UnpinMessage {
    const NAME: &'static str = "message:unpin";
    type Ack = Empty;
}

/// A message was sent; to everybody in the conversation, the sender too.
#[derive(Debug, Serialize)]
pub enum MessageNew {}

impl MessageNew {
    /// The payload for a message that is written as JSON already: the same text goes into the sender's ack.
    pub(crate) fn json(message: &str, change_seq: u64) -> String {
        let open = message.strip_suffix('}').unwrap_or(message);
        format!(r#"{open},"changeSeq":{change_seq}}}"#)
    }
}

impl JsonSchema for MessageNew {
    fn schema_name() -> Cow<'static, str> {
        "MessageNew".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        NewSchema::json_schema(generator)
    }
}

/// A message was sent; to everybody in the conversation, the sender too.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes what `MessageNew::json` writes")]
struct NewSchema {
    #[serde(flatten)]
    message: MessageView,
    /// The number of this change in the conversation's log: what a client keeps as its cursor.
    change_seq: u64,
}

impl ServerEvent for MessageNew {
    const NAME: &'static str = "message:new";
}

/// The text of a message has changed; to everybody in the conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MessageUpdated")]
pub struct Updated<'a> {
    /// The message after it.
    #[serde(flatten)]
    pub message: &'a MessageView,
    /// Its id once more.
    pub message_id: MessageId,
    /// Who changed it.
    pub edited_by: &'a UserId,
    /// The number of this change in the conversation's log.
    pub change_seq: u64,
}

impl ServerEvent for Updated<'_> {
    const NAME: &'static str = "message:updated";
}

/// A message was deleted; to everybody in the conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MessageDeleted")]
pub struct Deleted<'a> {
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
    pub deleted_by: &'a UserId,
    /// The number of the deletion in the conversation's log.
    pub seq: u64,
    /// The same, under the name that all changes have.
    pub change_seq: u64,
}

impl ServerEvent for Deleted<'_> {
    const NAME: &'static str = "message:deleted";
}

impl<'a> Deleted<'a> {
    /// The notice for one deletion.
    pub(crate) fn new(id: MessageId, conversation: ConversationId, deleted_by: &'a UserId, seq: u64) -> Self {
        Self {
            message_id: id,
            legacy_id: id,
            conversation_id: conversation,
            conversation,
            deleted_by,
            seq,
            change_seq: seq,
        }
    }
}

/// Somebody reacted to a message, or took a reaction back; to everybody in the conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReactionUpdated {
    /// The message.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Who did it.
    pub user_id: UserId,
    /// The emoji.
    pub emoji: String,
    /// `added` or `removed`.
    pub action: &'static str,
    /// All reactions to the message.
    pub reactions: Vec<ReactionView>,
    /// The number of this change in the conversation's log.
    pub change_seq: u64,
}

impl ServerEvent for ReactionUpdated {
    const NAME: &'static str = "reaction:updated";
}

impl ReactionUpdated {
    /// The event for one change.
    pub(crate) fn new(
        (message_id, conversation_id): (MessageId, ConversationId),
        user: &UserId,
        (emoji, added): (&str, bool),
        reactions: Vec<ReactionView>,
        change_seq: u64,
    ) -> Self {
        Self {
            message_id,
            conversation_id,
            user_id: user.clone(),
            emoji: emoji.to_owned(),
            action: if added { "added" } else { "removed" },
            reactions,
            change_seq,
        }
    }
}

/// A message was pinned; to everybody in the conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MessagePinned")]
pub struct Pinned {
    /// The message.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The same when it is a group.
    pub group_id: Option<ConversationId>,
    /// Who did it.
    pub pinned_by: UserId,
    /// The number of this change in the conversation's log.
    pub change_seq: u64,
}

impl ServerEvent for Pinned {
    const NAME: &'static str = "message:pinned";
}

impl Pinned {
    /// The event for one change.
    pub(super) fn new(
        (message_id, conversation_id): (MessageId, ConversationId),
        record: &MessageRecord,
        by: &UserId,
        change_seq: u64,
    ) -> Self {
        let group_id = record.recipient.is_none().then_some(conversation_id);
        Self { message_id, conversation_id, group_id, pinned_by: by.clone(), change_seq }
    }
}

/// The pin was taken off a message; to everybody in the conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessageUnpinned")]
pub struct Unpinned(pub Pinned);

impl ServerEvent for Unpinned {
    const NAME: &'static str = "message:unpinned";
}
