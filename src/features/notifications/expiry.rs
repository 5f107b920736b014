//! What goes by itself: notifications at their own end, read ones some time after the reading, and the memory of those that
//! are gone.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{
    NotificationId, Notifications, Status,
    news::News,
    store::{ENDS, Marker, PlaceRecord, READ_AT},
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    server::Refusal,
    storage::{Direction, Table, expiry::SteadyClock},
};

/// How often notifications at their own end are looked for.
const ENDS_EVERY: Duration = Duration::from_secs(1);
/// How often notifications that were read long ago are looked for.
const READ_EVERY: Duration = Duration::from_mins(1);
/// How often the keys of old requests are looked for.
const REQUESTS_EVERY: Duration = Duration::from_hours(1);
/// Rows of one step, and the pause between two.
const STEP: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);

/// A table of what is due when.
type Due = Table<(Timestamp, UserId, NotificationId), Marker>;

impl Notifications {
    /// Makes what was ordered and sweeps what is past its time, in small steps that never hold up traffic, until told to stop.
    pub async fn run(&self, stop: CancellationToken, clock: SteadyClock) {
        let ends = async {
            loop {
                tokio::time::sleep(ENDS_EVERY).await;
                if clock.is_steady() {
                    warn_of(self.sweep_ends().await);
                }
            }
        };
        let read = async {
            loop {
                tokio::time::sleep(READ_EVERY).await;
                if clock.is_steady() {
                    warn_of(self.sweep_read().await);
                }
            }
        };
        let requests = async {
            loop {
                tokio::time::sleep(REQUESTS_EVERY).await;
                if clock.is_steady() {
                    warn_of(self.sweep_requests().await.map_err(Refusal::from));
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.run_jobs() => {}
            () = ends => {}
            () = read => {}
            () = requests => {}
        }
    }

    /// Deletes what has come to its own end, and forgets what has been gone for a day.
    pub(super) async fn sweep_ends(&self) -> Result<(), Refusal> {
        if self.has_old_jobs()? {
            return Ok(());
        }
        // Read once: the clock may jump while this goes on.
        let now = Timestamp::now();
        loop {
            let due = self.due(&ENDS, now)?;
            let ended = due.iter().map(async |(at, user, id)| self.end(user, *at, *id).await);
            join_all(ended).await.into_iter().collect::<Result<(), _>>()?;
            if due.len() < STEP {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Deletes what was read long ago.
    pub(super) async fn sweep_read(&self) -> Result<(), Refusal> {
        let until = Timestamp::now().before(self.config.read_retention());
        loop {
            let due = self.due(&READ_AT, until)?;
            let ended = due.iter().map(async |(at, user, id)| self.end_read(user, *at, *id).await);
            join_all(ended).await.into_iter().collect::<Result<(), _>>()?;
            if due.len() < STEP {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The first rows up to `until`.
    fn due(&self, table: &Due, until: Timestamp) -> Result<Vec<(Timestamp, UserId, NotificationId)>, Refusal> {
        // Mostly nothing is due, and one row tells.
        let first = self.store.scan(table, .., 1, Direction::Forward)?;
        if first.first().is_none_or(|((at, ..), _)| *at > until) {
            return Ok(Vec::new());
        }
        let rows = self.store.scan(table, .., STEP, Direction::Forward)?;
        Ok(rows.into_iter().map(|(key, _)| key).take_while(|(at, ..)| *at <= until).collect())
    }

    async fn end(&self, user: &UserId, at: Timestamp, id: NotificationId) -> Result<(), Refusal> {
        self.alter(user, |ledger| {
            ledger.drop_end(at, id);
            match ledger.find(id)? {
                Some((place, record)) if record.expires_at == Some(at) => {
                    ledger.remove(place, &record);
                    ledger.news.push(News::Deleted { id });
                }
                None if ledger.place(id)? == Some(PlaceRecord::Gone) => ledger.forget(id),
                Some(_) | None => {}
            }
            Ok(())
        })
        .await
    }

    async fn end_read(&self, user: &UserId, at: Timestamp, id: NotificationId) -> Result<(), Refusal> {
        self.alter(user, |ledger| {
            ledger.drop_read_at(at, id);
            if let Some((place, record)) = ledger.find(id)?
                && record.status == Status::Read
                && record.read_at == Some(at)
            {
                ledger.remove(place, &record);
                ledger.news.push(News::Deleted { id });
            }
            Ok(())
        })
        .await
    }
}

fn warn_of(result: Result<(), Refusal>) {
    if let Err(error) = result {
        tracing::warn!(%error, "notifications past their time could not be deleted; trying again");
    }
}
