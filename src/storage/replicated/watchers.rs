//! Who is told of what other nodes have stored.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::storage::{
    batch::{Batch, Committed, Step},
    key::Key,
    record::{self, Record},
    row::{Row, split_key},
    table::{Log, Table},
};

/// Is given the key without the table, and the envelope of the value.
type Watcher = Arc<dyn Fn(&[u8], Option<&[u8]>) + Send + Sync>;
type Resync = Arc<dyn Fn() + Send + Sync>;

/// The watchers of a store, by table or log.
#[derive(Default)]
pub(crate) struct Watchers {
    tables: RwLock<HashMap<&'static str, Vec<Watcher>>>,
    logs: RwLock<HashMap<&'static str, Vec<Watcher>>>,
    resync: RwLock<Vec<Resync>>,
    panics: Arc<AtomicU64>,
}

/// A change that somebody watches.
struct Watched {
    watchers: Vec<Watcher>,
    row: Row,
    stamp: Stamp,
}

/// Which number of the outcome a row gets.
#[derive(Clone, Copy)]
enum Stamp {
    None,
    Value(crate::storage::Appended),
    Entry(crate::storage::Appended),
}

impl Watchers {
    /// Watchers whose panics are counted in `panics`.
    pub(crate) fn new(panics: Arc<AtomicU64>) -> Self {
        Self { panics, ..Self::default() }
    }

    pub(crate) fn watch<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        watcher: impl Fn(K, Option<V>) + Send + Sync + 'static,
    ) {
        let name = table.name();
        let watcher: Watcher = Arc::new(move |key, value| {
            let opened = decode(key).zip(value.map(|value| record::open(name, key, value)).transpose().ok());
            match opened {
                Some((key, value)) => watcher(key, value),
                None => unreadable(name),
            }
        });
        self.tables.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().push(watcher);
    }

    pub(crate) fn watch_log<K: Key, V: Record>(
        &self,
        log: &Log<K, V>,
        watcher: impl Fn(K, u64, V) + Send + Sync + 'static,
    ) {
        let name = log.name();
        let watcher: Watcher = Arc::new(move |key, value| {
            let entry = key.split_last_chunk().and_then(|(stream, seq)| {
                let value = record::open(name, key, value?).ok()?;
                Some((decode(stream)?, u64::from_be_bytes(*seq), value))
            });
            match entry {
                Some((key, seq, value)) => watcher(key, seq, value),
                None => unreadable(name),
            }
        });
        self.logs.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().push(watcher);
    }

    pub(crate) fn on_resync(&self, call: impl Fn() + Send + Sync + 'static) {
        self.resync.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(call));
    }

    /// Calls everybody who wants to know that what this node has shown may have been put in another order.
    pub(crate) fn resync(&self) {
        let calls = self.resync.read().unwrap_or_else(PoisonError::into_inner).clone();
        for call in calls {
            self.guard(|| call());
        }
    }

    /// What is to be called once `batch` is stored; `None` when nobody watches what it changes.
    pub(crate) fn of(self: &Arc<Self>, batch: &Batch) -> Option<impl FnOnce(&Committed) + Send + 'static + use<>> {
        let mut appends = 0;
        let mut watched = Vec::new();
        for step in &batch.steps {
            let (watchers, stamp) = match step {
                Step::Put(row) => (watchers_of(&self.tables, row), Stamp::None),
                Step::PutStamped(row, appended) => (watchers_of(&self.tables, row), Stamp::Value(*appended)),
                Step::Append(_, row) => (watchers_of(&self.logs, row), Stamp::Entry(crate::storage::Appended(appends))),
                Step::Observe(..) => (Vec::new(), Stamp::None),
            };
            appends += usize::from(step.is_numbered());
            if !watchers.is_empty() {
                watched.push(Watched { watchers, row: step.row().clone(), stamp });
            }
        }
        let this = Arc::clone(self);
        (!watched.is_empty()).then_some(move |committed: &Committed| {
            for change in watched {
                this.tell(change, committed);
            }
        })
    }

    fn tell(&self, Watched { watchers, mut row, stamp }: Watched, committed: &Committed) {
        match stamp {
            Stamp::None => {}
            Stamp::Value(appended) => row.seal(committed.seq(appended)),
            Stamp::Entry(appended) => row.number(committed.seq(appended)),
        }
        let Some((_, key)) = split_key(row.key()) else { return };
        for watcher in watchers {
            self.guard(|| watcher(key, row.value()));
        }
    }

    fn guard(&self, call: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!("what follows a commit of another node panicked; the batch itself is stored");
        }
    }
}

fn watchers_of(of: &RwLock<HashMap<&'static str, Vec<Watcher>>>, row: &Row) -> Vec<Watcher> {
    let Some((name, _)) = split_key(row.key()) else { return Vec::new() };
    of.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
}

fn decode<K: Key>(mut key: &[u8]) -> Option<K> {
    K::decode(&mut key).filter(|_| key.is_empty())
}

fn unreadable(table: &'static str) {
    tracing::error!(table, "another node has stored a record that this server cannot read");
}
