//! The REST handler of statuses.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Statuses,
    events::{StatusList, UserStatus},
    rules::MAX_ASKED,
};
use crate::{
    features::auth::{Backend, Caller},
    ids::UserId,
    server::{Access, Endpoint, Params, Refusal, Rest},
};

/// The routes of this feature.
pub fn routes(statuses: &Arc<Statuses>) -> Rest {
    let one = Endpoint::get("/api/users/{id}/status", "How a user is; for those who share a conversation.")
        .answer::<UserStatus>();
    let many = Endpoint::get("/api/server/presence", "How users are in the eyes of others.")
        .access(Access::Backend)
        .params::<Asked>()
        .answer::<StatusList>();
    Rest::new().on(one, statuses, status).on(many, statuses, presence)
}

/// Whom the backend asks for.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PresenceParams")]
struct Asked {
    /// Their ids, up to 100, with commas between.
    #[serde(default)]
    users: String,
}

/// `GET /api/users/{id}/status`.
async fn status(
    State(statuses): State<Arc<Statuses>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<UserStatus>, Refusal> {
    let id = UserId::new(&id).map_err(|_| Refusal::not_found("user"))?;
    statuses.of_other(&caller.user, &id).map(Json)
}

/// `GET /api/server/presence`. Somebody who has never been here is offline.
async fn presence(
    State(statuses): State<Arc<Statuses>>,
    _: Backend,
    Params(asked): Params<Asked>,
) -> Result<Json<StatusList>, Refusal> {
    // One more than is allowed shows that it is too many.
    let users: Vec<_> = asked.users.split(',').take(MAX_ASKED.saturating_add(1)).collect();
    if users.len() > MAX_ASKED {
        return Err(Refusal::too_long("users", MAX_ASKED, "users"));
    }
    let status = |user: &str| {
        let user = UserId::new(user).map_err(|error| Refusal::invalid("users", &error.to_string()))?;
        let status = statuses.shown(&user)?;
        Ok((user, status))
    };
    let statuses = users.into_iter().map(status).collect::<Result<_, Refusal>>()?;
    Ok(Json(StatusList { statuses }))
}
