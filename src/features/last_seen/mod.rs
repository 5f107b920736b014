//! When each member last looked at a conversation.
//!
//! Moved by `conversation:view`, and by every `message:read`. Members see it of each other.
//!
//! Spec: feature document, "Last Seen Per Conversation"; contract, section 3.1, `conversation:view`.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    auth::{Caller, SignedIn},
    conversations::Conversations,
};
use crate::{
    clock::Timestamp,
    ids::{ConversationId, UserId},
    server::{ClientEvent, Endpoint, Refusal, Rest, Routes, Socket},
};

/// The user is looking at a conversation; for members.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ViewConversation {
    /// The conversation.
    pub conversation_id: ConversationId,
}

impl ClientEvent for ViewConversation {
    const NAME: &'static str = "conversation:view";
    type Ack = Viewed;
}

/// The ack of a look at a conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Viewed {
    /// The server's time of the look.
    pub last_seen_at: Timestamp,
}

/// When each member who ever looked last did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastSeen {
    /// By user.
    pub last_seen: BTreeMap<UserId, Timestamp>,
}

/// Notes that `user` looks at `conversation`; the time is the server's.
///
/// # Errors
///
/// `not_found` for everybody but members.
pub async fn view(
    conversations: &Conversations,
    user: &UserId,
    conversation: ConversationId,
) -> Result<Timestamp, Refusal> {
    conversations.access(user, conversation)?;
    let now = Timestamp::now();
    conversations
        .move_cursor(user, conversation, |cursor| {
            cursor.seen_at = Some(now);
            true
        })
        .await?;
    Ok(now)
}

/// When the members last looked at `conversation`.
///
/// # Errors
///
/// `not_found` for everybody but members.
pub fn of_members(
    conversations: &Conversations,
    user: &UserId,
    conversation: ConversationId,
) -> Result<LastSeen, Refusal> {
    conversations.access(user, conversation)?;
    let cursors = conversations.cursors(conversation)?.into_iter();
    Ok(LastSeen { last_seen: cursors.filter_map(|(user, cursor)| Some((user, cursor.seen_at?))).collect() })
}

/// Adds the handler of this feature.
#[must_use]
pub fn socket_routes(routes: Routes, conversations: &Arc<Conversations>) -> Routes {
    let conversations = Arc::clone(conversations);
    routes.on::<ViewConversation, _, _>(move |socket, event| viewed(Arc::clone(&conversations), socket, event))
}

/// Handles `conversation:view`.
async fn viewed(
    conversations: Arc<Conversations>,
    socket: Arc<Socket>,
    event: ViewConversation,
) -> Result<Viewed, Refusal> {
    let last_seen_at = view(&conversations, &SignedIn::of(&socket)?.user, event.conversation_id).await?;
    Ok(Viewed { last_seen_at })
}

/// The route of this feature.
pub fn rest_routes(conversations: &Arc<Conversations>) -> Rest {
    let endpoint =
        Endpoint::get("/api/conversations/{id}/last-seen", "When each member last looked at the conversation.")
            .answer::<LastSeen>();
    Rest::new().on(endpoint, conversations, last_seen)
}

/// `GET /api/conversations/{id}/last-seen`.
async fn last_seen(
    State(conversations): State<Arc<Conversations>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<LastSeen>, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found("conversation"))?;
    of_members(&conversations, &caller.user, id).map(Json)
}
