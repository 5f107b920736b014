//! The events of receipts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    features::conversations::Empty,
    ids::{ConversationId, MessageId, UserId},
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] =
    &[ServerEventDoc::of::<MessageRead>(), ServerEventDoc::of::<MessageDelivered>()];

/// Everything up to a message was read: by its id, or by conversation and number; for members. Moves the reader's cursor, never back, and
/// when the conversation was last seen; the notification of these messages is read with it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadMessage {
    /// The message.
    #[serde(default)]
    pub message_id: Option<MessageId>,
    /// Or else the conversation.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
    /// The number in its log up to which everything was read.
    #[serde(default)]
    pub up_to_seq: Option<u64>,
}

impl ClientEvent for ReadMessage {
    const NAME: &'static str = "message:read";
    const ALIASES: &'static [&'static str] = &["message-read"];
    type Ack = Empty;
}

/// Messages have arrived: one, several (up to 500), or everything up to a number; for members. Moves the delivery cursor, never back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredMessage {
    /// The message.
    #[serde(default)]
    pub message_id: Option<MessageId>,
    /// Or else several.
    #[serde(default)]
    pub message_ids: Option<Vec<MessageId>>,
    /// Or else the conversation.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
    /// The number in its log up to which everything has arrived.
    #[serde(default)]
    pub up_to_seq: Option<u64>,
}

impl ClientEvent for DeliveredMessage {
    const NAME: &'static str = "message:delivered";
    type Ack = Empty;
}

/// A member has read everything up to a number; to everybody in the conversation, in groups of more than 64 to the reader's own devices
/// alone.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageRead {
    /// The message that the reader named, or the last one up to the number.
    pub message_id: Option<MessageId>,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Who has read.
    pub read_by: UserId,
    /// Up to here.
    pub up_to_seq: u64,
    /// When.
    pub read_at: Timestamp,
}

impl ServerEvent for MessageRead {
    const NAME: &'static str = "message:read";
}

/// Messages have arrived at a member; to their senders, but not in groups of more than 64.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageDelivered {
    /// The last of the sender's messages among them.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Where they have arrived.
    pub delivered_to: UserId,
    /// Everything up to here has.
    pub up_to_seq: u64,
}

impl ServerEvent for MessageDelivered {
    const NAME: &'static str = "message:delivered";
}
