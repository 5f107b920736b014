//! Locks that are held through other nodes: known here, so that each node can refuse an edit, and end what its own node cannot end
//! any more.

use std::sync::Arc;

use super::{
    Locks,
    store::{FENCES, LOCKS},
};
use crate::{clock, features::elsewhere::ElsewhereListener, ids::UserId};

impl Locks {
    /// Keeps what other nodes store. They tell of it themselves.
    pub fn follow(&self) {
        let shared = Arc::clone(&self.shared);
        self.store.watch(&LOCKS, move |id, record| {
            match record {
                Some(record) => shared.keep_foreign(id, record),
                None => shared.leases().remove(id),
            }
            shared.changed.notify_one();
        });
        let shared = Arc::clone(&self.shared);
        self.store.watch(&FENCES, move |_, fences| {
            if let Some(fences) = fences {
                shared.leases().pass_over(fences.reserved);
            }
        });
    }
}

/// The holder of a lock may be connected to any node. Each of them ends what is over; the first one does, and says so.
impl ElsewhereListener for Locks {
    fn came(&self, user: &UserId) {
        self.shared.leases().abandon(user, None);
    }

    fn went(&self, user: &UserId) {
        let config = self.shared.config();
        let mut leases = self.shared.leases();
        let end = self.shared.abandoned_at(user, clock::now(), &config);
        if end.is_some() && leases.abandon(user, end) {
            self.shared.changed.notify_one();
        }
    }
}
