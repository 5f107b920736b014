//! The REST handler of statuses.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::{Statuses, events::UserStatus};
use crate::{
    features::auth::Caller,
    ids::UserId,
    server::{Endpoint, Refusal, Rest},
};

/// The routes of this feature.
pub fn routes(statuses: &Arc<Statuses>) -> Rest {
    let one = Endpoint::get("/api/users/{id}/status", "How a user is; for those who share a conversation.")
        .answer::<UserStatus>();
    Rest::new().on(one, statuses, status)
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
