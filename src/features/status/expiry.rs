//! Texts that go by themselves.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    Statuses,
    store::{EXPIRING, STATUSES},
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    server::Refusal,
    storage::{Batch, CommitError, Direction, KeyRange, expiry::SteadyClock},
};

/// How often texts past their time are looked for: an end is told late by this much at most.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Texts in one step.
const PAGE: usize = 256;

impl Statuses {
    /// Sweeps until told to stop.
    pub async fn run(&self, stop: CancellationToken, clock: SteadyClock) {
        while stop.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY)).await.is_some() {
            if !clock.is_steady() {
                continue;
            }
            if let Err(error) = self.expire().await {
                tracing::warn!(%error, "statuses past their time could not be ended; trying again");
            }
        }
    }

    /// Takes away the texts whose time has come, those of users who are not here, too, and tells everybody.
    pub(super) async fn expire(&self) -> Result<(), Refusal> {
        // The text of a user whose time is this very millisecond is over; no user id sorts before the blank.
        let Ok(first) = UserId::new(" ") else { return Ok(()) };
        let end = (Timestamp::now().after(Duration::from_millis(1)), first);
        loop {
            let rows = self.store.scan(&EXPIRING, KeyRange::all().before(&end), PAGE, Direction::Forward)?;
            for ((at, user), _) in &rows {
                self.end(user, *at).await?;
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Takes away the text of `user` that ends at `at`.
    async fn end(&self, user: &UserId, at: Timestamp) -> Result<(), Refusal> {
        let found = self.store.get_versioned(&STATUSES, user)?;
        let ended = match &found {
            Some(found) if found.value.expires_at() == Some(at) => {
                let mut after = found.value.clone();
                after.custom = None;
                self.put(user, Some(found), &found.value, after).await
            }
            Some(_) | None => {
                let mut batch = Batch::new();
                batch.delete(&EXPIRING, &(at, user.clone()));
                self.store.commit(batch).await.map(|_| ())
            }
        };
        match ended {
            // After a conflict the user has chosen something else at this moment; the next sweep looks again.
            Ok(()) | Err(CommitError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
