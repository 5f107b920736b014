//! The rules of presence.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use dashmap::{DashMap, Entry};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    store::{LAST_SEEN, LastSeenRecord},
};
use crate::{
    clock::{self, Instant, Timestamp},
    features::{
        auth::{SignedIn, SocketListener},
        elsewhere::ElsewhereListener,
    },
    ids::UserId,
    server::{Refusal, Socket},
    storage::{Batch, Store},
};

/// How often it is looked for those whose grace is over: they go offline late by this much at most.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How often it is noted that those who are here are here: what a crash may cost of `lastSeen`.
const NOTE_EVERY: Duration = Duration::from_mins(5);
/// Users in one batch, and the pause between two.
const PAGE: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);

/// What builds on presence: it decides what others see of it.
pub trait Watcher: Send + Sync {
    /// The user has come or gone: [`Presence::is_online`] says which. It may have changed again by now.
    fn changed(&self, user: &UserId);

    /// Whether others may know that the user is here.
    fn shows(&self, user: &UserId) -> bool;
}

/// A user who is online.
#[derive(Default)]
struct Live {
    /// On this node.
    sockets: usize,
    /// There are some on other nodes.
    elsewhere: bool,
    /// When the last socket went, once by each clock.
    gone: Option<(Instant, Timestamp)>,
    /// The last socket went here: this node notes when that was. Another node does so of its own.
    here: bool,
}

impl Live {
    fn is_connected(&self) -> bool {
        self.sockets > 0 || self.elsewhere
    }
}

/// Somebody whose grace is over.
struct Due {
    user: UserId,
    /// When the last socket went, once by each clock.
    at: Instant,
    wall: Timestamp,
    /// It went here.
    here: bool,
}

/// Who is online. As large as the number of users who are connected or went within the grace.
pub struct Presence {
    store: Store,
    config: Config,
    live: DashMap<UserId, Live>,
    /// Users whose last socket went, in that order; who has come back stays in it until the grace is over.
    leaving: Mutex<VecDeque<(Instant, UserId)>>,
    watcher: OnceLock<Weak<dyn Watcher>>,
}

impl Presence {
    /// Nobody is online; when users were last here is kept in `store`.
    #[must_use]
    pub fn new(store: Store, config: Config) -> Self {
        Self { store, config, live: DashMap::new(), leaving: Mutex::default(), watcher: OnceLock::new() }
    }

    /// Who hears of those who come and go. Set once, when the server is put together.
    pub fn set_watcher(&self, watcher: Weak<dyn Watcher>) {
        let already = self.watcher.set(watcher).is_err();
        debug_assert!(!already, "the watcher is set once");
    }

    /// Whether the user has a live socket, or had one within the grace.
    #[must_use]
    pub fn is_online(&self, user: &UserId) -> bool {
        self.live.contains_key(user)
    }

    /// In conversations with more members nobody is told who comes and goes: when all of a large group come back at once, each would be
    /// told of each.
    #[must_use]
    pub fn max_told_members(&self) -> usize {
        self.config.max_told_members
    }

    /// When the user was last here, as far as others may know; for somebody who is not.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn last_seen(&self, user: &UserId) -> Result<Option<Timestamp>, Refusal> {
        Ok(self.store.get(&LAST_SEEN, user)?.map(|record| record.at))
    }

    /// Adds to `batch` that the user was last seen at `at`.
    pub(crate) fn note(batch: &mut Batch, user: &UserId, at: Timestamp) {
        batch.put(&LAST_SEEN, user, &LastSeenRecord { at });
    }

    /// Keeps watch until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let leave = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                self.sweep().await;
            }
        };
        let note = async {
            loop {
                tokio::time::sleep(NOTE_EVERY).await;
                self.note_all(PAUSE).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = leave => {}
            () = note => {}
        }
    }

    /// Notes when those were last seen who are here, or went within the grace, when the server stops.
    pub async fn stop(&self) {
        self.note_all(Duration::ZERO).await;
    }

    /// Lets those go whose grace is over.
    pub(crate) async fn sweep(&self) {
        loop {
            let due = self.take_due();
            let mut batch = Batch::new();
            for Due { user, wall, .. } in due.iter().filter(|due| due.here && self.shows(&due.user)) {
                Self::note(&mut batch, user, *wall);
            }
            // Before anybody is told: whoever hears of it and asks finds it. For somebody who comes back meanwhile it does no harm.
            self.commit(batch).await;
            for Due { user, at, .. } in &due {
                self.let_go(user, *at);
            }
            if due.len() < PAGE {
                return;
            }
        }
    }

    /// Stores when those who are here were last seen, in steps with a `pause` between.
    pub(crate) async fn note_all(&self, pause: Duration) {
        let live = |entry: dashmap::mapref::multiple::RefMulti<'_, UserId, Live>| {
            (entry.key().clone(), entry.value().gone.map(|(_, at)| at))
        };
        let live: Vec<_> = self.live.iter().filter(|entry| entry.sockets > 0 || entry.here).map(live).collect();
        for page in live.chunks(PAGE) {
            let now = Timestamp::now();
            let mut batch = Batch::new();
            for (user, gone_at) in page.iter().filter(|(user, _)| self.shows(user)) {
                Self::note(&mut batch, user, gone_at.unwrap_or(now));
            }
            self.commit(batch).await;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    fn count_in(&self, user: &UserId, count: impl FnOnce(&mut Live)) {
        let entry = self.live.entry(user.clone());
        let is_new = matches!(entry, Entry::Vacant(_));
        let mut live = entry.or_default();
        count(&mut live);
        live.gone = None;
        drop(live);
        if is_new {
            self.tell(user);
        }
    }

    fn count_out(&self, user: &UserId, count: impl FnOnce(&mut Live)) {
        let gone = (clock::now(), Timestamp::now());
        let Some(mut live) = self.live.get_mut(user) else { return };
        count(&mut live);
        if !live.is_connected() {
            live.gone = Some(gone);
            drop(live);
            self.leaving().push_back((gone.0, user.clone()));
        }
    }

    /// Some of those whose grace is over and who have not come back, with the moment of their going by each clock.
    fn take_due(&self) -> Vec<Due> {
        let now = clock::now();
        let mut due = Vec::new();
        let mut leaving = self.leaving();
        while due.len() < PAGE
            && let Some((at, user)) =
                leaving.pop_front_if(|(at, _)| now.duration_since(*at) >= self.config.offline_grace())
        {
            let gone = self.live.get(&user).and_then(|live| Some((live.gone?, live.here)));
            // Whoever came back and went again is further back in the queue once more.
            let gone = gone.filter(|((gone, _), _)| *gone == at);
            due.extend(gone.map(|((_, wall), here)| Due { user, at, wall, here }));
        }
        due
    }

    fn let_go(&self, user: &UserId, gone: Instant) {
        let has_gone = |_: &UserId, live: &Live| live.gone.is_some_and(|(at, _)| at == gone);
        if self.live.remove_if(user, has_gone).is_some() {
            self.tell(user);
        }
    }

    async fn commit(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        if let Err(error) = self.store.commit(batch).await {
            tracing::warn!(%error, "it was not stored when users were last here");
        }
    }

    fn tell(&self, user: &UserId) {
        if let Some(watcher) = self.watcher() {
            watcher.changed(user);
        }
    }

    fn shows(&self, user: &UserId) -> bool {
        self.watcher().is_none_or(|watcher| watcher.shows(user))
    }

    fn watcher(&self) -> Option<Arc<dyn Watcher>> {
        self.watcher.get().and_then(Weak::upgrade)
    }

    fn leaving(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, UserId)>> {
        // Nothing panics while the lock is held; should it ever, the queue itself is still whole.
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocketListener for Presence {
    fn connected(&self, _: &Arc<Socket>, user: &SignedIn) {
        self.count_in(&user.user, |live| live.sockets = live.sockets.saturating_add(1));
    }

    fn disconnected(&self, _: &Arc<Socket>, user: &SignedIn, _: &str) {
        self.count_out(&user.user, |live| {
            live.sockets = live.sockets.saturating_sub(1);
            live.here = true;
        });
    }
}

/// Whoever is connected to another node is as much online as those who are connected here.
impl ElsewhereListener for Presence {
    fn came(&self, user: &UserId) {
        self.count_in(user, |live| live.elsewhere = true);
    }

    fn went(&self, user: &UserId) {
        self.count_out(user, |live| {
            live.elsewhere = false;
            live.here = false;
        });
    }
}
