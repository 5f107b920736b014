//! Sessions whose clients were cut off, over time and over a restart of the server.
//!
//! The core keeps them for as long as the process runs (`server/parked.rs`). This room ends those that nobody has come back for, puts
//! what is there at a stop in order into the store, and has it back in its rooms before the next process lets anybody in. So a
//! client that was connected when the server was told to stop goes on with its session, and what others do in
//! between reaches it by the same way as after any cut.
//!
//! After a crash there is nothing here: clients get fresh sessions, and the offline queue tells them what they have missed. The same
//! goes for a stop that had to be cut short, since what was still under way then may have missed a session.
//!
//! Spec: Socket.IO, "Connection state recovery".

mod store;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use self::store::{PARKED_SESSIONS, ParkedSessionRecord};
use crate::{
    clock::Timestamp,
    server::{Namespace, Recovery, SavedSession},
    storage::{Batch, CommitError, Store},
};

/// How often sessions that nobody has come back for are looked for. Until then they take memory, and nothing else.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Sessions that are stored or taken at a time.
const CHUNK: usize = 128;
/// A larger session is not stored; with its rooms it would not fit into a record. Its client begins anew.
const MAX_SESSION_BYTES: usize = 1_500_000;
/// Most bytes of all sessions that are stored: a stop must not take long. The clients of the others begin anew.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The sessions that wait for their clients.
pub struct ParkedSessions {
    store: Store,
    namespaces: Vec<Arc<Namespace>>,
    /// Rows of the last process could not be deleted, such as while the disk is full: a later one must not find them, since their
    /// sessions miss what is sent now.
    stale: AtomicBool,
}

impl ParkedSessions {
    /// Those of these namespaces.
    #[must_use]
    pub fn new(store: Store, namespaces: Vec<Arc<Namespace>>) -> Self {
        Self { store, namespaces, stale: AtomicBool::new(false) }
    }

    /// Takes what an earlier process has stored out of the store, and brings it back where it can still be taken up. To be called before
    /// anything is sent. A failure costs the clients their sessions, and nothing else.
    pub async fn restore(&self, recovery: Recovery) {
        match self.take_all().await {
            Ok(records) if recovery.is_on() => {
                let now = Timestamp::now();
                let sessions = records.len();
                for namespace in &self.namespaces {
                    let own = records.iter().filter(|record| *record.namespace == **namespace.name());
                    let own = own.filter(|record| record.session.until() > now);
                    namespace.restore_sessions(own.map(|record| record.session.clone()).collect(), recovery);
                }
                if sessions > 0 {
                    tracing::info!(sessions, "sessions of the last process wait for their clients");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "sessions of the last process are lost: clients get new ones");
                self.stale.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Stores what waits for its client, at the very end, when nothing is sent any more.
    pub async fn save(&self) {
        if !self.has_deleted_stale_rows().await {
            return;
        }
        // What was committed for somebody who did not wait for it is told first: an empty batch is answered in its turn.
        if let Err(error) = self.store.commit_then(Batch::new(), |_| ()).await {
            tracing::warn!(%error, "sessions are not stored: their clients get new ones");
            return;
        }
        let mut left = MAX_BYTES;
        let mut records = Vec::new();
        for namespace in &self.namespaces {
            for session in namespace.saved_sessions() {
                let bytes = session.bytes();
                if bytes <= MAX_SESSION_BYTES && bytes <= left {
                    left -= bytes;
                    records.push(record(namespace, session));
                }
            }
        }
        let mut next = 0;
        for chunk in records.chunks(CHUNK) {
            let mut batch = Batch::new();
            for record in chunk {
                batch.put(&PARKED_SESSIONS, &next, record);
                next += 1;
            }
            if let Err(error) = self.store.commit(batch).await {
                tracing::warn!(%error, "sessions could not be stored: their clients get new ones");
                return;
            }
        }
    }

    /// Ends the sessions of those who have not come back, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            self.namespaces.iter().for_each(|namespace| namespace.sweep_parked());
            self.has_deleted_stale_rows().await;
        }
    }

    /// Tries again to delete what could not be deleted at the start. True when nothing is left of it.
    async fn has_deleted_stale_rows(&self) -> bool {
        if self.stale.load(Ordering::Relaxed) && self.take_all().await.is_ok() {
            self.stale.store(false, Ordering::Relaxed);
        }
        !self.stale.load(Ordering::Relaxed)
    }

    /// Deletes all rows and gives what could be read. Nobody gets a session that is still in the store: it could be given out twice.
    async fn take_all(&self) -> Result<Vec<ParkedSessionRecord>, CommitError> {
        let mut taken = Vec::new();
        let mut key = 0;
        loop {
            let mut batch = Batch::new();
            while batch.is_empty() || key % CHUNK as u64 != 0 {
                match self.store.get(&PARKED_SESSIONS, &key) {
                    Ok(None) => break,
                    Ok(Some(record)) => taken.push(record),
                    Err(error) => tracing::warn!(%error, "a session of the last process cannot be read"),
                }
                batch.delete(&PARKED_SESSIONS, &key);
                key += 1;
            }
            if batch.is_empty() {
                return Ok(taken);
            }
            self.store.commit(batch).await?;
        }
    }
}

fn record(namespace: &Namespace, session: SavedSession) -> ParkedSessionRecord {
    ParkedSessionRecord { namespace: namespace.name().to_string(), session }
}
