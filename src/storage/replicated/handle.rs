//! What a store holds of its replica: the queue into it, and the database that it writes.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    copy::has_rows,
    local::{Inline, Local},
    queue::Queue,
    replica::{Parts, Replica, ReplicaConfig},
    shared_log::{Peers, SharedLog},
    status::ReplicaStatus,
    watchers::Watchers,
};
use crate::storage::{error::StorageError, inbox::Submitted, snapshot::Current, threads::Threads, writer::Health};

pub(crate) struct Handle {
    queue: Arc<Queue>,
    local: Arc<Local>,
    status: watch::Receiver<ReplicaStatus>,
    failed: watch::Receiver<bool>,
}

impl Handle {
    /// A replica on a database that is written by its threads.
    pub(crate) fn on_threads(
        threads: Threads,
        current: Arc<Current>,
        config: ReplicaConfig,
        (log, peers): (Arc<dyn SharedLog>, Arc<dyn Peers>),
        watchers: Arc<Watchers>,
    ) -> Result<(Self, Replica), StorageError> {
        let has_rows = has_rows(&*current.load()?)?;
        let local = Arc::new(Local::Threads(threads));
        Self::new(config, Parts { log, peers, local, current, watchers, has_rows })
    }

    /// A replica whose database is in memory, and where readers find what is in it.
    pub(crate) fn in_memory(
        config: ReplicaConfig,
        (log, peers): (Arc<dyn SharedLog>, Arc<dyn Peers>),
        watchers: Arc<Watchers>,
    ) -> Result<(Self, Replica, Arc<Current>), StorageError> {
        let inline = Inline::new().map_err(|error| {
            tracing::error!(%error, "cannot make a database in memory");
            StorageError::Unavailable
        })?;
        let current = inline.current();
        let local = Arc::new(Local::Inline(Box::new(inline)));
        let parts = Parts { log, peers, local, current: Arc::clone(&current), watchers, has_rows: false };
        let (handle, replica) = Self::new(config, parts)?;
        Ok((handle, replica, current))
    }

    fn new(config: ReplicaConfig, parts: Parts) -> Result<(Self, Replica), StorageError> {
        let (queue, local) = (Arc::<Queue>::default(), Arc::clone(&parts.local));
        let replica = Replica::new(config, parts, Arc::clone(&queue))?;
        let (status, failed) = (replica.status.subscribe(), replica.failed.subscribe());
        Ok((Self { queue, local, status, failed }, replica))
    }

    pub(crate) fn submit(&self, submitted: Submitted) {
        if submitted.batch.is_of_node() {
            self.local.submit(submitted);
        } else {
            self.queue.push(submitted);
        }
    }

    pub(crate) fn status(&self) -> watch::Receiver<ReplicaStatus> {
        self.status.clone()
    }

    /// Resolves when the database has failed, or the log cannot be followed by this server.
    pub(crate) fn failed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (mut failed, mut health) = (self.failed.clone(), self.local.health());
        async move {
            let log = async {
                if failed.wait_for(|failed| *failed).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let database = async {
                if health.wait_for(|health| *health == Health::Failed).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = log => {}
                () = database => {}
            }
        }
    }

    /// Ends after what has been submitted has gone its way.
    pub(crate) async fn close(&self) {
        self.queue.end();
        let mut status = self.status.clone();
        // Its sender goes with the replica.
        while status.changed().await.is_ok() {}
        self.local.close().await;
    }
}

/// Without a close, the replica ends after what has been submitted.
impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.end();
    }
}
