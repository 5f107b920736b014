//! What is held back from a socket: changes of logs of which something earlier has to come first.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The key of a log.
pub(super) type Key = [u8; 12];

/// Which tracked broadcasts do not go to a socket. Everything else reaches it all the same.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// False for nearly all sockets nearly all the time: then nothing is looked up.
    active: AtomicBool,
    kept: Mutex<Option<Box<Kept>>>,
}

#[derive(Debug)]
enum Kept {
    /// Which logs have to wait is not known yet: all do, and those that had something are noted.
    All { noted: HashSet<Key> },
    /// These logs wait, each until its release.
    Some(HashSet<Key>),
}

impl Hold {
    /// Holds everything back from now on.
    pub(super) fn all(&self) {
        let mut kept = self.kept();
        *kept = Some(Box::new(Kept::All { noted: HashSet::new() }));
        self.active.store(true, Ordering::Release);
    }

    /// Goes on with these logs alone, and with those of which something was held back by now. Returns them all.
    pub(super) fn narrow(&self, mut keys: HashSet<Key>) -> HashSet<Key> {
        let mut kept = self.kept();
        if let Some(Kept::All { noted }) = kept.take().map(|kept| *kept) {
            keys.extend(noted);
        }
        if keys.is_empty() {
            self.active.store(false, Ordering::Release);
        } else {
            *kept = Some(Box::new(Kept::Some(keys.clone())));
        }
        keys
    }

    /// Ends it for one log.
    pub(super) fn release(&self, key: Key) {
        let mut kept = self.kept();
        if let Some(Kept::Some(keys)) = kept.as_deref_mut() {
            keys.remove(&key);
            if keys.is_empty() {
                *kept = None;
                self.active.store(false, Ordering::Release);
            }
        }
    }

    /// Whether anything may be held back.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Whether a change of this log does not go out now.
    pub(super) fn stops(&self, key: Key) -> bool {
        if !self.active.load(Ordering::Acquire) {
            return false;
        }
        match self.kept().as_deref_mut() {
            None => false,
            Some(Kept::All { noted }) => {
                noted.insert(key);
                true
            }
            Some(Kept::Some(keys)) => keys.contains(&key),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Box<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = [1; 12];
    const B: Key = [2; 12];

    #[test]
    fn nothing_is_held_unless_asked() {
        assert!(!Hold::default().stops(A));
    }

    #[test]
    fn a_log_that_had_something_while_all_were_held_stays_held() {
        let hold = Hold::default();
        hold.all();
        assert!(hold.stops(A));
        assert_eq!(hold.narrow(HashSet::new()), HashSet::from([A]));
        assert!(hold.stops(A));
        assert!(!hold.stops(B));
    }

    #[test]
    fn a_log_is_held_until_its_release() {
        let hold = Hold::default();
        hold.all();
        hold.narrow(HashSet::from([A, B]));
        hold.release(A);
        assert!(!hold.stops(A));
        assert!(hold.stops(B));
        hold.release(B);
        assert!(!hold.stops(B));
    }

    #[test]
    fn narrowing_to_nothing_ends_it() {
        let hold = Hold::default();
        hold.all();
        assert!(hold.narrow(HashSet::new()).is_empty());
        assert!(!hold.stops(A));
    }
}
