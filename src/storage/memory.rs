//! The store without a disk: the model that the other backends are compared with, and what tests run on.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    batch::{Batch, Committed},
    error::CommitError,
    group::{Group, Heads},
    layer::{self, Layer},
    publisher::{Job, Outcome},
    snapshot::{Current, Snapshot},
};

/// Commits in the caller's thread: the snapshot moves when a batch is submitted, what follows a commit runs when the
/// future is first polled or dropped. So a test on a paused clock never waits for another thread.
#[derive(Default)]
pub(crate) struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    heads: Heads,
    outcomes: VecDeque<(Job, Outcome)>,
    is_publishing: bool,
    is_closed: bool,
}

impl Memory {
    pub(crate) fn submit(&self, current: &Current, batch: Batch, job: Job) {
        let mut state = self.lock();
        let outcome = state.commit(current, batch);
        state.outcomes.push_back((job, outcome));
    }

    /// Hands out what has been committed, in that order. While one thread does so others leave it to that one, and so
    /// does a job that commits something itself.
    pub(crate) fn publish(&self) {
        let mut state = self.lock();
        if state.is_publishing {
            return;
        }
        state.is_publishing = true;
        while let Some((job, outcome)) = state.outcomes.pop_front() {
            drop(state);
            job(outcome);
            state = self.lock();
        }
        state.is_publishing = false;
    }

    pub(crate) fn close(&self, current: &Current) {
        self.lock().is_closed = true;
        self.publish();
        current.publish(None);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn commit(&mut self, current: &Current, batch: Batch) -> Result<Committed, CommitError> {
        if self.is_closed {
            return Err(CommitError::Unavailable);
        }
        let below = current.load().map_err(|_| CommitError::Unavailable)?;
        let mut group = Group::new(&below, &mut self.heads);
        let committed = group.apply(batch)?;
        let mut layers = layer::push(&below.layers, group.into_layer());
        if let [only] = layers.as_mut_slice() {
            // Nothing lies below it, so a deletion has nothing to hide.
            *only = Layer::from_sorted(only.rows().to_vec()).without_deletions().into();
        }
        current.publish(Some(Snapshot { layers, ..Snapshot::default() }.into()));
        Ok(committed)
    }
}
