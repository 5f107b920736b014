//! Nodes of a cluster as the tests use them: a directory, a way to the log, a store and the task that runs its replica.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hobnob::storage::{
    Batch, CommitError, Committed, Config, Direction, Log, Store, Table,
    replicated::{MemoryLog, NoPeers, Peers, ReplicaConfig, ReplicaState, ReplicaStatus, SharedLog},
};
use tokio::{sync::watch, task::JoinSet};

use crate::support::{BUSY_FILING, Dir, Message, message};

pub(crate) const ROWS: Table<u64, Message> = Table::new("rows");
pub(crate) const LOG: Log<String, Message> = Log::new("row_log");

/// How long a test waits for what should happen at once.
const DEADLINE: Duration = Duration::from_secs(20);

/// One node.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) dir: Dir,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) spool_max_bytes: usize,
    /// Absent while the node is down.
    running: Option<Running>,
    /// What the node was told of other nodes, and `resync`.
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

struct Running {
    store: Store,
    tasks: JoinSet<()>,
}

impl Node {
    /// A node that is down, with an empty directory.
    pub(crate) fn new(name: &'static str, log: MemoryLog) -> Self {
        let (dir, log) = (Dir::new(), Arc::new(log));
        let peers = Arc::new(NoPeers);
        Self { name, dir, log, peers, spool_max_bytes: 1 << 20, running: None, told: Arc::default() }
    }

    /// The first node of a cluster, which is up.
    pub(crate) fn first(name: &'static str) -> Self {
        let mut node = Self::new(name, MemoryLog::new());
        node.start();
        node
    }

    /// Another node on the same log, which is up.
    pub(crate) fn another(&self, name: &'static str) -> Self {
        let mut node = Self::new(name, self.log.another());
        node.start();
        node
    }

    pub(crate) fn config(&self) -> Config {
        Config { filing: BUSY_FILING, ..self.dir.config() }
    }

    pub(crate) fn start(&mut self) {
        let mut config = ReplicaConfig::new(self.name).expect("a name");
        config.spool_max_bytes = self.spool_max_bytes;
        config.settling = Duration::ZERO;
        let log: Arc<dyn SharedLog> = Arc::clone(&self.log) as _;
        let opened = Store::replicated(&self.config(), config, log, Arc::clone(&self.peers));
        let (store, replica) = opened.expect("a directory of its own");
        let (rows, entries, resync) = (Arc::clone(&self.told), Arc::clone(&self.told), Arc::clone(&self.told));
        store.watch(&ROWS, move |key, value| {
            let text = value.map_or("gone".to_owned(), |value| value.text);
            rows.lock().expect("whole").push(format!("{key} {text}"));
        });
        store.watch_log(&LOG, move |stream, seq, value| {
            assert_eq!(value.seq, seq, "stamped");
            entries.lock().expect("whole").push(format!("{stream}#{seq} {}", value.text));
        });
        store.on_resync(move || resync.lock().expect("whole").push("resync".to_owned()));
        let mut tasks = JoinSet::new();
        tasks.spawn(replica.run());
        self.running = Some(Running { store, tasks });
    }

    pub(crate) fn store(&self) -> &Store {
        &self.running.as_ref().expect("up").store
    }

    /// Closes the store, and waits for the replica to end.
    pub(crate) async fn stop(&mut self) {
        let Running { store, tasks } = self.running.take().expect("up");
        store.close().await;
        tasks.join_all().await;
    }

    /// Ends as the process does when it is killed.
    pub(crate) async fn crash(&mut self) {
        let Running { store, mut tasks } = self.running.take().expect("up");
        tasks.shutdown().await;
        drop(store);
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start();
    }

    pub(crate) fn status(&self) -> watch::Receiver<ReplicaStatus> {
        self.store().replica_status().expect("replicated")
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl FnMut(&ReplicaStatus) -> bool) -> ReplicaStatus {
        let mut status = self.status();
        let found = tokio::time::timeout(DEADLINE, status.wait_for(is_so)).await;
        let Ok(found) = found else { panic!("{}: never {what}: {:?}", self.name, self.status().borrow()) };
        found.expect("the replica runs").clone()
    }

    pub(crate) async fn until_connected(&self) {
        self.until("connected", |status| status.state == ReplicaState::Connected && status.spooled_entries == 0).await;
    }

    pub(crate) async fn until_alone(&self) {
        self.until("alone", |status| matches!(status.state, ReplicaState::Degraded { .. })).await;
    }

    /// Waits until everything in the log is on this node's disk.
    pub(crate) async fn catch_up(&self) {
        self.until_connected().await;
        let end = self.log.entries().last().map_or_else(Default::default, |(place, _)| *place);
        self.until("at the end", |status| status.applied >= end).await;
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let commit = self.store().commit(batch);
        tokio::time::timeout(DEADLINE, commit).await.expect("answered in time")
    }

    /// Sends a text: the row of its client key must be new.
    pub(crate) async fn send(&self, key: u64, text: &str) -> Result<u64, CommitError> {
        let (batch, appended) = sending(key, text);
        self.commit(batch).await.map(|committed| committed.seq(appended))
    }

    /// What is in the stream that [`send`](Self::send) appends to.
    pub(crate) fn texts(&self) -> Vec<String> {
        let log = self.store().scan_log(&LOG, &"a".to_owned(), 0, usize::MAX).expect("readable");
        assert!(log.iter().map(|(seq, _)| *seq).eq(1..=log.len() as u64), "a gap in the log");
        log.into_iter().map(|(_, entry)| entry.text).collect()
    }

    pub(crate) fn rows(&self) -> Vec<(u64, Message)> {
        self.store().scan(&ROWS, .., usize::MAX, Direction::Forward).expect("readable")
    }

    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().expect("whole"))
    }
}

/// A batch as a message is: right whatever comes before it.
pub(crate) fn sending(key: u64, text: &str) -> (Batch, hobnob::storage::Appended) {
    let mut batch = Batch::new();
    batch.require_absent(&ROWS, &key);
    let appended = batch.append(&LOG, &"a".to_owned(), &message(text));
    batch.put_stamped(&ROWS, &key, &message(text), appended);
    batch.may_wait();
    (batch, appended)
}

/// A batch that cannot wait.
pub(crate) fn putting(key: u64, text: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(&ROWS, &key, &message(text));
    batch
}
