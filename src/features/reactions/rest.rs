//! The REST handlers of reactions, under the paths of the reference app.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reactions, events::Action, rules::check_emoji};
use crate::{
    clock::Timestamp,
    features::{auth::Caller, messages::ReactionView},
    ids::{MessageId, UserId},
    server::{Endpoint, Params, Payload, Refusal, Rest},
};

/// Reactions of one page, without a wish and at most.
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 500;

/// The routes of this feature.
pub fn routes(reactions: &Arc<Reactions>) -> Rest {
    let put = Endpoint::post("/api/reactions/messages/{id}", "Puts a reaction on a message, or takes it back.")
        .body::<Wanted>()
        .answer::<Answer>();
    let read = Endpoint::get("/api/reactions/messages/{id}", "Who has reacted to a message, and how many with what.")
        .params::<Query>()
        .answer::<Page>();
    let remove = Endpoint::delete("/api/reactions/{id}", "Takes a reaction of one's own back.").answer::<Answer>();
    Rest::new().on(put, reactions, react).on(read, reactions, list).on(remove, reactions, take_back)
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ReactBody")]
struct Wanted {
    emoji: String,
    #[serde(default)]
    action: Action,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ReactionsQuery")]
struct Query {
    emoji: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A reaction that is there, or the news that it is not.
#[derive(Serialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase")]
#[schemars(rename = "ReactionAnswer")]
enum Answer {
    /// It is there.
    Added {
        /// The reaction.
        #[serde(flatten)]
        reaction: One,
        /// All reactions of the message.
        reactions: Vec<ReactionView>,
    },
    /// It is not.
    Removed {
        /// `Reaction removed`.
        message: &'static str,
        /// All reactions of the message.
        reactions: Vec<ReactionView>,
    },
}

/// The reaction of one user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UserReaction")]
struct One {
    /// The same as `id`.
    #[serde(rename = "_id")]
    legacy_id: String,
    /// What the reaction is called; made of message, emoji and user.
    id: String,
    /// The message.
    message: MessageId,
    /// The same.
    message_id: MessageId,
    /// Whose it is.
    user: UserId,
    /// The same.
    user_id: UserId,
    /// The emoji.
    emoji: String,
    /// Since when it has been there.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

/// One page of the reactions of a message.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReactionsPage")]
struct Page {
    /// Whose reactions there are, by emoji and user.
    reactions: Vec<One>,
    /// How many there are of each emoji.
    grouped: Vec<Group>,
    /// What leads to the next page.
    next_cursor: Option<String>,
}

/// One emoji on a message.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReactionGroup")]
struct Group {
    /// The reaction as the message object has it.
    #[serde(flatten)]
    reaction: ReactionView,
    /// The same users under the reference app's name.
    users: Vec<UserId>,
}

impl One {
    fn new((message, emoji, user): (MessageId, String, UserId), created_at: Option<Timestamp>) -> Self {
        let id = name_of(message, &emoji, &user);
        let legacy_id = id.clone();
        Self { legacy_id, id, message, message_id: message, user: user.clone(), user_id: user, emoji, created_at }
    }
}

/// `POST /api/reactions/messages/{id} {emoji, action?}`.
async fn react(
    State(reactions): State<Arc<Reactions>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Payload(wanted): Payload<Wanted>,
) -> Result<Json<Answer>, Refusal> {
    let id = parse_message(&id)?;
    let (all, has) = reactions.react(&caller, id, &wanted.emoji, wanted.action).await?;
    let reaction = One::new((id, wanted.emoji, caller.user.clone()), None);
    Ok(Json(if has { Answer::Added { reaction, reactions: all } } else { removed(all) }))
}

/// `GET /api/reactions/messages/{id}?emoji=&limit=&cursor=`.
async fn list(
    State(reactions): State<Arc<Reactions>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(query): Params<Query>,
) -> Result<Json<Page>, Refusal> {
    let id = parse_message(&id)?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    query.emoji.as_deref().map(check_emoji).transpose()?;
    let after = match query.cursor.as_deref().map(parse_name) {
        None => None,
        Some(Some(key)) if key.0 == id => Some(key),
        Some(_) => return Err(Refusal::invalid("cursor", "expected the nextCursor of an earlier answer")),
    };
    let listed = reactions.list(&caller.user, id, query.emoji.as_deref(), after.as_ref(), limit)?;
    let group = |reaction: ReactionView| Group { users: reaction.user_ids.clone(), reaction };
    Ok(Json(Page {
        reactions: listed.rows.into_iter().map(|(key, row)| One::new(key, Some(row.at))).collect(),
        grouped: listed.counts.into_iter().map(group).collect(),
        next_cursor: listed.next.map(|(id, emoji, user)| name_of(id, &emoji, &user)),
    }))
}

/// `DELETE /api/reactions/{id}`.
async fn take_back(
    State(reactions): State<Arc<Reactions>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Answer>, Refusal> {
    // Somebody else's reaction does not exist for the caller.
    let key = parse_name(&id).filter(|(_, _, user)| *user == caller.user);
    let (message, emoji, _) = key.ok_or_else(|| Refusal::not_found("reaction"))?;
    check_emoji(&emoji).map_err(|_| Refusal::not_found("reaction"))?;
    let (all, _) = reactions.react(&caller, message, &emoji, Action::Remove).await?;
    Ok(Json(removed(all)))
}

fn removed(reactions: Vec<ReactionView>) -> Answer {
    Answer::Removed { message: "Reaction removed", reactions }
}

/// What a reaction is called. There is one per message, emoji and user, so that is its name, and no table has to know it.
fn name_of(message: MessageId, emoji: &str, user: &UserId) -> String {
    let text = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{message}.{}.{}", text(emoji), text(user.as_str()))
}

fn parse_name(name: &str) -> Option<(MessageId, String, UserId)> {
    let mut parts = name.split('.');
    let message = parts.next()?.parse().ok()?;
    let text = |part: Option<&str>| String::from_utf8(URL_SAFE_NO_PAD.decode(part?).ok()?).ok();
    let emoji = text(parts.next())?;
    let user = UserId::new(&text(parts.next())?).ok()?;
    parts.next().is_none().then_some((message, emoji, user))
}

/// An id that is none names nothing.
fn parse_message(id: &str) -> Result<MessageId, Refusal> {
    id.parse().map_err(|_| Refusal::not_found("message"))
}
