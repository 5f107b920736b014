//! The replica: what goes from this node into the log, and from the log onto this node's disk.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    join::{Joined, Joiner, RETRY},
    ledger::{self, Ledger},
    local::Local,
    own::{Own, Payload, Pending},
    queue::Queue,
    shared_log::{AppendError, Bounds, Connection, Peers, Place, SharedLog},
    status::{ReplicaState, ReplicaStatus},
    watchers::Watchers,
    wire::{MAX_NODE_BYTES, Names},
};
use crate::{
    clock::{self, Instant},
    storage::{
        batch::Batch,
        error::StorageError,
        inbox::{How, Submitted},
        reader::Reader,
        snapshot::Current,
        writer::Health,
    },
};

/// About how much is read from the log at a time.
const READ_BYTES: usize = 4 << 20;
/// Entries at a time from which on the node is behind, so that the log may be trimmed before it has caught up.
const MANY: usize = 64;
/// Bytes of entries, in KiB, that are on their way to the disk.
const UNSTORED_KIB: u32 = 32 << 10;
/// Longest pause after a log that answers and takes no entry.
const MAX_PAUSE: Duration = Duration::from_secs(8);
/// How long batches wait for the log to be joined before the node goes on alone.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a node of a cluster is called, and what it may do alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    pub(super) node: String,
    /// Most bytes that are spooled while the log is away; more are refused with [`CommitError::Degraded`](crate::storage::CommitError).
    pub spool_max_bytes: usize,
    /// How long nodes wait for each other to say how far they are, after the log's server was replaced or started anew.
    pub settling: Duration,
}

impl ReplicaConfig {
    /// The node called `node`, with a spool of at most 256 MiB. The name is different from those of all other nodes, and the same
    /// after a restart. `None` unless it has 1 to [`MAX_NODE_BYTES`] bytes.
    pub fn new(node: impl Into<String>) -> Option<Self> {
        let node = node.into();
        let is_name = !node.is_empty() && node.len() <= MAX_NODE_BYTES;
        is_name.then_some(Self { node, spool_max_bytes: 256 << 20, settling: Duration::from_secs(3) })
    }

    /// The name of the node.
    pub fn node(&self) -> &str {
        &self.node
    }
}

/// Carries what one node stores to all and what others store to this one, for as long as [`run`](Self::run) is polled.
///
/// When it is dropped, what waits is answered with `Unavailable`, and nothing more is taken.
pub struct Replica {
    pub(super) config: ReplicaConfig,
    pub(super) log: Arc<dyn SharedLog>,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) local: Arc<Local>,
    pub(super) current: Arc<Current>,
    pub(super) watchers: Arc<Watchers>,
    pub(super) queue: Arc<Queue>,
    pub(super) status: watch::Sender<ReplicaStatus>,
    /// The log cannot be followed.
    pub(super) failed: watch::Sender<bool>,
    pub(super) ledger: Ledger,
    pub(super) own: Own,
    pub(super) names: Names,
    pub(super) room: Arc<Semaphore>,
    pub(super) has_rows: bool,
    pub(super) server: Arc<Mutex<Option<u64>>>,
    /// Batches are spooled or refused.
    pub(super) is_degraded: bool,
    /// Since when no entry of this node has come into the log although it should.
    stuck_since: Option<Instant>,
    /// Somebody was shown what may be put in another order.
    pub(super) owes_resync: bool,
}

/// What a replica starts with.
pub(crate) struct Parts {
    pub(crate) log: Arc<dyn SharedLog>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) local: Arc<Local>,
    pub(crate) current: Arc<Current>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) has_rows: bool,
}

/// Why a phase of a replica's life has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The log does not answer, or something in it is not as expected: join it again.
    Lost,
    /// The store has been closed, and nothing waits any more.
    Closed,
    /// The database has failed, or the log has an entry of a later server.
    Failed,
}

impl Replica {
    pub(crate) fn new(config: ReplicaConfig, parts: Parts, queue: Arc<Queue>) -> Result<Self, StorageError> {
        let Parts { log, peers, local, current, watchers, has_rows } = parts;
        let snapshot = current.load()?;
        let ledger = Ledger::load(&Reader::new(Arc::clone(&snapshot)), &snapshot)?;
        let own = Own::of_spool(ledger::spooled(&snapshot)?);
        let position = ledger.position.unwrap_or_default();
        let status = watch::Sender::new(ReplicaStatus {
            state: ReplicaState::Joining,
            epoch: position.epoch,
            applied: position.place,
            spooled_entries: own.spooled_entries,
            spooled_bytes: own.spooled_bytes,
            spool_conflicts: 0,
        });
        let owes_resync = !own.entries.is_empty();
        Ok(Self {
            config,
            log,
            peers,
            local,
            current,
            watchers,
            queue,
            status,
            failed: watch::Sender::new(false),
            ledger,
            own,
            names: Names::default(),
            room: Arc::new(Semaphore::new(usize::try_from(UNSTORED_KIB).unwrap_or(usize::MAX))),
            has_rows,
            server: Arc::default(),
            is_degraded: false,
            stuck_since: None,
            owes_resync,
        })
    }

    /// Takes part in the log until the store is closed or has failed. What was submitted before is in the log and applied then, or
    /// in the spool.
    pub async fn run(mut self) {
        let mut pause = Duration::ZERO;
        loop {
            let left = match self.join(pause).await {
                Ok(joined) => {
                    let left = self.take_part(joined).await;
                    let is_stuck = self.stuck_since.is_some() && !self.own.entries.is_empty();
                    pause = if is_stuck { (pause * 2).clamp(RETRY, MAX_PAUSE) } else { Duration::ZERO };
                    if !is_stuck {
                        self.stuck_since = None;
                    }
                    left
                }
                Err(left) => left,
            };
            match left {
                Left::Lost => {
                    self.stuck_since.get_or_insert_with(clock::now);
                    self.set_state(ReplicaState::Joining);
                }
                Left::Closed => return,
                Left::Failed => {
                    self.failed.send_replace(true);
                    return;
                }
            }
        }
    }

    /// Finds this node's place in the log. Batches wait for a moment, then the node goes on alone until it has succeeded.
    async fn join(&mut self, pause: Duration) -> Result<Joined, Left> {
        // What was applied last may have to be put back.
        if !self.local.flush().await {
            return Err(Left::Failed);
        }
        let search = Joiner {
            log: Arc::clone(&self.log),
            peers: Arc::clone(&self.peers),
            local: Arc::clone(&self.local),
            current: Arc::clone(&self.current),
            position: self.ledger.position,
            has_rows: self.has_rows,
            settling: self.config.settling,
            server: Arc::clone(&self.server),
            is_settled: false,
            is_another_server: false,
            waits_since: None,
        };
        let mut joining = Box::pin(search.run(pause));
        let mut is_halted = false;
        let patience = self.stuck_since.unwrap_or_else(clock::now) + PATIENCE;
        let (queue, mut connection, mut health) = (Arc::clone(&self.queue), self.log.connection(), self.local.health());
        loop {
            if self.is_degraded && queue.is_over() {
                return Err(Left::Closed);
            }
            tokio::select! {
                found = &mut joining, if !is_halted => match found {
                    Ok(joined) => return self.rejoin(joined).await,
                    Err(halt) => {
                        is_halted = true;
                        tracing::error!(?halt, "this node cannot go on with its database: copy that of another node");
                        self.degrade(ReplicaState::Halted(halt)).await;
                    }
                },
                () = tokio::time::sleep_until(patience), if !self.is_degraded => self.degrade(degraded()).await,
                () = away(&mut connection), if !self.is_degraded => self.degrade(degraded()).await,
                () = queue.wait(), if self.is_degraded => self.serve_alone().await,
                () = ended(&mut health) => return Err(Left::Failed),
            }
        }
    }

    /// Ends what was shown without being stored: from now on the log decides.
    async fn rejoin(&mut self, joined: Joined) -> Result<Joined, Left> {
        if self.is_degraded {
            self.is_degraded = false;
            self.owes_resync = true;
            tracing::info!(at = %joined.position.place, spooled = self.own.spooled_entries, "the shared log is back");
            let settle = Submitted { batch: Batch::new(), job: Box::new(|_| ()), how: How::Settle };
            self.local.submit_all(vec![settle]);
        }
        self.ledger.position = Some(joined.position);
        self.status.send_modify(|status| status.epoch = joined.position.epoch);
        self.set_state(ReplicaState::CatchingUp);
        // What was spooled is read again.
        if self.local.flush().await { Ok(joined) } else { Err(Left::Failed) }
    }

    /// Applies what comes, and appends what is submitted once everything has been seen that was in the log at the start.
    async fn take_part(&mut self, Joined { position, end }: Joined) -> Left {
        let epoch = position.epoch;
        let mut unseen = Some(end);
        let mut appends = FuturesUnordered::new();
        let (queue, mut connection, mut health) = (Arc::clone(&self.queue), self.log.connection(), self.local.health());
        let mut reading = self.log.read(epoch, self.place(), READ_BYTES);
        loop {
            if unseen.is_some_and(|end| self.place() >= end) {
                unseen = None;
                self.own.under_way = 0;
                self.set_state(ReplicaState::Connected);
            }
            if unseen.is_none() {
                if self.own.under_way == 0 && self.set_in_order().await.is_err() {
                    return Left::Failed;
                }
                let Ok(entries) = self.next_entries() else { return Left::Failed };
                appends.extend(entries.into_iter().map(|entry| self.log.append(epoch, entry)));
                self.resync();
                if self.own.entries.is_empty() && queue.is_over() {
                    self.local.flush().await;
                    return Left::Closed;
                }
            }
            let takes_more = unseen.is_none() && self.takes_more() && !queue.is_over();
            tokio::select! {
                entries = &mut reading => {
                    let Ok(entries) = entries else { return Left::Lost };
                    if (entries.is_empty() || entries.len() >= MANY) && !self.is_whole().await {
                        return Left::Lost;
                    }
                    for entry in entries {
                        match self.apply(entry).await {
                            Ok(()) => {}
                            Err(left) => return left,
                        }
                    }
                    reading = self.log.read(epoch, self.place(), READ_BYTES);
                }
                Some(answer) = appends.next() => {
                    if let Err(AppendError::Unknown(reason) | AppendError::Refused(reason)) = answer {
                        tracing::debug!(reason, "an entry may not be in the shared log");
                        return Left::Lost;
                    }
                    self.stuck_since = None;
                }
                () = queue.wait(), if takes_more => {}
                () = away(&mut connection) => return Left::Lost,
                () = ended(&mut health) => return Left::Failed,
            }
        }
    }

    /// Whether the log still reaches this node's place, and nothing after that has been trimmed.
    async fn is_whole(&mut self) -> bool {
        let bounds = self.log.bounds().await;
        let is_here = |bounds: Bounds| bounds.kept_after <= self.place() && self.place() <= bounds.end;
        bounds.is_ok_and(|bounds| bounds.is_some_and(is_here))
    }

    /// Tells that an order may have changed, once everything shown before has its place.
    fn resync(&mut self) {
        let is_spooled = |pending: &Pending| matches!(pending.payload, Payload::Spooled { .. });
        if self.owes_resync && !self.own.entries.iter().any(is_spooled) {
            self.owes_resync = false;
            let watchers = Arc::clone(&self.watchers);
            self.local.store(Batch::new(), Box::new(move |_| watchers.resync()));
        }
    }

    /// Waits until less is on its way to the disk.
    pub(super) async fn room_for(&mut self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).saturating_add(1).min(UNSTORED_KIB);
        Arc::clone(&self.room).acquire_many_owned(kib).await.ok()
    }

    pub(super) fn place(&self) -> Place {
        self.ledger.position.map_or(Place::START, |position| position.place)
    }

    pub(super) fn set_state(&self, state: ReplicaState) {
        self.status.send_if_modified(|status| std::mem::replace(&mut status.state, state) != state);
    }

    pub(super) fn tell_spool(&self) {
        let (entries, bytes) = (self.own.spooled_entries, self.own.spooled_bytes);
        self.status.send_modify(|status| (status.spooled_entries, status.spooled_bytes) = (entries, bytes));
    }
}

async fn away(connection: &mut watch::Receiver<Connection>) {
    drop(connection.wait_for(|connection| *connection == Connection::Away).await);
}

async fn ended(health: &mut watch::Receiver<Health>) {
    drop(health.wait_for(|health| *health != Health::Open).await);
}

fn degraded() -> ReplicaState {
    ReplicaState::Degraded { since: clock::Timestamp::now() }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.queue.fail();
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("config", &self.config).finish_non_exhaustive()
    }
}
