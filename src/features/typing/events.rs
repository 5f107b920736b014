//! The events of typing.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    features::conversations::Empty,
    ids::{ConversationId, UserId},
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] =
    &[ServerEventDoc::of::<UserTyping>(), ServerEventDoc::of::<TypingStopped>()];

/// Where somebody types: one of the three.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The conversation.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
    /// The same for a group.
    #[serde(default)]
    pub group_id: Option<ConversationId>,
    /// Or else the other user of a direct conversation that exists, or the id of a group.
    #[serde(default)]
    pub to: Option<UserId>,
}

/// The user types; for members. To be repeated every `heartbeatMs` of `session:ready`: it is told at most once within that time, a change
/// of activity and an end at once. It ends after `expireMs` without a beat, on `typing:stop`, with the message, with the last socket
/// that was typing, and on leaving. In up to 20 conversations at once; with another one the oldest ends.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartTyping {
    /// The conversation.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
    /// The same for a group.
    #[serde(default)]
    pub group_id: Option<ConversationId>,
    /// Or else the other user of a direct conversation that exists, or the id of a group.
    #[serde(default)]
    pub to: Option<UserId>,
    /// False says that it has ended.
    #[serde(default)]
    pub is_typing: Option<bool>,
    /// What the user does: `typing` unless said, `recording-audio`, `recording-video`, `uploading`, or a word of the app's own, up to
    /// 32 letters, digits and `-`.
    #[serde(default)]
    pub activity: Option<Arc<str>>,
}

impl StartTyping {
    /// Where. Not a flattened field: a refusal would not name what is wrong in it.
    pub(super) fn place(&self) -> Place {
        Place { conversation_id: self.conversation_id, group_id: self.group_id, to: self.to.clone() }
    }
}

impl ClientEvent for StartTyping {
    const NAME: &'static str = "user:typing";
    const ALIASES: &'static [&'static str] = &["typing", "typing:start"];
    type Ack = Empty;
}

/// The user does not type any more; for members. Typing on another device of the user's goes on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct StopTyping(pub Place);

impl ClientEvent for StopTyping {
    const NAME: &'static str = "typing:stop";
    type Ack = Empty;
}

/// Somebody types, or has ended; to the others of the conversation, never to a socket of the one who types. Dropped for slow readers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserTyping {
    /// Who.
    pub from: UserId,
    /// The same.
    pub user_id: UserId,
    /// Where.
    pub conversation_id: ConversationId,
    /// The same when it is a group.
    pub group_id: Option<ConversationId>,
    /// False when it has ended.
    pub is_typing: bool,
    /// What is, or was, done.
    pub activity: Arc<str>,
}

impl ServerEvent for UserTyping {
    const NAME: &'static str = "user:typing";
    const TWINS: &'static [&'static str] = &["typing"];
}

/// The end of typing as clients of the reference app know it; beside `user:typing`, to the same sockets.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypingStopped {
    /// Who.
    pub from: UserId,
    /// Where.
    pub conversation_id: ConversationId,
}

impl ServerEvent for TypingStopped {
    const NAME: &'static str = "typing-stopped";
}
