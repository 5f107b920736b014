//! The events of missed messages.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    features::messages::{ChangeEvent, MessageView},
    ids::ConversationId,
    server::ClientEvent,
};

/// Asks for what was missed: since a date, or since a place in each conversation's log; without either, for everything. By cursor comes
/// everything after it, edits and deletions as `changes`; by date come messages of others. A page ends at 512 KiB, too. A cursor
/// beyond the end is refused; conversations of the cursors that the user is not in are named in `gone`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GetMissedMessages {
    /// Messages of others created after this moment.
    #[serde(default, alias = "lastSync", alias = "since")]
    pub last_sync_date: Option<Timestamp>,
    /// Changes after these numbers; conversations not named are new to the client and come from their start.
    #[serde(default)]
    pub cursors: Option<BTreeMap<ConversationId, u64>>,
    /// The `nextCursor` of an earlier answer; goes before everything else.
    #[serde(default)]
    pub cursor: Option<String>,
    /// This conversation only.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
    /// Messages and changes of one page, 1 to 500.
    #[serde(default)]
    pub limit: Option<usize>,
}

impl ClientEvent for GetMissedMessages {
    const NAME: &'static str = "get-missed-messages";
    const ALIASES: &'static [&'static str] = &["sync-messages"];
    const ANSWER: Option<&'static str> = Some("missed-messages");
    type Ack = MissedMessages;
}

/// One page of what was missed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissedMessages {
    /// Messages in their present state, oldest first, in `seq` order within each conversation.
    pub messages: Vec<MessageView>,
    /// How many there are.
    pub count: usize,
    /// Edits, deletions, reactions and pins of messages that are not on this page, in order, as the events that told of them (by
    /// cursor only).
    pub changes: Vec<ChangeEvent>,
    /// Whether another page follows.
    pub has_more: bool,
    /// What leads to it.
    pub next_cursor: Option<String>,
    /// How far each conversation has been read: the cursors for the next time.
    pub cursors: BTreeMap<ConversationId, u64>,
    /// True when nothing is missing between the given point and now.
    pub complete: bool,
    /// Conversations of which something after the given point is gone because of its age, with the oldest number that is there; left
    /// out where there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub truncated_before: BTreeMap<ConversationId, u64>,
    /// Conversations of the request's `cursors` that the user is not in, any more or ever: to be forgotten. Left out where there are
    /// none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<ConversationId>,
    /// The conversation, when only one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
}
