//! The store: a handle to read from and to submit batches to.

use std::{
    fs::File,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::{
    batch::{Batch, Committed, Versioned},
    error::{CommitError, StorageError},
    inbox::Submitted,
    key::{Key, PrefixOf},
    memory::Memory,
    open::{Config, Opened, open},
    open_error::OpenError,
    publisher,
    range::{Direction, KeyRange},
    reader::Reader,
    record::Record,
    replicated::{Export, Handle, Peers, Replica, ReplicaConfig, ReplicaStatus, SharedLog, Watchers, leave},
    snapshot::{Current, Snapshot},
    table::{Log, Table},
    threads::Threads,
    writer::{Health, Observer, Writer},
};

/// The one way to what is stored. Clones share it.
///
/// Dropping the last one without a [`close`](Self::close) waits for the commits under way, not for filing: the next
/// start does that.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    current: Arc<Current>,
    backend: Backend,
    panics: Arc<AtomicU64>,
    observer: Observer,
    watchers: Arc<Watchers>,
    /// There is no room on the disk.
    full: Arc<AtomicBool>,
}

enum Backend {
    Memory(Arc<Memory>),
    Disk(Threads),
    Replicated(Handle),
}

impl Store {
    /// A store that forgets everything when it is dropped, with the semantics of the one on disk. For tests, examples
    /// and as the model of the other backends: it has no limit in size.
    ///
    /// Batches take effect when they are submitted. What was passed to [`commit_then`](Self::commit_then) runs in the
    /// first poll (or the drop) of this or any later commit's future, in the caller's thread.
    #[must_use]
    pub fn memory() -> Self {
        let current = Current::new(Snapshot::default());
        Self::new(current.into(), Backend::Memory(Arc::default()), Observer::default(), Arc::default())
    }

    /// Opens the database in `config.dir`, or makes one where none has been. One that was a node's of a cluster is on its own from then on.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Nothing on disk has changed then.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let Opened { disk, replay, lock } = open(config)?;
        let failed = |error| OpenError::redb(&config.dir, error);
        let mut writer = Writer::new(disk, replay, config.filing).map_err(failed)?;
        leave(&mut writer).map_err(failed)?;
        Self::on_disk(writer, Some(lock)).map_err(|error| OpenError::io(&config.dir, error))
    }

    /// A store on a database that has been opened and examined.
    pub(crate) fn on_disk(writer: Writer, lock: Option<File>) -> io::Result<Self> {
        let (observer, full) = (writer.observer(), writer.full());
        let (threads, current) = Threads::start(writer, lock)?;
        Ok(Self::new(current, Backend::Disk(threads), observer, full))
    }

    /// Opens the database in `config.dir` as that of one node of a cluster: what is committed goes through `log` to all nodes, and
    /// what the others commit comes from there. Nothing of that happens before the replica [runs](Replica::run); until then batches wait.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Nothing on disk has changed then.
    pub fn replicated(
        config: &Config,
        replica: ReplicaConfig,
        log: Arc<dyn SharedLog>,
        peers: Arc<dyn Peers>,
    ) -> Result<(Self, Replica), OpenError> {
        let Opened { disk, replay, lock } = open(config)?;
        let writer = Writer::new(disk, replay, config.filing).map_err(|error| OpenError::redb(&config.dir, error))?;
        Self::replicated_on(writer, Some(lock), replica, (log, peers)).map_err(|error| match error {
            StorageError::Io(error) => OpenError::io(&config.dir, error),
            error => OpenError::Damaged { path: config.database(), detail: error.to_string() },
        })
    }

    /// A replicated store on a database that has been opened and examined.
    pub(crate) fn replicated_on(
        writer: Writer,
        lock: Option<File>,
        replica: ReplicaConfig,
        cluster: (Arc<dyn SharedLog>, Arc<dyn Peers>),
    ) -> Result<(Self, Replica), StorageError> {
        let (observer, full) = (writer.observer(), writer.full());
        let (threads, current) = Threads::start(writer, lock).map_err(StorageError::Io)?;
        let panics = Arc::default();
        let watchers = Arc::new(Watchers::new(Arc::clone(&panics)));
        let (handle, replica) =
            Handle::on_threads(threads, Arc::clone(&current), replica, cluster, Arc::clone(&watchers))?;
        let backend = Backend::Replicated(handle);
        Ok((Self { shared: Arc::new(Shared { current, backend, panics, observer, watchers, full }) }, replica))
    }

    /// Like [`replicated`](Self::replicated), with a database that is gone when it is dropped, for tests: what follows a commit runs
    /// in the task that runs the replica.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn replicated_in_memory(
        replica: ReplicaConfig,
        log: Arc<dyn SharedLog>,
        peers: Arc<dyn Peers>,
    ) -> Result<(Self, Replica), StorageError> {
        let panics = Arc::default();
        let watchers = Arc::new(Watchers::new(Arc::clone(&panics)));
        let (handle, replica, current) = Handle::in_memory(replica, (log, peers), Arc::clone(&watchers))?;
        let backend = Backend::Replicated(handle);
        let (observer, full) = (Observer::default(), Arc::default());
        Ok((Self { shared: Arc::new(Shared { current, backend, panics, observer, watchers, full }) }, replica))
    }

    fn new(current: Arc<Current>, backend: Backend, observer: Observer, full: Arc<AtomicBool>) -> Self {
        let (panics, watchers) = (Arc::default(), Arc::default());
        Self { shared: Arc::new(Shared { current, backend, panics, observer, watchers, full }) }
    }

    /// Has `watcher` told of what other nodes put under a key of `table`, or delete (`None`): after it is on this node's disk, in the
    /// order of the commits, and in one sequence with what follows this node's own. Like what follows a commit it must be quick. To be
    /// called before the replica runs; a store that is not replicated tells nothing.
    pub fn watch<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        watcher: impl Fn(K, Option<V>) + Send + Sync + 'static,
    ) {
        self.shared.watchers.watch(table, watcher);
    }

    /// Has `watcher` told of what other nodes append to a stream of `log`, with its sequence number, as [`watch`](Self::watch) does.
    pub fn watch_log<K: Key, V: Record>(&self, log: &Log<K, V>, watcher: impl Fn(K, u64, V) + Send + Sync + 'static) {
        self.shared.watchers.watch_log(log, watcher);
    }

    /// Has `call` told when this node has been alone and is in step again: batches that waited have their places now, and sequence
    /// numbers that were given meanwhile may belong to others.
    pub fn on_resync(&self, call: impl Fn() + Send + Sync + 'static) {
        self.shared.watchers.on_resync(call);
    }

    /// How this node stands with the others; `None` when there are none.
    pub fn replica_status(&self) -> Option<watch::Receiver<ReplicaStatus>> {
        match &self.shared.backend {
            Backend::Memory(_) | Backend::Disk(_) => None,
            Backend::Replicated(handle) => Some(handle.status()),
        }
    }

    /// A copy of all rows for another node, as of now.
    ///
    /// # Errors
    ///
    /// When this node is in no log, alone, or closed.
    pub fn export(&self) -> Result<Export, StorageError> {
        if !self.replica_status().is_some_and(|status| status.borrow().is_connected()) {
            return Err(StorageError::Unavailable);
        }
        Export::new(self.shared.current.load()?)
    }

    /// One consistent state to read from.
    ///
    /// # Errors
    ///
    /// When the store is closed.
    pub fn read(&self) -> Result<Reader<'_>, StorageError> {
        self.shared.current.load().map(Reader::new)
    }

    /// Submits `batch`; it is on disk when the future yields `Ok`.
    ///
    /// Batches are committed in the order of the calls, whether or not the futures are polled. A dropped future changes
    /// nothing for its batch.
    ///
    /// # Errors
    ///
    /// See [`CommitError`].
    pub fn commit(
        &self,
        batch: Batch,
    ) -> impl Future<Output = Result<Committed, CommitError>> + Send + 'static + use<> {
        self.commit_then(batch, Committed::clone)
    }

    /// Like [`commit`](Self::commit), and calls `then` after the commit.
    ///
    /// The calls follow each other in the order of the commits, one at a time, also when the future has been dropped:
    /// whoever broadcasts from `then` shows every client the same order. `then` is not called for a batch that was not
    /// committed. It must be quick and must not block: the calls after it, and the futures of the batches after it, wait.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]. A panic in `then` is logged, counted and becomes [`CommitError::Unavailable`], although the
    /// batch is stored.
    pub fn commit_then<T, F>(
        &self,
        batch: Batch,
        then: F,
    ) -> impl Future<Output = Result<T, CommitError>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Committed) -> T + Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let job = publisher::job(then, answer, Arc::clone(&self.shared.panics));
        if self.shared.full.load(Ordering::Relaxed) && batch.writes() {
            job(Err(CommitError::Full));
            return Commit { receiver, memory: None };
        }
        let memory = match &self.shared.backend {
            Backend::Memory(memory) => {
                memory.submit(&self.shared.current, batch, job);
                Some(Arc::clone(memory))
            }
            Backend::Disk(threads) => {
                threads.submit(Submitted::new(batch, job));
                None
            }
            Backend::Replicated(handle) => {
                handle.submit(Submitted::new(batch, job));
                None
            }
        };
        Commit { receiver, memory }
    }

    /// Commits what has been submitted, runs what follows it, and closes the file. Later commits and reads are answered
    /// with `Unavailable`.
    pub async fn close(&self) {
        match &self.shared.backend {
            Backend::Memory(memory) => memory.close(&self.shared.current),
            Backend::Disk(threads) => threads.close().await,
            Backend::Replicated(handle) => handle.close().await,
        }
    }

    /// Answers every batch that stores something with [`CommitError::Full`] from now on, or takes batches again. Those that were submitted before are
    /// committed in any case; what waits for its tables stays in the journal.
    pub fn refuse_writes(&self, full: bool) {
        self.shared.full.store(full, Ordering::Relaxed);
    }

    /// Resolves when the database has failed and the process should end (exit code 74); never otherwise.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (health, replica) = match &self.shared.backend {
            Backend::Memory(_) => (None, None),
            Backend::Disk(threads) => (Some(threads.health()), None),
            Backend::Replicated(handle) => (None, Some(handle.failed())),
        };
        async move {
            if let Some(mut health) = health
                && health.wait_for(|health| *health == Health::Failed).await.is_ok()
            {
                return;
            }
            match replica {
                Some(failed) => failed.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Has `observer` told how long each commit takes, its sync included. It is called by the thread that writes, so it must be
    /// quick. The first observer counts; a store in memory tells none.
    pub fn observe_commits(&self, observer: impl Fn(Duration) + Send + Sync + 'static) {
        self.shared.observer.set(Box::new(observer)).unwrap_or_default();
    }

    /// How many of the calls that follow a commit have panicked since the store was opened.
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// [`Reader::get`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::get`], and when the store is closed.
    pub fn get<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StorageError> {
        self.read()?.get(table, key)
    }

    /// [`Reader::get_versioned`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::get_versioned`], and when the store is closed.
    pub fn get_versioned<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<Versioned<V>>, StorageError> {
        self.read()?.get_versioned(table, key)
    }

    /// [`Reader::get_many`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::get_many`], and when the store is closed.
    pub fn get_many<K: Key, V: Record>(&self, table: &Table<K, V>, keys: &[K]) -> Result<Vec<Option<V>>, StorageError> {
        self.read()?.get_many(table, keys)
    }

    /// [`Reader::contains`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::contains`], and when the store is closed.
    pub fn contains<K: Key, V>(&self, table: &Table<K, V>, key: &K) -> Result<bool, StorageError> {
        self.read()?.contains(table, key)
    }

    /// [`Reader::scan`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::scan`], and when the store is closed.
    pub fn scan<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        range: impl Into<KeyRange<K>>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(K, V)>, StorageError> {
        self.read()?.scan(table, range, limit, direction)
    }

    /// [`Reader::scan_prefix`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::scan_prefix`], and when the store is closed.
    pub fn scan_prefix<P: PrefixOf<K>, K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(K, V)>, StorageError> {
        self.read()?.scan_prefix(table, prefix, limit, direction)
    }

    /// [`Reader::head`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::head`], and when the store is closed.
    pub fn head<K: Key, V>(&self, log: &Log<K, V>, key: &K) -> Result<u64, StorageError> {
        self.read()?.head(log, key)
    }

    /// [`Reader::scan_log`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::scan_log`], and when the store is closed.
    pub fn scan_log<K: Key, V: Record>(
        &self,
        log: &Log<K, V>,
        key: &K,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, V)>, StorageError> {
        self.read()?.scan_log(log, key, after_seq, limit)
    }

    /// [`Reader::scan_log_back`] in a snapshot of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::scan_log_back`], and when the store is closed.
    pub fn scan_log_back<K: Key, V: Record>(
        &self,
        log: &Log<K, V>,
        key: &K,
        before_seq: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, V)>, StorageError> {
        self.read()?.scan_log_back(log, key, before_seq, limit)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Waits for the outcome of one batch.
struct Commit<T> {
    receiver: oneshot::Receiver<Result<T, CommitError>>,
    /// A store in memory has no thread that calls what follows a commit.
    memory: Option<Arc<Memory>>,
}

impl<T> Commit<T> {
    fn publish(&self) {
        if let Some(memory) = &self.memory {
            memory.publish();
        }
    }
}

impl<T> Future for Commit<T> {
    type Output = Result<T, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.publish();
        Pin::new(&mut self.receiver).poll(cx).map(|answer| answer.unwrap_or(Err(CommitError::Unavailable)))
    }
}

impl<T> Drop for Commit<T> {
    fn drop(&mut self) {
        self.publish();
    }
}
