//! Damage in an open database: never served, never a panic.

use std::path::{Path, PathBuf};

use hobnob::{
    ids::{ConversationId, MessageId},
    storage::{Batch, CommitError, Direction, Old, OpenError, Record, RecordError, StorageError, Store, Table},
};
use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::support::{CHANGES, Dir, MESSAGES, Message, NO_FILING, message};

const RAW_MESSAGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("messages");
const RAW_JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");

type RawJournal<'a> = redb::Table<'a, u64, &'static [u8]>;

fn id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 12])
}

fn database(dir: &Dir) -> PathBuf {
    dir.config().dir.join("hobnob.redb")
}

async fn filled(dir: &Dir) {
    let store = dir.open().expect("a fresh directory");
    for n in 1..=3 {
        let mut batch = Batch::new();
        let appended = batch.append(&CHANGES, &ConversationId::from_bytes([1; 12]), &message("entry"));
        batch.put_stamped(&MESSAGES, &id(n), &message(&format!("text of {n}")), appended);
        store.commit(batch).await.expect("stored");
    }
    store.close().await;
}

/// Rewrites one value behind the server's back.
fn tamper(path: &Path, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let database = redb::Database::open(path).expect("whole");
    let transaction = database.begin_write().expect("free");
    {
        let mut table = transaction.open_table(RAW_MESSAGES).expect("there");
        let mut value = table.get(key).expect("readable").expect("stored").value().to_vec();
        change(&mut value);
        table.insert(key, value.as_slice()).expect("written");
    }
    transaction.commit().expect("written");
}

fn is_damaged<T>(result: &Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Damaged { table: "messages" }))
}

#[tokio::test]
async fn a_changed_byte_of_a_record_is_never_served() {
    let dir = Dir::new();
    filled(&dir).await;
    let len = {
        let database = redb::Database::open(database(&dir)).expect("whole");
        let table = database.begin_read().expect("open").open_table(RAW_MESSAGES).expect("there");
        table.get(id(2).as_bytes().as_slice()).expect("readable").expect("stored").value().len()
    };
    for place in 0..len {
        tamper(&database(&dir), id(2).as_bytes(), |value| value[place] ^= 0x10);
        let store = dir.open().expect("whole but for one record");
        assert!(is_damaged(&store.get(&MESSAGES, &id(2))), "byte {place}");
        if place == 0 {
            assert!(is_damaged(&store.get_versioned(&MESSAGES, &id(2))));
            assert!(is_damaged(&store.get_many(&MESSAGES, &[id(1), id(2)])));
            assert!(is_damaged(&store.scan(&MESSAGES, .., 10, Direction::Backward)));
            assert_eq!(store.scan(&MESSAGES, id(3).., 10, Direction::Forward).expect("beside").len(), 1);
            assert!(store.get(&MESSAGES, &id(1)).expect("beside").is_some());
        }
        drop(store);
        tamper(&database(&dir), id(2).as_bytes(), |value| value[place] ^= 0x10);
    }
    let store = dir.open().expect("mended");
    assert_eq!(store.get(&MESSAGES, &id(2)).expect("mended").map(|row| row.seq), Some(2));
}

#[tokio::test]
async fn a_record_in_the_place_of_another_is_damage() {
    let dir = Dir::new();
    filled(&dir).await;
    let mut other = Vec::new();
    tamper(&database(&dir), id(1).as_bytes(), |value| other.clone_from(value));
    tamper(&database(&dir), id(2).as_bytes(), |value| *value = other);
    assert!(is_damaged(&dir.open().expect("whole as a file").get(&MESSAGES, &id(2))));
}

#[tokio::test]
async fn a_value_too_short_to_be_a_record_is_damage() {
    let dir = Dir::new();
    filled(&dir).await;
    for len in [16, 8, 1, 0] {
        tamper(&database(&dir), id(2).as_bytes(), |value| value.truncate(len));
        assert!(is_damaged(&dir.open().expect("whole as a file").get(&MESSAGES, &id(2))), "{len} bytes");
    }
}

mod later {
    use super::{Deserialize, Old, Record, RecordError, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Message {
        pub(super) text: String,
        pub(super) length: u64,
        pub(super) seq: u64,
    }

    impl Record for Message {
        const VERSION: u8 = 2;

        fn upgrade(old: Old<'_>) -> Result<Self, RecordError> {
            let old: super::Message = old.read()?;
            Ok(Self { length: old.text.len() as u64, text: old.text, seq: 0 })
        }

        fn stamp(&mut self, seq: u64) {
            self.seq = seq;
        }
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Third {
        pub(super) text: String,
    }

    impl Record for Third {
        const VERSION: u8 = 3;

        fn upgrade(old: Old<'_>) -> Result<Self, RecordError> {
            old.read().map(|old: Message| Self { text: old.text })
        }
    }
}

#[tokio::test]
async fn every_earlier_version_is_read_and_no_later_one() {
    const SECOND: Table<MessageId, later::Message> = Table::new("messages");
    const THIRD: Table<MessageId, later::Third> = Table::new("messages");
    let dir = Dir::new();
    filled(&dir).await;
    let store = dir.open().expect("whole");
    let second = store.get(&SECOND, &id(3)).expect("upgraded").expect("stored");
    assert_eq!((second.text.as_str(), second.length, second.seq), ("text of 3", 9, 3));
    assert_eq!(store.get(&THIRD, &id(3)).expect("upgraded twice").map(|row| row.text).as_deref(), Some("text of 3"));

    let mut batch = Batch::new();
    batch.put(&SECOND, &id(3), &second);
    store.commit(batch).await.expect("stored");
    let refused = store.get(&MESSAGES, &id(3));
    assert!(matches!(refused, Err(StorageError::UnknownVersion { table: "messages", version: 2 })));
    assert_eq!(store.get(&THIRD, &id(3)).expect("upgraded").map(|row| row.text).as_deref(), Some("text of 3"));
}

#[tokio::test]
async fn a_damaged_or_missing_journal_row_stops_the_start() {
    let dir = Dir::new();
    let mut config = dir.config();
    config.filing = NO_FILING;
    let store = Store::open(&config).expect("a fresh directory");
    for n in 1..=3 {
        let mut batch = Batch::new();
        batch.put(&MESSAGES, &id(n), &message("x"));
        store.commit(batch).await.expect("stored");
    }
    drop(store);
    let changed = |change: &dyn Fn(&mut RawJournal<'_>)| {
        let copy = Dir::new();
        let to = copy.config().dir;
        std::fs::create_dir(&to).expect("made");
        for name in ["hobnob.redb", "FORMAT"] {
            std::fs::copy(config.dir.join(name), to.join(name)).expect("copied");
        }
        let database = redb::Database::open(database(&copy)).expect("whole");
        let transaction = database.begin_write().expect("free");
        change(&mut transaction.open_table(RAW_JOURNAL).expect("there"));
        transaction.commit().expect("written");
        drop(database);
        copy.open().map(drop)
    };
    changed(&|_| {}).expect("whole");
    let flipped = changed(&|journal| {
        let mut row = journal.get(2).expect("readable").expect("stored").value().to_vec();
        row[12] ^= 1;
        journal.insert(2, row.as_slice()).expect("written");
    });
    assert!(matches!(flipped, Err(OpenError::Damaged { .. })), "{flipped:?}");
    let missing = changed(&|journal| drop(journal.remove(2).expect("written")));
    assert!(matches!(missing, Err(OpenError::Damaged { .. })), "{missing:?}");
    let moved = changed(&|journal| {
        let row = journal.remove(3).expect("written").expect("stored").value().to_vec();
        journal.insert(4, row.as_slice()).expect("written");
    });
    assert!(matches!(moved, Err(OpenError::Damaged { .. })), "{moved:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever has become of the file: what is read is what was written, or an error.
    #[test]
    fn a_damaged_file_is_an_error_or_does_not_matter(
        (place, damage) in (any::<prop::sample::Index>(), prop_oneof![(1..=255_u8).prop_map(Some), Just(None)]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let dir = Dir::new();
            filled(&dir).await;
            let mut bytes = std::fs::read(database(&dir)).expect("readable");
            // The second half of the file has nothing in it yet.
            let used = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
            let place = place.index(used);
            match damage {
                Some(mask) => bytes[place] ^= mask,
                None => bytes[place / 4096 * 4096..].iter_mut().take(4096).for_each(|byte| *byte = 0),
            }
            std::fs::write(database(&dir), &bytes).expect("written");
            match dir.open() {
                Ok(store) => use_damaged(&store).await,
                Err(_) => assert!(bytes == std::fs::read(database(&dir)).expect("readable"), "changed"),
            }
        });
    }
}

async fn use_damaged(store: &Store) {
    for n in 1..=3 {
        if let Ok(found) = store.get(&MESSAGES, &id(n)) {
            let expected = Message { text: format!("text of {n}"), seq: n.into() };
            // A lost key is the one thing that only verifying finds.
            assert!(found.is_none_or(|found| found == expected));
        }
    }
    drop(store.scan(&MESSAGES, .., 10, Direction::Forward));
    drop(store.scan_log(&CHANGES, &ConversationId::from_bytes([1; 12]), 0, 10));
    let mut batch = Batch::new();
    batch.append(&CHANGES, &ConversationId::from_bytes([1; 12]), &message("more"));
    batch.put(&MESSAGES, &id(2), &message("other"));
    match store.commit(batch).await {
        Ok(_) | Err(CommitError::Unavailable | CommitError::Read(_)) => {}
        Err(error) => panic!("{error}"),
    }
    store.close().await;
}
