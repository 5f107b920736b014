//! The REST handlers of receipts.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Receipts, rules::UpTo};
use crate::{
    features::auth::Caller,
    ids::{ConversationId, MessageId},
    server::{Endpoint, Payload, Refusal, Rest},
};

/// The routes of this feature.
pub fn routes(receipts: &Arc<Receipts>) -> Rest {
    let read_one =
        Endpoint::post("/api/messages/{id}/read", "Marks everything up to this message as read.").answer::<Done>();
    let deliver = Endpoint::post("/api/messages/delivered", "Confirms that messages have arrived.")
        .body::<Arrived>()
        .answer::<Done>();
    let read_all =
        Endpoint::post("/api/conversations/{id}/mark-read", "Marks a whole conversation as read.").answer::<Done>();
    Rest::new().on(read_one, receipts, read).on(deliver, receipts, delivered).on(read_all, receipts, mark_read)
}

/// It is done.
#[derive(Serialize, JsonSchema)]
struct Done {
    message: &'static str,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Arrived {
    message_ids: Vec<MessageId>,
}

/// `POST /api/messages/{id}/read`.
async fn read(
    State(receipts): State<Arc<Receipts>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found("message"))?;
    receipts.read(&caller.user, &UpTo::Message(id)).await?;
    Ok(Json(Done { message: "ok" }))
}

/// `POST /api/messages/delivered {messageIds}`.
async fn delivered(
    State(receipts): State<Arc<Receipts>>,
    Caller(caller): Caller,
    Payload(arrived): Payload<Arrived>,
) -> Result<Json<Done>, Refusal> {
    receipts.delivered_many(&caller.user, &arrived.message_ids).await?;
    Ok(Json(Done { message: "ok" }))
}

/// `POST /api/conversations/{id}/mark-read`.
async fn mark_read(
    State(receipts): State<Arc<Receipts>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refusal> {
    let id: ConversationId = id.parse().map_err(|_| Refusal::not_found("conversation"))?;
    receipts.read_all(&caller.user, id).await?;
    Ok(Json(Done { message: "ok" }))
}
