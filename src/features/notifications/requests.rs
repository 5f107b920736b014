//! What the app's backend tells: ordered like anything else, once for each key that the backend gives.

use std::time::Duration;

use super::{
    Job, NotificationView, Notifications, Recipients,
    jobs::derived_id,
    store::{JOBS, REQUESTS, RequestRecord},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    server::Refusal,
    storage::{Batch, CommitError, expiry::sweep},
};

/// How long a key is known.
const KEPT: Duration = Duration::from_hours(24);
/// Rows that are swept at a time, and the pause between two pages.
const PAGE: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);

impl Notifications {
    /// Stores what is to be told; it is told for certain once this succeeds. A repeat with the same `key` within a day does nothing
    /// more. With a single recipient the notification is made at once and shown, unless the user has got rid of it meanwhile or it
    /// could not be made yet.
    ///
    /// # Errors
    ///
    /// What [`Draft::check`](super::Draft::check) says; `conflict` when the key was used for something else; when it cannot be stored.
    pub async fn request(&self, job: Job, key: Option<String>) -> Result<Option<NotificationView>, Refusal> {
        job.draft.check()?;
        let mut id = self.next_job();
        let fingerprint = fingerprint(&job);
        let mut batch = Batch::new();
        batch.put(&JOBS, &id, &job);
        if let Some(key) = &key {
            batch.require_absent(&REQUESTS, key);
            batch.put(&REQUESTS, key, &RequestRecord { job: id, fingerprint, at: Timestamp::now() });
        }
        match (self.store.commit(batch).await, &key) {
            (Ok(_), _) => {}
            (Err(CommitError::Conflict), Some(key)) => {
                let known = self.store.get(&REQUESTS, key)?.ok_or(CommitError::Conflict)?;
                if known.fingerprint != fingerprint {
                    let message = "this key was used for another notification";
                    return Err(Refusal::new(ErrorCode::Conflict, message));
                }
                id = known.job;
            }
            (Err(error), _) => return Err(error.into()),
        }
        let made = match &job.recipients {
            Recipients::Users { users, members_of: None } => match users.as_slice() {
                // A failure is none of the request's: the job is stored and done later.
                [user] => match self.put_once(user, derived_id(id, user), &job.draft).await {
                    Ok(Some(made)) => Some(made),
                    Ok(None) | Err(_) => self.get(user, derived_id(id, user)).ok(),
                },
                _ => None,
            },
            Recipients::Users { .. } | Recipients::Members { .. } => None,
        };
        self.wake();
        Ok(made)
    }

    /// Forgets keys after their time.
    pub(super) async fn sweep_requests(&self) -> Result<(), CommitError> {
        let oldest = Timestamp::now().before(KEPT);
        let mut cursor = None;
        loop {
            let is_old = |_: &_, row: &RequestRecord| row.at < oldest;
            let swept = sweep(&self.store, &REQUESTS, cursor.as_ref(), PAGE, is_old).await?;
            match swept.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A number for what is told, so that a repeat is known from another request under the same key.
fn fingerprint(job: &Job) -> u64 {
    xxhash_rust::xxh3::xxh3_64(serde_json::to_string(job).unwrap_or_default().as_bytes())
}
