//! The events of messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Deleted, Draft, MessageNew, MessageView, Pinned, ReactionUpdated, Unpinned, Updated};
use crate::{
    features::conversations::Empty,
    ids::{ConversationId, MessageId},
    server::{ClientEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] = &[
    ServerEventDoc::of::<MessageNew>(),
    ServerEventDoc::of::<Updated>(),
    ServerEventDoc::of::<Deleted>(),
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
    /// The client's own key, 1 to 128 bytes: repeating the request with it is harmless.
    #[serde(default)]
    pub client_id: Option<String>,
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
