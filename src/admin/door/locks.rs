//! Who is editing what.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{Operator, limit};
use crate::{
    features::message_locks::LockView,
    ids::{MessageId, UserId},
    server::{Params, Payload, Refusal},
};

/// Which locks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    user: Option<UserId>,
    #[serde(default)]
    limit: Option<usize>,
}

/// The locks that end first, and how many there are.
#[derive(Debug, Serialize)]
pub(super) struct LockList {
    locks: Vec<LockView>,
    total: usize,
}

/// The lock on one message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfMessage {
    message: MessageId,
}

/// `GET /v1/locks`.
pub(super) async fn list(State(operator): State<Operator>, Params(filter): Params<Filter>) -> Json<LockList> {
    let mut locks = operator.features.locks.list();
    if let Some(user) = &filter.user {
        locks.retain(|lock| lock.locked_by == *user);
    }
    let total = locks.len();
    locks.truncate(limit(filter.limit));
    Json(LockList { locks, total })
}

/// `GET /v1/lock`.
pub(super) async fn show(
    State(operator): State<Operator>,
    Params(OfMessage { message }): Params<OfMessage>,
) -> Result<Json<LockView>, Refusal> {
    operator.features.locks.show(message).map(Json).ok_or_else(|| Refusal::not_found("lock"))
}

/// `POST /v1/locks/release`: the lock as it was.
pub(super) async fn release(
    State(operator): State<Operator>,
    Payload(OfMessage { message }): Payload<OfMessage>,
) -> Result<Json<LockView>, Refusal> {
    let lock = operator.features.locks.show(message).ok_or_else(|| Refusal::not_found("lock"))?;
    // It may have ended by itself in between.
    if !operator.features.locks.release(message).await? {
        return Err(Refusal::not_found("lock"));
    }
    tracing::info!(%message, user = %lock.locked_by, "lock released by the operator");
    Ok(Json(lock))
}
