//! What is not seen from outside: the bytes of entries, and which of them count.

mod power;

use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize};

use super::{
    ledger::{Ledger, POSITION, Position, SPOOL, Verdict},
    shared_log::{Epoch, Place},
    wire::{Entry, Identity, Names, WireError, decode, encode, identify, renumber},
};
use crate::storage::{Batch, Log, Record, Table, batch::Step};

const ROWS: Table<u64, Text> = Table::new("rows");
const LOG: Log<String, Text> = Log::new("row_log");

#[derive(Debug, Serialize, Deserialize)]
struct Text(String);

impl Record for Text {
    const VERSION: u8 = 1;
}

fn identity(incarnation: u64, counter: u64) -> Identity {
    Identity { incarnation, counter }
}

fn batch(n: u64, text: &str) -> Batch {
    let text = Text(text.to_owned());
    let mut batch = Batch::new();
    batch.require_absent(&ROWS, &n);
    batch.observe(&LOG, &"a".to_owned());
    let appended = batch.append(&LOG, &"a\0".to_owned(), &text);
    batch.put_stamped(&ROWS, &n, &text, appended);
    batch.put(&ROWS, &(n + 1), &text);
    batch.delete(&ROWS, &(n + 2));
    if n.is_multiple_of(2) {
        batch.may_wait();
    }
    batch
}

fn entry(texts: &[String]) -> bytes::Bytes {
    let batches: Vec<_> = (0..).zip(texts).map(|(n, text)| batch(n, text)).collect();
    encode("one", identity(7, 9), batches.iter())
}

fn read(bytes: &[u8]) -> Result<Entry, WireError> {
    decode(bytes, &mut Names::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_entry_reads_back_as_it_was_written(texts in vec("[a-z]{0,20}", 0..6)) {
        let bytes = entry(&texts);
        let read = read(&bytes).expect("whole");
        prop_assert_eq!((read.author.as_str(), read.identity), ("one", identity(7, 9)));
        let again = encode("one", identity(7, 9), read.batches.iter());
        prop_assert_eq!(&again, &bytes);
        for (read, (n, text)) in read.batches.iter().zip((0..).zip(&texts)) {
            let written = batch(n, text);
            prop_assert_eq!(read.is_patient(), written.is_patient());
            prop_assert_eq!(format!("{:?}", read.steps), format!("{:?}", written.steps));
            prop_assert_eq!(format!("{:?}", read.requirements), format!("{:?}", written.requirements));
        }
        let renumbered = renumber(&bytes, identity(8, 1)).expect("whole");
        prop_assert_eq!(identify(&renumbered), Ok(("one", identity(8, 1))));
        prop_assert_eq!(renumber(&renumbered, identity(7, 9)), Ok(bytes));
    }

    /// Also with a checksum that fits, so that everything behind it is looked at.
    #[test]
    fn changed_bytes_are_damage_or_another_entry_and_never_a_panic(
        texts in vec("[a-z]{0,20}", 0..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = entry(&texts).to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        drop(read(&bytes));
        let (before, _) = bytes.split_last_chunk::<8>().expect("a checksum");
        let mut sealed = before[..=cut.index(before.len())].to_vec();
        sealed.extend(xxhash_rust::xxh3::xxh3_64(&sealed).to_le_bytes());
        if let Ok(entry) = read(&sealed) {
            let size: usize = entry.batches.iter().map(Batch::bytes).sum();
            prop_assert!(size <= sealed.len());
        }
    }

    #[test]
    fn garbage_is_damage(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(read(&bytes).map(drop), Err(WireError::Damaged));
    }
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 8);
    bytes.extend(xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes());
    bytes
}

#[test]
fn a_later_version_is_told_from_damage() {
    let mut later = entry(&["x".to_owned()]).to_vec();
    later[0] = 2;
    assert_eq!(read(&later).map(drop), Err(WireError::Damaged));
    assert_eq!(read(&sealed(later)).map(drop), Err(WireError::Version(2)));
}

#[test]
fn a_number_of_batches_that_are_not_there_costs_nothing() {
    let mut bytes = entry(&[]).to_vec();
    let count = bytes.len() - 12;
    bytes[count..count + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&sealed(bytes)).map(drop), Err(WireError::Damaged));
}

#[test]
fn no_entry_touches_what_a_node_keeps_for_itself() {
    let mut batch = Batch::new();
    batch.put(&POSITION, &0, &Position { epoch: Epoch(1), place: Place::START, digest: 0 });
    assert_eq!(read(&encode("one", identity(1, 1), [&batch].into_iter())).map(drop), Err(WireError::Damaged));
    let mut batch = Batch::new();
    batch.delete(&SPOOL, &1);
    assert_eq!(read(&encode("one", identity(1, 1), [&batch].into_iter())).map(drop), Err(WireError::Damaged));
}

#[test]
fn names_of_tables_are_kept_once_and_not_without_end() {
    let mut names = Names::default();
    let first = names.intern("first").expect("a name");
    assert!(std::ptr::eq(first, names.intern("first").expect("known")));
    assert_eq!(names.intern("No Name"), None);
    assert_eq!(names.intern("journal"), None);
    let taken = (0..2000).filter(|n| names.intern(&format!("table_{n}")).is_some()).count();
    assert_eq!(taken, 1023);
    assert!(names.intern("first").is_some());
}

#[test]
fn only_the_next_entry_of_an_author_counts() {
    let mut ledger = Ledger::default();
    ledger.position = Some(Position::default());
    let mut place = 0;
    let mut see = |incarnation, counter| {
        let identity = identity(incarnation, counter);
        let verdict = ledger.judge("one", identity);
        place += 1;
        let counts = (verdict == Verdict::Next).then_some(("one", identity));
        ledger.advance((Place { major: place, minor: 0 }, &bytes::Bytes::new()), counts, &mut Batch::new());
        verdict
    };
    assert_eq!(see(5, 2), Verdict::Gap, "the first one is missing");
    assert_eq!(see(5, 1), Verdict::Next);
    assert_eq!(see(5, 1), Verdict::Seen);
    assert_eq!(see(5, 3), Verdict::Gap);
    assert_eq!(see(5, 2), Verdict::Next);
    assert_eq!(see(7, 2), Verdict::Gap);
    assert_eq!(see(7, 1), Verdict::Next);
    assert_eq!(see(5, 3), Verdict::Stale, "a later incarnation has begun");
    assert_eq!(see(7, 2), Verdict::Next);
    assert_eq!(ledger.judge("two", identity(1, 1)), Verdict::Next, "of another author");
}

#[test]
fn the_last_entries_are_kept_up_to_a_number_and_a_size() {
    let mut ledger = Ledger::default();
    ledger.position = Some(Position::default());
    let mut kept = 0_usize;
    let mut advance = |major, entry: &bytes::Bytes| {
        let mut batch = Batch::new();
        ledger.advance((Place { major, minor: 0 }, entry), None, &mut batch);
        let is_recent = |step: &&Step| step.row().key().starts_with(b"replica_recent\0");
        let (put, deleted): (Vec<_>, Vec<_>) =
            batch.steps.iter().filter(is_recent).partition(|step| step.row().value().is_some());
        kept = kept + put.len() - deleted.len();
        kept
    };
    for major in 1..=10_005 {
        assert!(advance(major, &bytes::Bytes::from_static(b"small")) <= 10_000);
    }
    let large = bytes::Bytes::from(vec![0; 40 << 20]);
    advance(20_000, &large);
    assert_eq!(advance(20_001, &large), 1, "two do not fit");
}
