//! The queue: batches of this node that wait for their place in the log.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::storage::inbox::{MAX_WAITING, MAX_WAITING_BYTES, Submitted};

/// Most batches in one entry.
const MAX_TAKEN: usize = 512;
/// Bytes from which no further batch joins an entry.
const MAX_TAKEN_BYTES: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Submitted>,
    bytes: usize,
    is_ended: bool,
}

impl Queue {
    /// Puts a batch behind those that wait, or drops it (which is `Unavailable`) when there are too many or none are taken any more.
    pub(crate) fn push(&self, submitted: Submitted) {
        let mut state = self.lock();
        let bytes = state.bytes.saturating_add(submitted.batch.bytes());
        if state.is_ended || state.waiting.len() >= MAX_WAITING || bytes > MAX_WAITING_BYTES {
            drop(state);
            // Outside the lock: what the job owns may use the store while it is dropped.
            drop(submitted);
            return;
        }
        state.bytes = bytes;
        state.waiting.push_back(submitted);
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes no more batches.
    pub(crate) fn end(&self) {
        self.lock().is_ended = true;
        self.arrived.notify_one();
    }

    /// Drops everything that waits and takes no more.
    pub(crate) fn fail(&self) {
        let mut state = self.lock();
        state.is_ended = true;
        let dropped = mem::take(&mut state.waiting);
        drop(state);
        drop(dropped);
    }

    /// Nothing waits and nothing will.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_ended && state.waiting.is_empty()
    }

    /// Resolves when something waits, or nothing is taken any more.
    pub(crate) async fn wait(&self) {
        loop {
            let arrived = self.arrived.notified();
            {
                let state = self.lock();
                if state.is_ended || !state.waiting.is_empty() {
                    return;
                }
            }
            arrived.await;
        }
    }

    /// The next batches, as many as may be in one entry; none when none wait.
    pub(crate) fn take(&self) -> Vec<Submitted> {
        let mut state = self.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < MAX_TAKEN
            && bytes < MAX_TAKEN_BYTES
            && let Some(submitted) = state.waiting.pop_front()
        {
            bytes += submitted.batch.bytes();
            taken.push(submitted);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
