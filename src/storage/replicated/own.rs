//! A node's own entries: those that it has appended and not applied yet, and those that are to be appended.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::random_range;

use super::{
    ledger::{self, Ledger, Verdict},
    wire::Identity,
};
use crate::{
    clock::Timestamp,
    storage::{error::StorageError, inbox::Submitted, publisher::Job, snapshot::Snapshot},
};

/// Lower bits of an incarnation that are drawn; the others are the milliseconds since 1970.
const RANDOM_BITS: u32 = 20;

/// Own entries in the order of their identities, which is that of the calls.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) entries: VecDeque<Pending>,
    /// How many of them, from the front, have been handed to the log since it was joined.
    pub(crate) under_way: usize,
    /// The identity given last; `None` before the first of this process.
    last: Option<Identity>,
    /// The number of the last spooled entry.
    pub(crate) spool_number: u64,
    pub(crate) spooled_entries: usize,
    pub(crate) spooled_bytes: usize,
}

/// An entry that has not been applied yet.
pub(crate) struct Pending {
    pub(crate) identity: Identity,
    pub(crate) payload: Payload,
    /// Empty once the jobs have been called.
    pub(crate) parts: Vec<Part>,
}

/// Where the bytes of an entry are.
pub(crate) enum Payload {
    Held(Bytes),
    /// In the spool, under this number.
    Spooled {
        number: u64,
        bytes: usize,
    },
}

/// What happens when an entry is applied, in order.
pub(crate) enum Part {
    /// The next batch of the entry is stored, and this is called.
    Batch(Job),
    /// A batch that only reads: it is in no entry.
    Read(Submitted),
}

impl Own {
    /// The entries that an earlier process has left in the spool.
    pub(crate) fn of_spool(spooled: Vec<(u64, Identity, usize)>) -> Self {
        let mut own = Self::default();
        for (number, identity, bytes) in spooled {
            own.spool_number = number;
            own.count(bytes);
            own.entries.push_back(Pending { identity, payload: Payload::Spooled { number, bytes }, parts: Vec::new() });
        }
        own
    }

    /// The identity of the next entry.
    pub(crate) fn next(&mut self, node: &str, ledger: &Ledger) -> Identity {
        let last = self.last.unwrap_or_else(|| self.incarnate(node, ledger));
        let next = Identity { counter: last.counter + 1, ..last };
        self.last = Some(next);
        next
    }

    /// A fresh incarnation: after all that this node has used, also in an earlier life whose database is gone, unless the clock was
    /// set back since. Then the log shows it, and the node takes another one. Its lower bits are random, so that two processes that use
    /// one name by mistake do not take each other's entries for their own.
    pub(crate) fn incarnate(&mut self, node: &str, ledger: &Ledger) -> Identity {
        let now = u64::try_from(Timestamp::now().as_millis()).unwrap_or(0) << RANDOM_BITS;
        let used = self.entries.iter().map(|pending| pending.identity).chain(self.last).chain(ledger.last_of(node));
        let first = used.map(|identity| identity.incarnation.saturating_add(1)).fold(now, u64::max);
        let incarnation = first.saturating_add(random_range(0..1 << RANDOM_BITS));
        let fresh = Identity { incarnation, counter: 0 };
        self.last = Some(fresh);
        fresh
    }

    /// Whether the first of the entries, or the next one while there is none, would count if it came into the log now.
    pub(crate) fn verdict(&self, node: &str, ledger: &Ledger) -> Verdict {
        match (self.entries.front(), self.last) {
            (Some(front), _) => ledger.judge(node, front.identity),
            (None, Some(last)) => ledger.judge(node, Identity { counter: last.counter + 1, ..last }),
            (None, None) => Verdict::Next,
        }
    }

    /// Takes the entry out that has come into the log: always the first.
    pub(crate) fn take(&mut self, identity: Identity) -> Option<Pending> {
        let pending = self.entries.pop_front_if(|front| front.identity == identity)?;
        self.under_way = self.under_way.saturating_sub(1);
        if let Payload::Spooled { bytes, .. } = pending.payload {
            self.spooled_entries = self.spooled_entries.saturating_sub(1);
            self.spooled_bytes = self.spooled_bytes.saturating_sub(bytes);
        }
        Some(pending)
    }

    pub(crate) fn has(&self, identity: Identity) -> bool {
        self.entries.iter().any(|pending| pending.identity == identity)
    }

    /// Gives the next spooled entry, of `bytes`, its number.
    pub(crate) fn spool(&mut self, bytes: usize) -> u64 {
        self.spool_number += 1;
        self.count(bytes);
        self.spool_number
    }

    fn count(&mut self, bytes: usize) {
        self.spooled_entries += 1;
        self.spooled_bytes += bytes;
    }
}

impl Payload {
    /// The bytes of the entry; `None` when they are not where they should be.
    pub(crate) fn read(&self, snapshot: &Snapshot) -> Result<Option<Bytes>, StorageError> {
        match self {
            Self::Held(entry) => Ok(Some(entry.clone())),
            Self::Spooled { number, .. } => ledger::spooled_entry(snapshot, *number),
        }
    }
}
