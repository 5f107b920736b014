//! The database of this node: written by its threads, or in place for tests.

use std::sync::{Arc, Mutex, PoisonError};

use redb::{Builder, backends::InMemoryBackend};
use tokio::sync::{oneshot, watch};

use crate::storage::{
    batch::Batch,
    disk::{Disk, Replay},
    inbox::{How, Submitted},
    open::Filing,
    publisher::Job,
    snapshot::Current,
    threads::Threads,
    writer::{Health, Writer},
};

/// Where what the log says is stored.
pub(crate) enum Local {
    Threads(Threads),
    Inline(Box<Inline>),
}

/// A database in memory that is written by whoever submits, so that a test on a paused clock waits for no thread.
pub(crate) struct Inline {
    writer: Mutex<Option<Writer>>,
    current: Arc<Current>,
    health: watch::Sender<Health>,
}

impl Inline {
    pub(crate) fn new() -> Result<Self, redb::Error> {
        let db = Builder::new().create_with_backend(InMemoryBackend::new())?;
        let writer = Writer::new(Disk::new(db), Replay::default(), Filing::default())?;
        let current = writer.current();
        Ok(Self { writer: Mutex::new(Some(writer)), current, health: watch::Sender::new(Health::Open) })
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    fn submit_all(&self, all: Vec<Submitted>) {
        let mut rest = all.into_iter().peekable();
        let mut group = Vec::new();
        while let Some(submitted) = rest.next() {
            let how = submitted.how;
            group.push(submitted);
            if rest.peek().is_none_or(|next| !how.goes_with(next.how)) {
                self.commit(std::mem::take(&mut group));
            }
        }
    }

    fn commit(&self, group: Vec<Submitted>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let told = writer.as_mut().map(|writer| writer.commit(group));
        if let Some(Err(error)) = &told {
            tracing::error!(%error, "cannot write the database in memory");
            *writer = None;
            self.health.send_replace(Health::Failed);
        }
        // A job may submit something itself.
        drop(writer);
        for (job, outcome) in told.into_iter().flatten().flatten() {
            job(outcome);
        }
    }
}

impl Local {
    /// Stores batches that belong together, or shows them; their jobs are called in that order.
    pub(crate) fn submit_all(&self, all: Vec<Submitted>) {
        match self {
            Self::Threads(threads) => threads.submit_all(all),
            Self::Inline(inline) => inline.submit_all(all),
        }
    }

    /// The same for one batch that is dropped when too many wait.
    pub(crate) fn submit(&self, submitted: Submitted) {
        match self {
            Self::Threads(threads) => threads.submit(submitted),
            Self::Inline(inline) => inline.submit_all(vec![submitted]),
        }
    }

    /// Stores `batch` for itself.
    pub(crate) fn store(&self, batch: Batch, job: Job) {
        self.submit_all(vec![Submitted { batch, job, how: How::Alone }]);
    }

    /// Resolves when all that was submitted before is stored and told; false when that has failed.
    pub(crate) async fn flush(&self) -> bool {
        let (done, flushed) = oneshot::channel();
        self.store(Batch::new(), Box::new(move |_| done.send(()).unwrap_or_default()));
        flushed.await.is_ok()
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        match self {
            Self::Threads(threads) => threads.health(),
            Self::Inline(inline) => inline.health.subscribe(),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Threads(threads) => threads.close().await,
            Self::Inline(inline) => {
                drop(inline.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
                inline.current.publish(None);
            }
        }
    }
}
