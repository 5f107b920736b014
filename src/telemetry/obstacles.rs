//! What stands in the way of the promises at the moment, for `/readyz` (P40).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The obstacles by promise. Whoever cannot keep a promise sets one, and clears it when it can again. Clones share it.
///
/// Keys and texts are the program's own, so that their number is bounded by the code.
#[derive(Clone, Debug, Default)]
pub struct Obstacles {
    present: Arc<Mutex<BTreeMap<&'static str, &'static str>>>,
}

impl Obstacles {
    /// `promise` (such as `P1`) cannot be kept because of `what`. A later text replaces an earlier one.
    pub fn set(&self, promise: &'static str, what: &'static str) {
        let before = self.present().insert(promise, what);
        if before != Some(what) {
            tracing::info!(promise, what, "not ready");
        }
    }

    /// `promise` can be kept again.
    pub fn clear(&self, promise: &'static str) {
        if self.present().remove(promise).is_some() {
            tracing::info!(promise, "ready again");
        }
    }

    /// `promise: what` each, in the order of the promises; empty when ready.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        self.present().iter().map(|(promise, what)| format!("{promise}: {what}")).collect()
    }

    fn present(&self) -> MutexGuard<'_, BTreeMap<&'static str, &'static str>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_stays_until_its_promise_can_be_kept_again() {
        let obstacles = Obstacles::default();
        assert_eq!(obstacles.list(), [""; 0]);
        obstacles.clone().set("P6", "the queue is stuck");
        obstacles.set("P1", "the disk is full");
        obstacles.set("P1", "the database cannot be written");
        assert_eq!(obstacles.list(), ["P1: the database cannot be written", "P6: the queue is stuck"]);
        obstacles.clear("P1");
        obstacles.clear("P2");
        assert_eq!(obstacles.list(), ["P6: the queue is stuck"]);
    }
}
