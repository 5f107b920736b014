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
    present: Arc<Mutex<Present>>,
}

#[derive(Debug, Default)]
struct Present {
    obstacles: BTreeMap<&'static str, &'static str>,
    degraded: BTreeMap<&'static str, &'static str>,
}

impl Obstacles {
    /// `promise` (such as `P1`) cannot be kept because of `what`. A later text replaces an earlier one.
    pub fn set(&self, promise: &'static str, what: &'static str) {
        let before = self.present().obstacles.insert(promise, what);
        if before != Some(what) {
            tracing::info!(promise, what, "not ready");
        }
    }

    /// `promise` can be kept again.
    pub fn clear(&self, promise: &'static str) {
        if self.present().obstacles.remove(promise).is_some() {
            tracing::info!(promise, "ready again");
        }
    }

    /// `promise` is kept in part only because of `what`. The server stays ready: on all nodes it is likely to be the same.
    pub fn degrade(&self, promise: &'static str, what: &'static str) {
        self.present().degraded.insert(promise, what);
    }

    /// `promise` is kept in full again.
    pub fn restore(&self, promise: &'static str) {
        self.present().degraded.remove(promise);
    }

    /// What is kept in part only, as [`Obstacles::list`] shows it.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        show(&self.present().degraded)
    }

    /// `promise: what` each, in the order of the promises; empty when ready.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        show(&self.present().obstacles)
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn show(present: &BTreeMap<&'static str, &'static str>) -> Vec<String> {
    present.iter().map(|(promise, what)| format!("{promise}: {what}")).collect()
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
    #[test]
    fn a_promise_that_is_kept_in_part_is_no_obstacle() {
        let obstacles = Obstacles::default();
        obstacles.degrade("P24", "alone");
        assert_eq!((obstacles.list(), obstacles.degraded()), (Vec::new(), vec!["P24: alone".to_owned()]));
        obstacles.restore("P24");
        assert_eq!(obstacles.degraded(), [""; 0]);
    }
}
