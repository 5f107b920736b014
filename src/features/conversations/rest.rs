//! The REST handlers of conversations.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConversationView, Conversations, Kind};
use crate::{
    features::auth::Caller,
    ids::{ConversationId, UserId},
    server::{Endpoint, Params, Payload, Refusal, Rest},
};

/// Conversations of one page, without a wish and at most.
const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: usize = 100;

/// The routes of this feature.
pub fn routes(conversations: &Arc<Conversations>) -> Rest {
    let list_them = Endpoint::get("/api/conversations", "The caller's conversations, the latest activity first.")
        .params::<Range>()
        .answer::<Vec<ConversationView>>();
    let make = Endpoint::post("/api/conversations", "Makes a conversation: 201, or 200 for a direct one that exists.")
        .body::<Create>()
        .answer::<ConversationView>()
        .status(StatusCode::CREATED);
    let make_direct =
        Endpoint::post("/api/conversations/direct", "Finds or makes the direct conversation with a user.")
            .body::<CreateDirect>()
            .answer::<ConversationView>()
            .status(StatusCode::CREATED);
    let show_one =
        Endpoint::get("/api/conversations/{id}", "One conversation of the caller's.").answer::<ConversationView>();
    let add = Endpoint::post("/api/conversations/{id}/members", "Adds members to a group; for its admins.")
        .body::<Members>()
        .answer::<ConversationView>();
    let remove = Endpoint::delete("/api/conversations/{id}/members", "Removes members; for admins, or oneself.")
        .body::<Members>()
        .answer::<Removed>();
    Rest::new()
        .on(list_them, conversations, list)
        .on(make, conversations, create)
        .on(make_direct, conversations, create_direct)
        .on(show_one, conversations, show)
        .on(add, conversations, add_members)
        .on(remove, conversations, remove_members)
}

#[derive(Deserialize, JsonSchema)]
struct Range {
    #[serde(default)]
    page: Option<usize>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
struct Create {
    #[serde(rename = "type")]
    kind: Kind,
    participants: Vec<UserId>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreateDirect {
    participant_id: UserId,
}

#[derive(Deserialize, JsonSchema)]
struct Members {
    #[serde(alias = "memberIds", alias = "participants")]
    members: Vec<UserId>,
}

/// What comes of a removal: the conversation after it, for somebody who is still in it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Removed {
    /// Others were removed.
    Others(Box<ConversationView>),
    /// The caller has left.
    Oneself {
        /// `ok`.
        message: &'static str,
    },
}

/// `GET /api/conversations?page=&limit=`: the caller's conversations, the latest activity first.
async fn list(
    State(conversations): State<Arc<Conversations>>,
    Caller(caller): Caller,
    Params(range): Params<Range>,
) -> Result<Json<Vec<ConversationView>>, Refusal> {
    let limit = range.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let skip = range.page.unwrap_or(1).saturating_sub(1).saturating_mul(limit);
    conversations.list(&caller.user, skip, limit).map(Json)
}

/// `POST /api/conversations {type, participants, name?}`: 201 for a new one, 200 for a direct one that exists.
async fn create(
    State(conversations): State<Arc<Conversations>>,
    Caller(caller): Caller,
    Payload(create): Payload<Create>,
) -> Result<(StatusCode, Json<ConversationView>), Refusal> {
    match (create.kind, create.participants.as_slice()) {
        (Kind::Direct, [other]) => direct(&conversations, &caller.user, other).await,
        (Kind::Direct, _) => Err(Refusal::invalid("participants", "expected one user")),
        (Kind::Group, members) => {
            let id = conversations.create_group(&caller.user, members, create.name).await?;
            Ok((StatusCode::CREATED, Json(conversations.view(id)?)))
        }
    }
}

/// `POST /api/conversations/direct {participantId}`: 201 for a new one, 200 for one that exists.
async fn create_direct(
    State(conversations): State<Arc<Conversations>>,
    Caller(caller): Caller,
    Payload(create): Payload<CreateDirect>,
) -> Result<(StatusCode, Json<ConversationView>), Refusal> {
    direct(&conversations, &caller.user, &create.participant_id).await
}

/// `GET /api/conversations/{id}`.
async fn show(
    State(conversations): State<Arc<Conversations>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<ConversationView>, Refusal> {
    let id = parse_id(&id)?;
    conversations.access(&caller.user, id)?;
    conversations.view(id).map(Json)
}

/// `POST /api/conversations/{id}/members {members}`: for admins of the group.
async fn add_members(
    State(conversations): State<Arc<Conversations>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Payload(members): Payload<Members>,
) -> Result<Json<ConversationView>, Refusal> {
    let id = parse_id(&id)?;
    conversations.add_members(&caller.user, id, &members.members).await?;
    conversations.view(id).map(Json)
}

/// `DELETE /api/conversations/{id}/members {members}`: for admins of the group; oneself may always go.
async fn remove_members(
    State(conversations): State<Arc<Conversations>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Payload(members): Payload<Members>,
) -> Result<Json<Removed>, Refusal> {
    let id = parse_id(&id)?;
    if members.members == [caller.user.clone()] {
        conversations.leave(&caller.user, id).await?;
        return Ok(Json(Removed::Oneself { message: "ok" }));
    }
    conversations.remove_members(&caller.user, id, &members.members).await?;
    Ok(Json(Removed::Others(Box::new(conversations.view(id)?))))
}

async fn direct(
    conversations: &Conversations,
    user: &UserId,
    other: &UserId,
) -> Result<(StatusCode, Json<ConversationView>), Refusal> {
    let (id, created) = conversations.direct(user, other).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(conversations.view(id)?)))
}

/// An id that is none names nothing.
fn parse_id(id: &str) -> Result<ConversationId, Refusal> {
    id.parse().map_err(|_| Refusal::not_found("conversation"))
}
