//! The queue as the rest of the server sees it: sockets come and go, arrivals are proved.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Config, Confirm,
    flush::{Flush, Held},
    positions::{Position, Positions},
};
use crate::{
    clock::Timestamp,
    features::{
        auth::{SignedIn, SocketListener},
        conversations::Conversations,
        elsewhere::ElsewhereListener,
        messages::Messages,
        notifications::Notifications,
        receipts::Receipts,
    },
    ids::{ConversationId, Sid, SocketId, UserId},
    server::{Refusal, Socket},
    storage::{Batch, CommitError, Record, Store, Table},
    telemetry::Metrics,
};

/// How long the mark of the last stop waits for a store that takes nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How the server has stopped: [`CLEAN_STOP`] while it is not running and all cursors were written, [`LAST_CRASH`] once it was not so.
const CLEAN_STOPS: Table<u64, CleanStop> = Table::new("node_clean_stops");
const CLEAN_STOP: u64 = 1;
/// The first start after the last crash. It outlives clean stops: somebody who stays away for longer gets then what was on its way
/// to him at the crash.
const LAST_CRASH: u64 = 2;

/// When it was, version 1.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct CleanStop {
    at: Timestamp,
}

impl Record for CleanStop {
    const VERSION: u8 = 1;
}

/// Where the cursors of a session stood when its first chat socket connected.
type Starts = Arc<Vec<(ConversationId, Position)>>;

/// What a socket that has just connected is to be told.
struct Waiting {
    held: Held,
    /// Where a session that goes on was cut off; `None`: where the user's cursors are.
    starts: Option<Starts>,
}

/// The offline queue. Cloning shares it.
#[derive(Clone)]
pub struct OfflineQueue {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) config: Config,
    confirm: Confirm,
    pub(super) conversations: Arc<Conversations>,
    pub(super) messages: Arc<Messages>,
    pub(super) notifications: Arc<Notifications>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) positions: Positions,
    /// Whether the last stop was in order.
    was_clean: bool,
    /// Everything before this moment may have been delivered although no cursor says so: there was a crash.
    doubtful_before: Mutex<Option<Timestamp>>,
    pub(super) metrics: Metrics,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Conversations that are held back from sockets which have just connected, until their flush begins.
    held: DashMap<SocketId, Waiting>,
    /// Flushes that wait for a proof of arrival.
    pub(super) flushing: DashMap<SocketId, Arc<Notify>>,
    /// A second namespace of the same session gets the same backlog as the first: which of them the app listens on is not known.
    starts: DashMap<Sid, Starts>,
}

/// What goes on in the background on behalf of sockets, and what ends it.
#[derive(Clone, Default)]
pub struct Background {
    /// Where tasks are counted.
    pub tracker: TaskTracker,
    /// Told when the server stops.
    pub stop: CancellationToken,
    /// What is counted.
    pub metrics: Metrics,
}

impl OfflineQueue {
    /// A queue over the logs in `store`. Finds out whether the last stop was in order.
    #[must_use]
    pub fn new(
        store: Store,
        (config, confirm): (Config, Confirm),
        conversations: Arc<Conversations>,
        (messages, notifications): (Arc<Messages>, Arc<Notifications>),
        receipts: Arc<Receipts>,
        background: Background,
    ) -> Self {
        // Without knowing, everything counts as doubtful: a repeat that says so harms nobody.
        let last_crash = store.get(&CLEAN_STOPS, &LAST_CRASH).map(|crash| crash.map(|crash| crash.at));
        let was_clean = last_crash.is_ok() && store.contains(&CLEAN_STOPS, &CLEAN_STOP).unwrap_or(false);
        let doubtful_before = if was_clean { last_crash.unwrap_or_default() } else { Some(Timestamp::now()) };
        let shared = Shared {
            store,
            config,
            confirm,
            conversations,
            messages,
            notifications,
            receipts,
            positions: Positions::default(),
            was_clean,
            doubtful_before: Mutex::new(doubtful_before),
            metrics: background.metrics,
            tracker: background.tracker,
            stop: background.stop,
            held: DashMap::new(),
            flushing: DashMap::new(),
            starts: DashMap::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Puts a socket that is connecting into its rooms, except for the conversations that have a backlog: those follow when it
    /// has been told.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn join(&self, socket: &Arc<Socket>, user: &UserId) -> Result<(), Refusal> {
        let sid = socket.session().sid();
        let starts = self.shared.starts.get(sid).map(|starts| Arc::clone(&starts));
        let mut heads = HashMap::new();
        let held = self.shared.conversations.join_rooms(socket, user, |conversations| {
            let mut behind = HashSet::new();
            for (id, cursor, head) in self.shared.conversations.standing(user, conversations)? {
                let position =
                    self.shared.position(user, id, Position { delivered: cursor.delivered, sent: cursor.sent });
                let again = starts.as_ref().is_some_and(|starts| starts.iter().any(|(start, _)| *start == id));
                heads.insert(id, head);
                if position.delivered < head || again {
                    behind.insert(id);
                }
            }
            Ok(behind)
        })?;
        if !held.is_empty() {
            let held = held.into_iter().map(|id| (id, heads.get(&id).copied().unwrap_or_default())).collect();
            self.shared.held.insert(socket.id().clone(), Waiting { held, starts: None });
        }
        Ok(())
    }

    /// Makes ready to tell a socket what its client has missed from these changes on, `conversation` and number. Another
    /// device of the user may be further: this one goes on where it was cut off, with the user's own changes, and nothing of it
    /// is a repeat.
    pub fn resume(&self, socket: &Arc<Socket>, first: &[([u8; 12], u64)]) {
        let first = first.iter().map(|(key, seq)| (ConversationId::from_bytes(*key), *seq));
        let starts: Vec<_> =
            first.map(|(id, seq)| (id, Position { delivered: seq.saturating_sub(1), sent: 0 })).collect();
        let held = starts.iter().map(|(id, _)| (*id, 0)).collect();
        self.shared.held.insert(socket.id().clone(), Waiting { held, starts: Some(Arc::new(starts)) });
    }

    /// The client has these changes: `conversation` and number, in order.
    pub fn confirmed(&self, socket: &Arc<Socket>, user: &UserId, receipts: &[([u8; 12], u64)]) {
        self.shared.metrics.deliveries_confirmed().inc_by(receipts.len() as u64);
        if self.shared.confirm == Confirm::Transport && !self.shared.is_alone() {
            for (key, seq) in receipts {
                let to = Position { delivered: *seq, sent: *seq };
                self.shared.positions.advance(user, ConversationId::from_bytes(*key), to);
            }
        }
        if let Some(waiting) = self.shared.flushing.get(socket.id()) {
            waiting.notify_one();
        }
    }

    /// These changes were on their way when the session ended: whether the client has them is not known.
    pub fn unconfirmed(&self, user: &UserId, receipts: &[([u8; 12], u64)]) {
        for (key, seq) in receipts {
            let to = Position { delivered: 0, sent: *seq };
            self.shared.positions.advance(user, ConversationId::from_bytes(*key), to);
        }
    }

    /// Takes care of the time after this node was alone: numbers that its clients were told may belong to other changes now, so all of
    /// them begin anew, at cursors that did not move meanwhile.
    pub fn follow(&self) {
        let this = self.clone();
        self.shared.store.on_resync(move || {
            this.doubt();
            this.shared.conversations.rooms().close_all();
        });
    }

    /// Everything until now may have been delivered although no cursor says so.
    fn doubt(&self) {
        *self.shared.doubtful_before() = Some(Timestamp::now());
    }

    /// Writes cursors behind until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let forget = async {
            while let Err(error) = self.forget_clean_stop().await {
                tracing::warn!(%error, "the mark of the last stop could not be removed; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PATIENCE) => {}
                }
            }
        };
        tokio::join!(forget, self.shared.positions.run(&self.shared.receipts, stop.clone()));
    }

    /// Writes all cursors, at the very end. Unless the sockets are `drained`, some have not said what was on its way to them: the
    /// next start has to take that for a crash.
    pub async fn stop(&self, drained: bool) {
        self.shared.positions.write(&self.shared.receipts).await;
        if !drained || !self.shared.positions.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        batch.put(&CLEAN_STOPS, &CLEAN_STOP, &CleanStop { at: Timestamp::now() });
        if let Err(error) = self.shared.store.commit(batch).await {
            tracing::warn!(%error, "what was delivered last may come again after the next start");
        }
    }

    pub(super) async fn forget_clean_stop(&self) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.delete(&CLEAN_STOPS, &CLEAN_STOP);
        if let (false, Some(at)) = (self.shared.was_clean, *self.shared.doubtful_before()) {
            batch.put(&CLEAN_STOPS, &LAST_CRASH, &CleanStop { at });
        }
        self.shared.store.commit(batch).await.map(|_| ())
    }

    /// Begins to tell a socket what was held back from it.
    fn flush(&self, socket: &Arc<Socket>, user: &UserId, Waiting { held, starts }: Waiting) {
        let starts = starts.unwrap_or_else(|| self.starts(socket, user, &held));
        let flush = Flush::new(self.clone(), Arc::clone(socket), user.clone(), held);
        let stop = self.shared.stop.clone();
        self.shared.tracker.spawn(async move {
            tokio::select! {
                () = flush.run(&starts) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// From where a fresh socket is told what is held back from it.
    fn starts(&self, socket: &Arc<Socket>, user: &UserId, held: &Held) -> Starts {
        let sid = socket.session().sid().clone();
        // Looked at before the cursors are read: a session that has gone by now has left its word on them.
        let rooms = self.shared.conversations.rooms();
        let is_other = |other: &Arc<Socket>| *other.session().sid() != sid;
        let elsewhere = rooms.sockets_of(user).iter().any(is_other) || rooms.is_connected_elsewhere(user);
        let positions = |ids: Vec<ConversationId>| self.shared.positions_of(user, ids, elsewhere);
        match self.shared.starts.entry(sid) {
            dashmap::Entry::Occupied(known) => {
                // What came live meanwhile begins where the store says.
                let mut starts: Vec<_> = known.get().iter().filter(|(id, _)| held.contains_key(id)).copied().collect();
                let missing = held.keys().filter(|id| !starts.iter().any(|(known, _)| known == *id));
                starts.extend(positions(missing.copied().collect()));
                Arc::new(starts)
            }
            dashmap::Entry::Vacant(free) => {
                let starts = Arc::new(positions(held.keys().copied().collect()));
                free.insert(Arc::clone(&starts));
                starts
            }
        }
    }
}

impl Shared {
    /// How far a member has come, by the store and by what is on its way to it.
    pub(super) fn position(&self, user: &UserId, conversation: ConversationId, stored: Position) -> Position {
        stored.max(self.positions.of(user, conversation))
    }

    /// The same for many conversations. With `elsewhere`, another session of the user is open: whatever there is may have been on its
    /// way to that one.
    pub(super) fn positions_of(
        &self,
        user: &UserId,
        ids: Vec<ConversationId>,
        elsewhere: bool,
    ) -> Vec<(ConversationId, Position)> {
        match self.conversations.standing(user, &ids) {
            Ok(standing) => standing
                .into_iter()
                .map(|(id, cursor, head)| {
                    let sent = if elsewhere { head } else { cursor.sent };
                    let stored = Position { delivered: cursor.delivered, sent };
                    (id, self.position(user, id, stored))
                })
                .collect(),
            Err(error) => {
                // The whole conversation, then; the age of the queue bounds it.
                tracing::error!(%error, "delivery cursors could not be read");
                ids.into_iter().map(|id| (id, Position::default())).collect()
            }
        }
    }

    /// Whether this node is cut off from the others: the numbers of what is stored meanwhile are not final, so no cursor moves.
    fn is_alone(&self) -> bool {
        self.store.replica_status().is_some_and(|status| !status.borrow().is_connected())
    }

    /// Whether a change of that date may have been delivered before the crash without anybody knowing.
    pub(super) fn is_doubtful(&self, at: Timestamp) -> bool {
        self.doubtful_before().is_some_and(|crash| at < crash)
    }

    fn doubtful_before(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.doubtful_before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ElsewhereListener for OfflineQueue {
    fn came(&self, _: &UserId) {}

    fn went(&self, _: &UserId) {}

    fn broke(&self) {
        self.doubt();
    }
}

impl SocketListener for OfflineQueue {
    fn connected(&self, socket: &Arc<Socket>, user: &SignedIn) {
        if let Some((_, waiting)) = self.shared.held.remove(socket.id()) {
            self.flush(socket, &user.user, waiting);
        }
    }

    fn disconnected(&self, socket: &Arc<Socket>, _: &SignedIn, _: &str) {
        self.shared.held.remove(socket.id());
        self.shared.starts.remove(socket.session().sid());
        if let Some(waiting) = self.shared.flushing.get(socket.id()) {
            waiting.notify_one();
        }
    }
}
