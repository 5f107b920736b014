//! The events of reactions. What the server sends is declared beside the messages, whose log it is part of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::{features::messages::ReactionView, ids::MessageId, server::ClientEvent};

/// Puts an emoji under a message, or takes it back; for members. Each user each emoji once; up to 20 different emoji.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct React {
    /// The message.
    pub message_id: MessageId,
    /// 1 to 32 bytes.
    pub emoji: String,
    /// `toggle` without a wish.
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
    /// All reactions to the message.
    pub reactions: Vec<ReactionView>,
}
