//! The REST handlers of reactions.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Reactions, events::ReactedAck};
use crate::{
    features::auth::Caller,
    ids::MessageId,
    server::{Endpoint, Payload, Refusal, Rest},
};

/// The routes of this feature.
pub fn routes(reactions: &Arc<Reactions>) -> Rest {
    const PATH: &str = "/api/reactions/messages/{id}";
    let change =
        Endpoint::post(PATH, "Puts an emoji under a message, or takes it back.").body::<Wish>().answer::<ReactedAck>();
    let show = Endpoint::get(PATH, "All reactions to a message.").answer::<ReactedAck>();
    Rest::new().on(change, reactions, react).on(show, reactions, of)
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ReactionWish")]
struct Wish {
    /// 1 to 32 bytes.
    emoji: String,
    /// `toggle` without a wish.
    #[serde(default)]
    action: Action,
}

/// `POST /api/reactions/messages/{id} {emoji, action?}`.
async fn react(
    State(reactions): State<Arc<Reactions>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Payload(wish): Payload<Wish>,
) -> Result<Json<ReactedAck>, Refusal> {
    let reactions = reactions.react(&caller, parse_id(&id)?, &wish.emoji, wish.action).await?;
    Ok(Json(ReactedAck { reactions }))
}

/// `GET /api/reactions/messages/{id}`.
async fn of(
    State(reactions): State<Arc<Reactions>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<ReactedAck>, Refusal> {
    Ok(Json(ReactedAck { reactions: reactions.of(&caller.user, parse_id(&id)?)? }))
}

fn parse_id(id: &str) -> Result<MessageId, Refusal> {
    id.parse().map_err(|_| Refusal::not_found("message"))
}
