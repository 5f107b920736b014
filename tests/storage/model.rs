//! Random batches against a model of maps and lists, on every backend, over restarts and crashes.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use hobnob::storage::{
    Appended, Batch, CommitError, Config, Direction, KeyRange, Log, Reader, Store, Table, Versioned,
    replicated::{MemoryLog, NoPeers, ReplicaConfig},
};
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::task::JoinSet;

use crate::support::{BUSY_FILING, Dir, Message, NO_FILING, STEPWISE_FILING, message};

type Key = (u64, String);

const ROWS: Table<Key, Message> = Table::new("rows");
/// Its name begins like the other's: their keys must not mix.
const MORE_ROWS: Table<Key, Message> = Table::new("rows_2");
const LOG: Log<String, Message> = Log::new("row_log");

/// What should be stored.
#[derive(Clone, Default)]
struct Model {
    rows: BTreeMap<Key, Message>,
    logs: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug)]
enum Change {
    Put(Key, String),
    PutStamped(Key, String),
    Delete(Key),
    Append(String, String),
    RequireAbsent(Key),
    /// That the key is as it was before the group.
    RequireUnchanged(Key),
}

#[derive(Clone, Debug)]
enum Step {
    /// Batches that are submitted together and then awaited.
    Group(Vec<Vec<Change>>),
    /// Close and open again.
    Restart,
    /// Drop and open again, without a close.
    Abandon,
    /// Open a copy of the files as they are.
    Copy,
}

fn names() -> impl Strategy<Value = String> {
    select(vec!["", "a", "a\0", "a\0b", "a\u{1}", "aa", "b", "\u{10ffff}"]).prop_map(str::to_owned)
}

fn keys() -> impl Strategy<Value = Key> {
    (select(vec![0, 1, 255, 256, u64::MAX]), names())
}

fn changes() -> impl Strategy<Value = Change> {
    let text = "[a-z]{0,3}|x{2000}";
    prop_oneof![
        4 => (keys(), text).prop_map(|(key, text)| Change::Put(key, text)),
        3 => (keys(), text).prop_map(|(key, text)| Change::PutStamped(key, text)),
        3 => keys().prop_map(Change::Delete),
        5 => (names(), text).prop_map(|(stream, text)| Change::Append(stream, text)),
        1 => keys().prop_map(Change::RequireAbsent),
        2 => keys().prop_map(Change::RequireUnchanged),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => vec(vec(changes(), 0..5), 1..5).prop_map(Step::Group),
        1 => Just(Step::Restart),
        1 => Just(Step::Abandon),
        1 => Just(Step::Copy),
    ]
}

impl Model {
    /// Applies a batch; gives the numbers of its appends, or `None` for a conflict.
    fn apply(&mut self, changes: &[Change], before: &Self) -> Option<Vec<u64>> {
        let holds = |change: &Change| match change {
            Change::RequireAbsent(key) => !self.rows.contains_key(key),
            Change::RequireUnchanged(key) => before.rows.get(key).is_none_or(|row| self.rows.get(key) == Some(row)),
            _ => true,
        };
        if !changes.iter().all(holds) {
            return None;
        }
        let mut seqs = Vec::new();
        for change in changes {
            match change.clone() {
                Change::Put(key, text) => drop(self.rows.insert(key, message(&text))),
                Change::PutStamped(key, text) => {
                    if let Some(seq) = seqs.last() {
                        self.rows.insert(key, Message { text, seq: *seq });
                    }
                }
                Change::Delete(key) => drop(self.rows.remove(&key)),
                Change::Append(stream, text) => {
                    let log = self.logs.entry(stream).or_default();
                    log.push(text);
                    seqs.push(log.len() as u64);
                }
                Change::RequireAbsent(_) | Change::RequireUnchanged(_) => {}
            }
        }
        Some(seqs)
    }

    fn check(&self, store: &Store) {
        let reader = store.read().expect("open");
        self.check_rows(&reader);
        self.check_logs(&reader);
        let more: Vec<_> = self.rows.keys().cloned().collect();
        let found = reader.get_many(&MORE_ROWS, &more).expect("readable");
        assert_eq!(found.len(), more.len());
        assert!(found.iter().all(|row| row.as_ref().is_some_and(|row| row.text == "twin")));
    }

    fn check_rows(&self, reader: &Reader<'_>) {
        let expect = |range: KeyRange<Key>, is_in: &dyn Fn(&Key) -> bool| {
            let mut expected: Vec<_> = self.rows.clone().into_iter().filter(|(key, _)| is_in(key)).collect();
            for limit in [1, 2, 1000] {
                let found = reader.scan(&ROWS, range.clone(), limit, Direction::Forward).expect("readable");
                assert_eq!(found, expected.iter().take(limit).cloned().collect::<Vec<_>>());
            }
            expected.reverse();
            for limit in [0, 2, 1000] {
                let found = reader.scan(&ROWS, range.clone(), limit, Direction::Backward).expect("readable");
                assert_eq!(found, expected.iter().take(limit).cloned().collect::<Vec<_>>());
            }
        };
        expect(KeyRange::all(), &|_| true);
        for first in [0, 1, 2, u64::MAX] {
            expect(KeyRange::prefix(&first), &|key| key.0 == first);
            let middle = (first, "a\0".to_owned());
            expect(KeyRange::prefix(&first).after(&middle), &|key| key.0 == first && *key > middle);
            expect(KeyRange::prefix(&first).at_least(&middle), &|key| key.0 == first && *key >= middle);
            expect((..middle.clone()).into(), &|key| *key < middle);
            expect((..=middle.clone()).into(), &|key| *key <= middle);
            expect((middle.clone()..(256, String::new())).into(), &|key| *key >= middle && key.0 < 256);
        }
        for key in [(0, "a".to_owned()), (7, String::new())] {
            assert_eq!(reader.get(&ROWS, &key).expect("readable"), self.rows.get(&key).cloned());
            assert_eq!(reader.contains(&ROWS, &key).expect("readable"), self.rows.contains_key(&key));
        }
    }

    fn check_logs(&self, reader: &Reader<'_>) {
        for stream in ["", "a", "a\0", "a\0b", "a\u{1}", "aa", "b", "\u{10ffff}"].map(str::to_owned) {
            let log = self.logs.get(&stream).cloned().unwrap_or_default();
            assert_eq!(reader.head(&LOG, &stream).expect("readable"), log.len() as u64);
            let entry = |(text, seq): (&String, u64)| (seq, Message { text: text.clone(), seq });
            let all: Vec<_> = log.iter().zip(1..).map(entry).collect();
            for after in [0_u64, 1, 3] {
                let found = reader.scan_log(&LOG, &stream, after, 2).expect("readable");
                let expected: Vec<_> = all.iter().filter(|(seq, _)| *seq > after).take(2).cloned().collect();
                assert_eq!(found, expected);
            }
            for before in [None, Some(0), Some(1), Some(3)] {
                let found = reader.scan_log_back(&LOG, &stream, before, 2).expect("readable");
                let expected = all.iter().rev().filter(|(seq, _)| before.is_none_or(|before| *seq < before));
                assert_eq!(found, expected.take(2).cloned().collect::<Vec<_>>());
            }
        }
    }
}

/// The batch of these changes, and what stands for its appends.
fn batch(changes: &[Change], versions: &HashMap<Key, Versioned<Message>>) -> (Batch, Vec<Appended>) {
    let mut batch = Batch::new();
    let mut appended = Vec::new();
    for change in changes {
        match change {
            Change::Put(key, text) => {
                batch.put(&ROWS, key, &message(text));
                batch.put(&MORE_ROWS, key, &message("twin"));
            }
            Change::PutStamped(key, text) => {
                if let Some(last) = appended.last() {
                    batch.put_stamped(&ROWS, key, &message(text), *last);
                    batch.put(&MORE_ROWS, key, &message("twin"));
                }
            }
            Change::Delete(key) => batch.delete(&ROWS, key),
            Change::Append(stream, text) => appended.push(batch.append(&LOG, stream, &message(text))),
            Change::RequireAbsent(key) => batch.require_absent(&ROWS, key),
            Change::RequireUnchanged(key) => {
                if let Some(version) = versions.get(key) {
                    batch.require_unchanged(&ROWS, key, version);
                }
            }
        }
    }
    (batch, appended)
}

async fn commit_group(store: &Store, group: &[Vec<Change>], model: &mut Model) {
    let before = model.clone();
    let reader = store.read().expect("open");
    let version = |key: &Key| {
        let version = reader.get_versioned(&ROWS, key).expect("readable").expect("in the model");
        (key.clone(), version)
    };
    let versions: HashMap<_, _> = before.rows.keys().map(version).collect();
    drop(reader);
    let submit = |changes: &Vec<Change>| {
        let (batch, appended) = batch(changes, &versions);
        (store.commit(batch), appended)
    };
    let submitted: Vec<_> = group.iter().map(submit).collect();
    for ((commit, appended), changes) in submitted.into_iter().zip(group) {
        let seqs = match commit.await {
            Ok(committed) => Some(appended.into_iter().map(|appended| committed.seq(appended)).collect()),
            Err(CommitError::Conflict) => None,
            Err(error) => panic!("not committed: {error}"),
        };
        assert_eq!(seqs, model.apply(changes, &before));
    }
}

async fn run(mut store: Store, config: Option<&Config>, may_copy: bool, steps: &[Step]) {
    let mut model = Model::default();
    for step in steps {
        match (step, config) {
            (Step::Group(group), _) => commit_group(&store, group, &mut model).await,
            (Step::Restart, Some(config)) => {
                store.close().await;
                store = Store::open(config).expect("closed in order");
            }
            (Step::Abandon, Some(config)) => {
                drop(store);
                store = Store::open(config).expect("abandoned");
            }
            (Step::Copy, Some(config)) if may_copy => {
                let dir = Dir::new();
                let copied = Config { filing: config.filing, ..dir.config() };
                copy(&config.dir, &copied.dir);
                let crashed = Store::open(&copied).expect("a crash at a quiet moment");
                model.check(&crashed);
                crashed.close().await;
                model.check(&Store::open(&copied).expect("closed in order"));
            }
            _ => {}
        }
        model.check(&store);
    }
    store.close().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a fresh directory");
    for entry in fs::read_dir(from).expect("the data directory") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_backend_does_as_the_model(steps in vec(steps(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            run(Store::memory(), None, false, &steps).await;
            let config = ReplicaConfig::new("one").expect("a name");
            let log = Arc::new(MemoryLog::new());
            let (store, replica) = Store::replicated_in_memory(config, log, Arc::new(NoPeers)).expect("memory");
            let mut replicas = JoinSet::new();
            replicas.spawn(replica.run());
            run(store, None, false, &steps).await;
            for (filing, may_copy) in [(BUSY_FILING, false), (STEPWISE_FILING, true), (NO_FILING, true)] {
                let dir = Dir::new();
                let config = Config { filing, ..dir.config() };
                run(Store::open(&config).expect("a fresh directory"), Some(&config), may_copy, &steps).await;
            }
        });
    }
}
