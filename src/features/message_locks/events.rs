//! The events of edit locks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Release;
use crate::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, UserId},
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] = &[
    ServerEventDoc::of::<MessageLocked>(),
    ServerEventDoc::of::<MessageUnlocked>(),
    ServerEventDoc::of::<LockFailed>(),
];

/// Asks for the edit lock on one message, or renews it. Refused with `locked` while another user holds it: as ack and as the event
/// `lock-failed`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockMessage {
    /// The message about to be edited.
    pub message_id: MessageId,
    /// Others are told and cannot lock it, but may edit it all the same.
    #[serde(default)]
    pub advisory: bool,
}

impl ClientEvent for LockMessage {
    const NAME: &'static str = "message:lock";
    type Ack = LockedAck;
}

/// The ack of a lock.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockedAck {
    /// The message.
    pub message_id: MessageId,
    /// The caller.
    pub locked_by: UserId,
    /// When the lock ends unless it is renewed.
    pub expires_at: Timestamp,
    /// The fencing number: rises with every new lock. An edit that carries an old one is refused.
    pub fence: u64,
}

/// Gives the lock back. For its holder, from any device.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnlockMessage {
    /// The message.
    pub message_id: MessageId,
}

impl ClientEvent for UnlockMessage {
    const NAME: &'static str = "message:unlock";
    type Ack = UnlockedAck;
}

/// The ack of an unlock.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnlockedAck {
    /// The message.
    pub message_id: MessageId,
}

/// Somebody is editing a message; to everybody in the conversation, the holder too.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageLocked {
    /// The message.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Who holds the lock.
    pub locked_by: UserId,
    /// When it ends unless it is renewed.
    pub expires_at: Timestamp,
    /// Whether others may edit all the same.
    pub advisory: bool,
}

impl ServerEvent for MessageLocked {
    const NAME: &'static str = "message:locked";
}

/// A lock has ended; to everybody in the conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageUnlocked {
    /// The message.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Who let go; nobody when it ended by itself.
    pub unlocked_by: Option<UserId>,
    /// Why it ended.
    pub reason: Release,
}

impl ServerEvent for MessageUnlocked {
    const NAME: &'static str = "message:unlocked";
}

/// The lock that the client asked for is held by somebody else; to the calling socket.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockFailed {
    /// The message.
    pub message_id: MessageId,
    /// Who holds the lock.
    pub locked_by: UserId,
    /// A sentence.
    pub reason: String,
    /// When the lock ends unless it is renewed.
    pub expires_at: Timestamp,
}

impl ServerEvent for LockFailed {
    const NAME: &'static str = "lock-failed";
}
