//! What goes by itself: messages past their `expiresAt` or the retention, and client keys nobody will repeat any more.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    Messages,
    retention::period,
    store::{CLIENT_IDS, EXPIRING},
};
use crate::{
    clock::Timestamp,
    server::Refusal,
    storage::{
        CommitError, Direction, KeyRange,
        expiry::{SteadyClock, sweep},
    },
};

/// How often messages past their time are looked for.
const MESSAGES_EVERY: Duration = Duration::from_secs(1);
/// How often client keys are swept, in how large steps, and how long the pause between two steps is.
const CLIENT_IDS_EVERY: Duration = Duration::from_hours(1);
const PAGE: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);

impl Messages {
    /// Sweeps until told to stop, in small steps that never hold up traffic; not while the wall clock is in doubt.
    pub async fn run_expiry(&self, stop: CancellationToken, clock: SteadyClock) {
        let messages = async {
            loop {
                tokio::time::sleep(MESSAGES_EVERY).await;
                if !clock.is_steady() {
                    continue;
                }
                if let Err(error) = self.expire_messages().await {
                    tracing::warn!(%error, "messages past their time could not be deleted; trying again");
                }
            }
        };
        let client_ids = async {
            loop {
                if clock.is_steady()
                    && let Err(error) = self.sweep_client_ids().await
                {
                    tracing::warn!(%error, "old client keys could not be swept; trying again");
                }
                tokio::time::sleep(CLIENT_IDS_EVERY).await;
            }
        };
        let retention = async {
            let Some(retention) = self.config.retention() else { return std::future::pending().await };
            loop {
                tokio::time::sleep(period(retention)).await;
                if clock.is_steady()
                    && let Err(error) = self.trim().await
                {
                    tracing::warn!(%error, "messages that are too old could not be deleted; trying again");
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = messages => {}
            () = retention => {}
            () = client_ids => {}
        }
    }

    /// Deletes messages whose time has come, as if their senders had, and tells everybody.
    pub(super) async fn expire_messages(&self) -> Result<(), Refusal> {
        let now = Timestamp::now();
        loop {
            let due = KeyRange::all().before(&(now, crate::ids::MessageId::from_bytes([0; 12])));
            let rows = self.store.scan(&EXPIRING, due, PAGE, Direction::Forward)?;
            for ((at, id), _) in &rows {
                self.expire(*at, *id).await?;
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Deletes client keys that are older than the retention.
    pub(super) async fn sweep_client_ids(&self) -> Result<(), CommitError> {
        let oldest = Timestamp::now().before(self.config.client_id_retention());
        let mut cursor = None;
        loop {
            let is_old = |_: &_, row: &super::store::ClientIdRecord| row.message.created_at() < oldest;
            let swept = sweep(&self.store, &CLIENT_IDS, cursor.as_ref(), PAGE, is_old).await?;
            match swept.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
