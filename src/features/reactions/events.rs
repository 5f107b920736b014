//! The events of reactions. What the server sends of them is part of the conversation's log: see the messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{features::messages::ReactionView, ids::MessageId, server::ClientEvent};

/// What is to become of a reaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ReactAction")]
pub enum Action {
    /// Put on the message, or taken back if it is there.
    #[default]
    Toggle,
    /// Put on the message.
    Add,
    /// Taken back.
    Remove,
}

/// Puts an emoji under a message, or takes it back; for members. Each user each emoji once; up to 20 different emoji.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct React {
    /// The message.
    pub message_id: MessageId,
    /// The emoji, 1 to 32 bytes.
    pub emoji: String,
    /// What is to become of it.
    #[serde(default)]
    pub action: Action,
}

impl ClientEvent for React {
    const NAME: &'static str = "message:react";
    type Ack = ReactedAck;
}

/// The ack of a reaction.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReactedAck {
    /// All reactions of the message after it.
    pub reactions: Vec<ReactionView>,
}
