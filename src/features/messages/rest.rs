//! The REST handlers of messages.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Draft, HistoryRange, MessageView, Messages};
use crate::{
    features::auth::Caller,
    ids::{ConversationId, MessageId},
    server::{Endpoint, Params, Payload, Refusal, Rest},
};

/// Messages of one page, without a wish and at most.
const DEFAULT_PAGE: usize = 30;
const MAX_PAGE: usize = 100;
/// Messages that may be passed over by page number; deeper pages are reached with `before`.
const MAX_SKIP: usize = 10_000;

/// The routes of this feature.
pub fn routes(messages: &Arc<Messages>) -> Rest {
    let send_one = Endpoint::post("/api/messages", "Sends a message: 201, or 200 for a repeat of the same client key.")
        .body::<Draft>()
        .answer::<MessageView>()
        .status(StatusCode::CREATED);
    let read = Endpoint::get("/api/messages/conversation/{id}", "Messages of a conversation, oldest first.")
        .params::<Range>()
        .answer::<History>();
    let change =
        Endpoint::put("/api/messages/{id}", "Changes the text; for the sender.").body::<Edit>().answer::<MessageView>();
    let remove = Endpoint::delete("/api/messages/{id}", "Deletes a message for everybody; for its sender and admins.")
        .answer::<Done>();
    let copy = Endpoint::post("/api/messages/{id}/forward", "Puts copies of a message into other conversations.")
        .body::<Targets>()
        .answer::<Forwarded>();
    let pin_one =
        Endpoint::post("/api/messages/{id}/pin", "Pins a message; for admins, or both in a direct conversation.")
            .answer::<Done>();
    let unpin_one = Endpoint::delete("/api/messages/{id}/pin", "Takes the pin off a message.").answer::<Done>();
    let list_pinned = Endpoint::get("/api/messages/conversation/{id}/pinned", "The pinned messages of a conversation.")
        .answer::<PinnedMessages>();
    Rest::new()
        .on(copy, messages, forward)
        .on(pin_one, messages, pin)
        .on(unpin_one, messages, unpin)
        .on(list_pinned, messages, pinned)
        .on(send_one, messages, send)
        .on(read, messages, history)
        .on(change, messages, edit)
        .on(remove, messages, delete)
}

#[derive(Deserialize, JsonSchema)]
struct Range {
    page: Option<usize>,
    limit: Option<usize>,
    before: Option<u64>,
    after: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
struct Edit {
    content: String,
    #[serde(default)]
    rev: Option<u32>,
    #[serde(default)]
    fence: Option<u64>,
}

/// One page of a conversation.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct History {
    messages: Vec<MessageView>,
    page: usize,
    limit: usize,
    /// The oldest number that is there, when older messages are gone because of their age.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_before: Option<u64>,
}

/// It is done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MessageDone")]
struct Done {
    message: &'static str,
}

const DONE: Done = Done { message: "ok" };

/// `POST /api/messages {conversationId | to, content, ...}`: 201, or 200 for a repeat of the same client key.
async fn send(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Payload(draft): Payload<Draft>,
) -> Result<(StatusCode, Json<Box<RawValue>>), Refusal> {
    let sent = messages.send(&caller, draft, false).await?;
    let status = if sent.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(sent.message)))
}

/// `GET /api/messages/conversation/{id}?page=&limit=` or `?before=SEQ` or `?after=SEQ`: oldest first.
async fn history(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(range): Params<Range>,
) -> Result<Json<History>, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found("conversation"))?;
    let limit = range.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let number = range.page.unwrap_or(1).max(1);
    let skip = (number - 1).saturating_mul(limit);
    if skip > MAX_SKIP {
        return Err(Refusal::too_long("page", MAX_SKIP / limit, "pages; go on with before=SEQ"));
    }
    let wanted = match range.after {
        Some(seq) => HistoryRange::After(seq),
        None => HistoryRange::Before { seq: range.before, skip },
    };
    let page = messages.history(&caller.user, id, wanted, limit)?;
    let truncated_before = messages.truncated_before(&caller.user, id)?;
    Ok(Json(History { messages: page, page: number, limit, truncated_before }))
}

/// `PUT /api/messages/{id} {content, rev?}`.
async fn edit(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Payload(edit): Payload<Edit>,
) -> Result<Json<MessageView>, Refusal> {
    messages.edit(&caller.user, parse_id(&id)?, &edit.content, edit.rev, edit.fence).await.map(Json)
}

/// `DELETE /api/messages/{id}`.
async fn delete(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refusal> {
    messages.delete(&caller.user, parse_id(&id)?).await?;
    Ok(Json(DONE))
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ForwardTargets")]
struct Targets {
    /// Where to; 1 to 20.
    #[serde(alias = "conversation_ids")]
    conversation_ids: Vec<ConversationId>,
    /// The client's own key, 1 to 128 bytes: repeating the request with it is harmless.
    #[serde(default)]
    client_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Forwarded {
    message: &'static str,
    #[schemars(with = "Vec<MessageView>")]
    messages: Vec<Box<RawValue>>,
    count: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PinnedMessages {
    pinned_messages: Vec<MessageView>,
}

/// `POST /api/messages/{id}/forward {conversationIds, clientId?}`.
async fn forward(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Payload(targets): Payload<Targets>,
) -> Result<Json<Forwarded>, Refusal> {
    let sent = messages.forward(&caller, parse_id(&id)?, &targets.conversation_ids, targets.client_id).await?;
    let messages: Vec<_> = sent.into_iter().map(|sent| sent.message).collect();
    Ok(Json(Forwarded { message: "ok", count: messages.len(), messages }))
}

/// `POST /api/messages/{id}/pin`.
async fn pin(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refusal> {
    messages.pin(&caller.user, parse_id(&id)?, true).await?;
    Ok(Json(DONE))
}

/// `DELETE /api/messages/{id}/pin`.
async fn unpin(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refusal> {
    messages.pin(&caller.user, parse_id(&id)?, false).await?;
    Ok(Json(DONE))
}

/// `GET /api/messages/conversation/{id}/pinned`.
async fn pinned(
    State(messages): State<Arc<Messages>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<PinnedMessages>, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found("conversation"))?;
    Ok(Json(PinnedMessages { pinned_messages: messages.pinned(&caller.user, id)? }))
}

/// An id that is none names nothing.
fn parse_id(id: &str) -> Result<MessageId, Refusal> {
    id.parse().map_err(|_| Refusal::not_found("message"))
}
