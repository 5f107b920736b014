//! What waits for people who are away.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{OfUser, Operator, Page, blocking, limit, users};
use crate::{
    clock::{self, Timestamp},
    features::offline_queue::{QueueEntry, QueueSize},
    ids::UserId,
    server::{Params, Payload, Refusal},
};

/// Users that are looked at for one answer, at most.
const MAX_USERS: usize = 500;
/// Time for one answer; what is left comes with the next.
const SLICE: Duration = Duration::from_millis(500);

/// Queues that are not empty, in the order of the users' ids.
#[derive(Debug, Serialize)]
pub(super) struct Queues {
    queues: Vec<Queue>,
    /// Where to look on; `None` after the last user. A page may be empty and still not the last.
    next: Option<UserId>,
}

#[derive(Debug, Serialize)]
struct Queue {
    user: UserId,
    #[serde(flatten)]
    size: QueueSize,
}

/// The queue of one user.
#[derive(Debug, Serialize)]
pub(super) struct Entries {
    #[serde(flatten)]
    queue: Queue,
    /// The oldest of what waits.
    entries: Vec<QueueEntry>,
}

/// What to leave to the history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Purge {
    /// Whose queue; all without it.
    #[serde(default)]
    user: Option<UserId>,
    #[serde(default)]
    older_than_ms: Option<u64>,
    #[serde(default)]
    dry_run: bool,
    /// Of all queues, those of the users after this one.
    #[serde(default)]
    after: Option<UserId>,
}

/// What was left to it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Purged {
    users: usize,
    changes: usize,
    /// Where to go on.
    next: Option<UserId>,
}

/// `GET /v1/queues`.
pub(super) async fn list(
    State(operator): State<Operator>,
    Params(page): Params<Page>,
) -> Result<Json<Queues>, Refusal> {
    blocking(move || {
        let deadline = clock::now() + SLICE;
        let users = operator.features.users.page(page.after.as_ref(), MAX_USERS)?;
        let mut next = users.last().filter(|_| users.len() == MAX_USERS).map(|user| user.id.clone());
        let mut queues = Vec::new();
        for user in users {
            let size = operator.features.queue.size(&user.id)?;
            if size.size > 0 {
                queues.push(Queue { user: user.id.clone(), size });
            }
            if queues.len() == page.limit() || clock::now() >= deadline {
                next = Some(user.id);
                break;
            }
        }
        Ok(Json(Queues { queues, next }))
    })
    .await
}

/// `GET /v1/queue`.
pub(super) async fn show(
    State(operator): State<Operator>,
    Params(OfUser { user, limit: asked }): Params<OfUser>,
) -> Result<Json<Entries>, Refusal> {
    blocking(move || {
        users::find(&operator, &user)?;
        let size = operator.features.queue.size(&user)?;
        let entries = operator.features.queue.show(&user, limit(asked))?;
        Ok(Json(Entries { queue: Queue { user, size }, entries }))
    })
    .await
}

/// `POST /v1/queues/purge`.
pub(super) async fn purge(
    State(operator): State<Operator>,
    Payload(purge): Payload<Purge>,
) -> Result<Json<Purged>, Refusal> {
    let deadline = clock::now() + SLICE;
    let older_than = purge.older_than_ms.map(Duration::from_millis);
    let users = match &purge.user {
        Some(user) => vec![users::find(&operator, user)?],
        None => operator.features.users.page(purge.after.as_ref(), MAX_USERS)?,
    };
    let mut purged = Purged::default();
    if purge.user.is_none() {
        purged.next = users.last().filter(|_| users.len() == MAX_USERS).map(|user| user.id.clone());
    }
    for user in users {
        let changes = waiting(&operator, &user.id, older_than).await?;
        if changes > 0 && !purge.dry_run {
            operator.features.queue.purge(&user.id, older_than, false).await?;
            tracing::info!(user = %user.id, changes, "queue purged by the operator");
        }
        purged.users += usize::from(changes > 0);
        purged.changes += changes;
        if purge.user.is_none() && clock::now() >= deadline {
            purged.next = Some(user.id);
            break;
        }
    }
    Ok(Json(purged))
}

/// How many changes wait for `user` and are older than `older_than`.
async fn waiting(operator: &Operator, user: &UserId, older_than: Option<Duration>) -> Result<usize, Refusal> {
    let (operator, user) = (operator.clone(), user.clone());
    let before = older_than.map(|age| Timestamp::now().before(age));
    blocking(move || {
        let queue = &operator.features.queue;
        let QueueSize { size, oldest_at, .. } = queue.size(&user)?;
        match before {
            None => Ok(size),
            Some(before) if oldest_at.is_some_and(|oldest| oldest < before) => {
                Ok(queue.show(&user, size)?.iter().filter(|entry| entry.at < before).count())
            }
            Some(_) => Ok(0),
        }
    })
    .await
}
