//! Who is known here.

use std::collections::HashMap;

use axum::{Json, extract::State};
use serde::Serialize;

use super::{OfUser, Operator, Page, blocking, conns};
use crate::{
    features::{offline_queue::QueueSize, users::Known},
    ids::UserId,
    server::{Params, Refusal},
};

/// Users, in the order of their ids.
#[derive(Debug, Serialize)]
pub(super) struct Users {
    users: Vec<User>,
    /// Where the next page begins; `None` after the last.
    next: Option<UserId>,
}

#[derive(Debug, Serialize)]
struct User {
    #[serde(flatten)]
    known: Known,
    blocked: bool,
    /// `None` when no server runs.
    connections: Option<usize>,
}

/// All there is to say about one.
#[derive(Debug, Serialize)]
pub(super) struct Details {
    #[serde(flatten)]
    user: User,
    conversations: usize,
    queue: QueueSize,
}

/// `GET /v1/users`.
pub(super) async fn list(State(operator): State<Operator>, Params(page): Params<Page>) -> Result<Json<Users>, Refusal> {
    let limit = page.limit();
    blocking(move || {
        let users = operator.features.users.page(page.after.as_ref(), limit)?;
        let next = users.last().filter(|_| users.len() == limit).map(|user| user.id.clone());
        let mut connections: HashMap<String, usize> = HashMap::new();
        for socket in conns::all(&operator) {
            *connections.entry(socket.user().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let is_running = operator.levels.is_some();
        let users = users.into_iter().map(|known| {
            let connections = is_running.then(|| connections.get(known.id.as_str()).copied().unwrap_or_default());
            User { blocked: operator.features.auth.is_blocked(&known.id), known, connections }
        });
        Ok(Json(Users { users: users.collect(), next }))
    })
    .await
}

/// `GET /v1/user`.
pub(super) async fn show(
    State(operator): State<Operator>,
    Params(OfUser { user, .. }): Params<OfUser>,
) -> Result<Json<Details>, Refusal> {
    blocking(move || {
        let known = find(&operator, &user)?;
        let connections = operator.levels.as_ref().map(|_| conns::of_user(&operator, user.as_str()).len());
        let conversations = operator.features.conversations.of_user(&user)?.len();
        let queue = operator.features.queue.size(&user)?;
        let blocked = operator.features.auth.is_blocked(&user);
        Ok(Json(Details { user: User { known, blocked, connections }, conversations, queue }))
    })
    .await
}

/// The user with this id.
pub(super) fn find(operator: &Operator, user: &UserId) -> Result<Known, Refusal> {
    operator.features.users.find(user)?.ok_or_else(|| Refusal::not_found(&format!("user {user}")))
}
