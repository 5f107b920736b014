//! The shared log in memory: for tests, with everything that a network and a server can do to it.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

use super::shared_log::{AppendError, Bounds, Connection, Epoch, LogAway, Place, SharedLog};

/// A log in memory, one handle per node: what is done to a handle befalls that node alone, what is done to the log all. A read waits until
/// something happens, however long that takes: so nothing moves a paused clock.
#[derive(Debug)]
pub struct MemoryLog {
    server: Arc<Server>,
    link: Mutex<Link>,
    connection: watch::Sender<Connection>,
}

#[derive(Debug)]
struct Server {
    state: Mutex<State>,
    /// Counts what has happened to the log.
    changed: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
struct State {
    log: Option<Log>,
    server: u64,
}

#[derive(Clone, Debug)]
struct Log {
    epoch: Epoch,
    kept_after: Place,
    end: Place,
    entries: BTreeMap<Place, Bytes>,
}

/// The way of one node to the log.
#[derive(Debug, Default)]
struct Link {
    is_cut: bool,
    /// The log answers and takes no entry.
    refuses: bool,
    /// Appends that arrive and whose answers do not.
    lost_answers: usize,
    /// Appends that do not arrive.
    lost_appends: usize,
    /// Appends that are to be held back on their way, and those that are.
    delays: usize,
    delayed: Vec<(Epoch, Bytes)>,
}

impl MemoryLog {
    /// A server without a log, and the first node's way to it.
    #[must_use]
    pub fn new() -> Self {
        Self::to(Arc::new(Server { state: Mutex::default(), changed: watch::Sender::new(0) }))
    }

    /// Another node's way to the same log.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::to(Arc::clone(&self.server))
    }

    fn to(server: Arc<Server>) -> Self {
        Self { server, link: Mutex::default(), connection: watch::Sender::new(Connection::Up) }
    }

    /// Cuts this node off: calls under way fail, and so do all others.
    pub fn cut(&self) {
        self.link().is_cut = true;
        self.connection.send_replace(Connection::Away);
        self.server.touch();
    }

    /// Lets this node reach the log again.
    pub fn mend(&self) {
        self.link().is_cut = false;
        self.connection.send_replace(Connection::Up);
    }

    /// Refuses all appends of this node, or takes them again, while everything else works: a server without memory.
    pub fn refuse_appends(&self, refuses: bool) {
        self.link().refuses = refuses;
    }

    /// The answers of the next `count` appends of this node are lost on the way; the entries are in the log.
    pub fn lose_answers(&self, count: usize) {
        self.link().lost_answers = count;
    }

    /// The next `count` appends of this node are lost on the way, so that nobody knows.
    pub fn lose_appends(&self, count: usize) {
        self.link().lost_appends = count;
    }

    /// Holds the next `count` appends of this node back, and no more than that: their answers are lost, and the entries come into the log at [`release`](Self::release).
    pub fn delay_appends(&self, count: usize) {
        self.link().delays = count;
    }

    /// Lets the appends arrive that were held back, and holds back no more.
    pub fn release(&self) {
        let delayed = {
            let mut link = self.link();
            link.delays = 0;
            std::mem::take(&mut link.delayed)
        };
        for (epoch, entry) in delayed {
            self.server.append(epoch, entry);
        }
    }

    /// The server loses everything.
    pub fn wipe(&self) {
        let mut state = self.server.lock();
        state.log = None;
        state.server += 1;
        drop(state);
        self.server.touch();
    }

    /// The server loses the last `count` entries, as one does that was replaced by a copy which lagged behind.
    pub fn lose_end(&self, count: usize) {
        let mut state = self.server.lock();
        state.server += 1;
        if let Some(log) = &mut state.log {
            for _ in 0..count {
                log.entries.pop_last();
            }
            log.end = log.entries.last_key_value().map_or(log.kept_after, |(place, _)| *place);
        }
        drop(state);
        self.server.touch();
    }

    /// Trims the log to its last `count` entries.
    pub fn trim(&self, count: usize) {
        if let Some(log) = &mut self.server.lock().log {
            while log.entries.len() > count
                && let Some((place, _)) = log.entries.pop_first()
            {
                log.kept_after = place;
            }
        }
    }

    /// All entries that are in the log.
    #[must_use]
    pub fn entries(&self) -> Vec<(Place, Bytes)> {
        let state = self.server.lock();
        state.log.iter().flat_map(|log| log.entries.clone()).collect()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>, LogAway> {
        if self.link().is_cut { Err(LogAway("cut off".to_owned())) } else { Ok(self.server.lock()) }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn append(&self, epoch: Epoch, entry: Bytes) -> Option<Place> {
        let mut state = self.lock();
        let log = state.of(epoch)?;
        let place = Place { major: log.end.major + 1, minor: 0 };
        log.end = place;
        log.entries.insert(place, entry);
        drop(state);
        self.touch();
        Some(place)
    }
}

impl State {
    fn of(&mut self, epoch: Epoch) -> Option<&mut Log> {
        self.log.as_mut().filter(|log| log.epoch == epoch)
    }
}

fn none_of(epoch: Epoch) -> LogAway {
    LogAway(format!("no log {epoch:?}"))
}

impl SharedLog for MemoryLog {
    fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    fn bounds(&self) -> BoxFuture<'static, Result<Option<Bounds>, LogAway>> {
        let bounds = self.reach().map(|state| {
            let server = state.server;
            state.log.as_ref().map(|log| {
                let &Log { epoch, kept_after, end, .. } = log;
                Bounds { epoch, kept_after, end, server }
            })
        });
        std::future::ready(bounds).boxed()
    }

    fn create(&self, epoch: Epoch, begin: Place) -> BoxFuture<'static, Result<bool, LogAway>> {
        let created = self.reach().map(|mut state| {
            let is_free = state.log.is_none();
            state.log.get_or_insert(Log { epoch, kept_after: begin, end: begin, entries: BTreeMap::new() });
            is_free
        });
        std::future::ready(created).boxed()
    }

    fn append(&self, epoch: Epoch, entry: Bytes) -> BoxFuture<'static, Result<Place, AppendError>> {
        let unknown = || std::future::ready(Err(AppendError::Unknown("cut off".to_owned()))).boxed();
        let mut link = self.link();
        if link.is_cut || link.refuses {
            return std::future::ready(Err(AppendError::Refused("not taken".to_owned()))).boxed();
        }
        if link.lost_appends > 0 {
            link.lost_appends -= 1;
            return unknown();
        }
        if link.delays > 0 {
            link.delays -= 1;
            link.delayed.push((epoch, entry));
            return unknown();
        }
        let is_answered = link.lost_answers == 0;
        link.lost_answers = link.lost_answers.saturating_sub(1);
        drop(link);
        match self.server.append(epoch, entry) {
            _ if !is_answered => unknown(),
            Some(place) => std::future::ready(Ok(place)).boxed(),
            None => std::future::ready(Err(AppendError::Refused("no such log".to_owned()))).boxed(),
        }
    }

    fn read(
        &self,
        epoch: Epoch,
        after: Place,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<(Place, Bytes)>, LogAway>> {
        let server = Arc::clone(&self.server);
        let mut changed = server.changed.subscribe();
        let connection = self.connection.subscribe();
        async move {
            loop {
                changed.borrow_and_update();
                if *connection.borrow() == Connection::Away {
                    return Err(LogAway("cut off".to_owned()));
                }
                let found = {
                    let mut state = server.lock();
                    let log = state.of(epoch).ok_or_else(|| none_of(epoch))?;
                    if after < log.kept_after || after > log.end {
                        return Err(LogAway("trimmed or lost".to_owned()));
                    }
                    let mut bytes = 0;
                    let later = log.entries.range((Bound::Excluded(after), Bound::Unbounded));
                    let fitting = later.take_while(|(_, entry)| {
                        let fits = bytes == 0 || bytes + entry.len() <= max_bytes;
                        bytes += entry.len();
                        fits
                    });
                    fitting.map(|(place, entry)| (*place, entry.clone())).collect::<Vec<_>>()
                };
                if !found.is_empty() {
                    return Ok(found);
                }
                // The sender lives in the server, which this holds.
                drop(changed.changed().await);
            }
        }
        .boxed()
    }

    fn entry(&self, epoch: Epoch, place: Place) -> BoxFuture<'static, Result<Option<Bytes>, LogAway>> {
        let found = self.reach().and_then(|mut state| {
            let log = state.of(epoch).ok_or_else(|| none_of(epoch))?;
            Ok(log.entries.get(&place).cloned())
        });
        std::future::ready(found).boxed()
    }

    fn restore(
        &self,
        epoch: Epoch,
        previous: Place,
        place: Place,
        entry: Bytes,
    ) -> BoxFuture<'static, Result<bool, LogAway>> {
        let restored = self.reach().and_then(|mut state| {
            let log = state.of(epoch).ok_or_else(|| none_of(epoch))?;
            let fits = log.end == previous && place > previous;
            if fits {
                log.end = place;
                log.entries.insert(place, entry);
            }
            Ok(fits)
        });
        self.server.touch();
        std::future::ready(restored).boxed()
    }
}
