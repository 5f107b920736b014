//! The operator's door: what the commands of `hobnob` ask and change, as JSON over a Unix socket.
//!
//! Who may open the socket's file may do everything; there is no other authentication, and nothing of this is on the network.
//! Without a server the commands call the same routes on the database itself, so each rule is written once. What is known only
//! while a server runs (connections, log levels) is refused then.

mod access;
mod conns;
mod listener;
mod locks;
mod log;
mod notify;
mod queue;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use serde::Deserialize;

pub use self::listener::{DoorError, SocketFile, listen, serve};
use crate::{codes::ErrorCode, features::Features, ids::UserId, server::Refusal, telemetry::Levels};

/// Largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 65_536;
/// Rows of one answer unless the request says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Rows of one answer, at most.
const MAX_LIMIT: usize = 1000;

/// What the operator may look at and change.
#[derive(Clone)]
pub struct Operator {
    features: Arc<Features>,
    /// `None` when no server runs.
    levels: Option<Levels>,
}

impl Operator {
    /// The operator of a running server.
    #[must_use]
    pub fn of_server(features: Arc<Features>, levels: Levels) -> Self {
        Self { features, levels: Some(levels) }
    }

    /// The operator of a database that no server has open.
    #[must_use]
    pub fn of_database(features: Arc<Features>) -> Self {
        Self { features, levels: None }
    }

    /// The levels of the running server's log.
    fn server(&self) -> Result<&Levels, Refusal> {
        self.levels.as_ref().ok_or_else(|| Refusal::new(ErrorCode::Unavailable, "no server is running"))
    }
}

/// The routes behind the door.
pub fn routes(operator: Operator) -> Router {
    Router::new()
        .route("/v1/users", get(users::list))
        .route("/v1/user", get(users::show))
        .route("/v1/users/block", post(access::block))
        .route("/v1/users/unblock", post(access::unblock))
        .route("/v1/tokens/revoke", post(access::revoke))
        .route("/v1/api-keys", get(access::keys).post(access::create_key))
        .route("/v1/api-keys/revoke", post(access::revoke_key))
        .route("/v1/connections", get(conns::list))
        .route("/v1/connections/kick", post(conns::kick))
        .route("/v1/queues", get(queue::list))
        .route("/v1/queue", get(queue::show))
        .route("/v1/queues/purge", post(queue::purge))
        .route("/v1/locks", get(locks::list))
        .route("/v1/lock", get(locks::show))
        .route("/v1/locks/release", post(locks::release))
        .route("/v1/notifications", post(notify::send))
        .route("/v1/log", get(log::show).post(log::set))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(operator)
}

/// Which part of a list: what comes after the row `after`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: Option<UserId>,
    #[serde(default)]
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> usize {
        limit(self.limit)
    }
}

/// One user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfUser {
    user: UserId,
    #[serde(default)]
    limit: Option<usize>,
}

fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)
}

/// Runs what reads for longer than a task of the server may.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err(Refusal::new(ErrorCode::Internal, "the server failed to read its store")))
}
