//! The inbox: batches that wait for the writer thread.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{batch::Batch, publisher::Job};

/// Most batches that wait. One more is answered with `Unavailable`, which a client may repeat: waiting for room would
/// let later batches overtake it.
pub(crate) const MAX_WAITING: usize = 16_384;
/// Most bytes of keys and values that wait.
pub(crate) const MAX_WAITING_BYTES: usize = 64 << 20;

/// Most bytes that are in memory before they are in their tables: those that wait, and twice as many as are filed at a time by default.
pub const MAX_QUEUED_BYTES: usize = MAX_WAITING_BYTES + 2 * (32 << 20);

/// Most batches in one commit: beyond that, the share of the fsync in each is small already.
const MAX_GROUP: usize = 512;
/// Bytes from which no further batch joins a commit.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// A batch and what is to be called with its outcome. A job that is dropped means `Unavailable`.
pub(crate) struct Submitted {
    pub(crate) batch: Batch,
    pub(crate) job: Job,
    pub(crate) how: How,
}

impl Submitted {
    /// A batch that is stored for itself.
    pub(crate) fn new(batch: Batch, job: Job) -> Self {
        Self { batch, job, how: How::Alone }
    }
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is stored, or not, whatever becomes of those around it.
    Alone,
    /// It is stored in one transaction with the one behind it. When it cannot be checked, the database has failed: others have stored it.
    WithNext,
    /// It is shown to readers, on top of what is stored, until the next `Settle` or the end of the process.
    Provisional,
    /// What is shown and not stored goes. The batch is empty.
    Settle,
}

impl How {
    /// Whether two batches may be in one group.
    pub(crate) fn goes_with(self, other: Self) -> bool {
        let is_stored = |how| matches!(how, Self::Alone | Self::WithNext);
        is_stored(self) && is_stored(other) || self == Self::Provisional && other == self
    }
}

/// How the writer is to end, after what waits has been committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// File everything.
    Clean,
    /// Leave the journal to the next start.
    Abandoned,
}

/// What the writer is to do next.
pub(crate) enum Work {
    /// Commit these, in this order. Never empty, and what becomes of them goes together.
    Group(Vec<Submitted>),
    /// Nothing has arrived in the time given.
    Nothing,
    /// Nothing waits and nothing will.
    End(Ending),
}

#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Submitted>,
    bytes: usize,
    ending: Option<Ending>,
    /// Waking a thread that does not sleep is a system call for nothing.
    writer_sleeps: bool,
}

impl Inbox {
    /// Puts a batch behind those that wait, or drops it when there are too many or none are taken any more.
    pub(crate) fn submit(&self, submitted: Submitted) {
        let mut state = self.lock();
        let bytes = state.bytes.saturating_add(submitted.batch.bytes());
        if state.ending.is_some() || state.waiting.len() >= MAX_WAITING || bytes > MAX_WAITING_BYTES {
            drop(state);
            // Outside the lock: what the job owns may use the store while it is dropped.
            drop(submitted);
            return;
        }
        state.bytes = bytes;
        state.waiting.push_back(submitted);
        self.wake(state);
    }

    /// Puts batches that belong together behind those that wait, whatever the limits say: the caller keeps its own.
    pub(crate) fn submit_all(&self, all: Vec<Submitted>) {
        let mut state = self.lock();
        if state.ending.is_some() {
            drop(state);
            drop(all);
            return;
        }
        for submitted in all {
            state.bytes = state.bytes.saturating_add(submitted.batch.bytes());
            state.waiting.push_back(submitted);
        }
        self.wake(state);
    }

    /// Takes no more batches. The first call decides how the writer ends.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.ending.get_or_insert(ending);
        self.wake(state);
    }

    /// Drops everything that waits and takes no more.
    pub(crate) fn fail(&self) {
        let mut state = self.lock();
        state.ending.get_or_insert(Ending::Abandoned);
        let dropped = mem::take(&mut state.waiting);
        drop(state);
        drop(dropped);
    }

    /// The next batches; waits for them for as long as `patience` says ([`Duration::MAX`]: for ever).
    pub(crate) fn take(&self, patience: Duration) -> Work {
        let mut state = self.lock();
        if state.is_quiet() && !patience.is_zero() {
            state.writer_sleeps = true;
            let waited = self.arrived.wait_timeout_while(state, patience, |state| state.is_quiet());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.writer_sleeps = false;
        }
        if state.waiting.is_empty() {
            return state.ending.map_or(Work::Nothing, Work::End);
        }
        Work::Group(state.group())
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let sleeps = state.writer_sleeps;
        drop(state);
        if sleeps {
            self.arrived.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.ending.is_none()
    }

    fn group(&mut self) -> Vec<Submitted> {
        let mut group = Vec::new();
        let (mut bytes, mut last) = (0, None);
        while let Some(next) = self.waiting.front()
            && last.is_none_or(|last: How| last.goes_with(next.how))
            && (last == Some(How::WithNext) || (group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES))
            && let Some(submitted) = self.waiting.pop_front()
        {
            bytes += submitted.batch.bytes();
            last = Some(submitted.how);
            group.push(submitted);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        group
    }
}
