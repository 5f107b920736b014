//! What a node remembers of the log, in tables of its own: how far it is, whose entry comes next, the last entries, and the spool.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    shared_log::{Epoch, Place},
    wire::{self, Identity},
};
use crate::storage::{
    batch::{Batch, Step},
    error::StorageError,
    key::Key,
    range::Direction,
    reader::Reader,
    record::{CHECKSUM_BYTES, HEADER_BYTES, Record},
    row::{Row, row_key},
    snapshot::Snapshot,
    table::{Table, is_of_node},
};

/// How far this node has applied the log: one row, changed in the transaction of each entry.
pub(crate) const POSITION: Table<u64, Position> = Table::new("replica_position");
/// The last entry of each node that counted. The same on all nodes, as it decides what counts next.
pub(crate) const AUTHORS: Table<String, Author> = Table::new("replica_authors");
/// The last entries of the log, each behind the place of its predecessor: for a log that has lost its end.
pub(crate) const RECENT: Table<Place, Raw> = Table::new("replica_recent");
/// Entries of this node that are not in the log for certain, in the order in which they are to get there.
pub(crate) const SPOOL: Table<u64, Raw> = Table::new("replica_spool");

/// Most entries in [`RECENT`].
const MAX_RECENT: usize = 10_000;
/// Most bytes of entries in [`RECENT`], the last one aside.
const MAX_RECENT_BYTES: usize = 64 << 20;

/// Whether a table is one of these: no entry of the log may change them.
pub(crate) fn is_own(table: &str) -> bool {
    table.starts_with("replica_") || is_of_node(table.as_bytes())
}

/// A value that is no record: the bytes of an entry, which has a version and a checksum of its own.
pub(crate) enum Raw {}

/// Which entry was the last one, version 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) epoch: Epoch,
    pub(crate) place: Place,
    /// Of the entry's bytes; 0 before the first.
    pub(crate) digest: u64,
}

impl Position {
    /// Whether this node has not applied any entry.
    pub(crate) fn is_first(&self) -> bool {
        self.place <= Place::FOUNDED
    }
}

impl Record for Position {
    const VERSION: u8 = 1;
}

/// The last entry of one node, version 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Author(Identity);

impl Record for Author {
    const VERSION: u8 = 1;
}

impl Key for Place {
    fn encode(&self, out: &mut Vec<u8>) {
        self.major.encode(out);
        self.minor.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        Some(Self { major: u64::decode(input)?, minor: u64::decode(input)? })
    }
}

/// Whether an entry counts, given those of its author that did before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one: the only one that counts.
    Next,
    /// It has counted already.
    Seen,
    /// One before it is missing; its author appends both again.
    Gap,
    /// A later incarnation of its author has begun.
    Stale,
}

/// The tables in memory, ahead of the disk by what the writer has not stored yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) position: Option<Position>,
    authors: BTreeMap<String, Identity>,
    recent: VecDeque<(Place, usize)>,
    recent_bytes: usize,
}

impl Ledger {
    pub(crate) fn load(reader: &Reader<'_>, snapshot: &Snapshot) -> Result<Self, StorageError> {
        let position = reader.get(&POSITION, &0)?;
        let authors = reader.scan(&AUTHORS, .., usize::MAX, Direction::Forward)?;
        let mut ledger = Self {
            position,
            authors: authors.into_iter().map(|(name, author)| (name, author.0)).collect(),
            ..Self::default()
        };
        scan_raw(snapshot, &RECENT, |place, body| ledger.remember(place, body.len()))?;
        Ok(ledger)
    }

    /// The last entry of `author` that counted.
    pub(crate) fn last_of(&self, author: &str) -> Option<Identity> {
        self.authors.get(author).copied()
    }

    pub(crate) fn judge(&self, author: &str, identity: Identity) -> Verdict {
        let last = self.last_of(author).unwrap_or_default();
        if identity.incarnation < last.incarnation {
            Verdict::Stale
        } else if identity.incarnation > last.incarnation {
            if identity.counter == 1 { Verdict::Next } else { Verdict::Gap }
        } else if identity.counter <= last.counter {
            Verdict::Seen
        } else if identity.counter == last.counter.saturating_add(1) {
            Verdict::Next
        } else {
            Verdict::Gap
        }
    }

    /// Moves behind the entry at `place`, whose author is given when it counts, and puts what changes into `batch`.
    pub(crate) fn advance(
        &mut self,
        (place, entry): (Place, &Bytes),
        counts: Option<(&str, Identity)>,
        batch: &mut Batch,
    ) {
        let Some(before) = self.position else { return };
        let position = Position { epoch: before.epoch, place, digest: digest(entry) };
        self.position = Some(position);
        batch.put(&POSITION, &0, &position);
        if let Some((author, identity)) = counts {
            self.authors.insert(author.to_owned(), identity);
            batch.put(&AUTHORS, &author.to_owned(), &Author(identity));
        }
        put_raw(batch, &RECENT, &place, &recent_body(before.place, entry));
        self.remember(place, entry.len());
        while (self.recent.len() > MAX_RECENT || self.recent_bytes > MAX_RECENT_BYTES) && self.recent.len() > 1 {
            let Some((oldest, bytes)) = self.recent.pop_front() else { return };
            self.recent_bytes = self.recent_bytes.saturating_sub(bytes);
            batch.delete(&RECENT, &oldest);
        }
    }

    fn remember(&mut self, place: Place, bytes: usize) {
        self.recent.push_back((place, bytes));
        self.recent_bytes += bytes;
    }
}

/// What two entries with the same bytes have in common.
pub(crate) fn digest(entry: &[u8]) -> u64 {
    xxh3_64(entry)
}

/// Where the kept entries are in the log.
pub(crate) fn recent_places(snapshot: &Snapshot) -> Result<Vec<Place>, StorageError> {
    let mut places = Vec::new();
    scan_raw(snapshot, &RECENT, |place, _| places.push(place))?;
    Ok(places)
}

/// An entry that this node has applied.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    pub(crate) previous: Place,
    pub(crate) place: Place,
    pub(crate) entry: Bytes,
}

/// The kept entries after `after`, oldest first.
pub(crate) fn recent_after(snapshot: &Snapshot, after: Option<Place>) -> Result<Vec<Recent>, StorageError> {
    let mut found = Vec::new();
    scan_raw(snapshot, &RECENT, |place: Place, body| {
        if after.is_none_or(|after| place > after)
            && let Some((previous, entry)) = open_recent(body)
        {
            found.push(Recent { previous, place, entry: Bytes::copy_from_slice(entry) });
        }
    })?;
    Ok(found)
}

fn recent_body(previous: Place, entry: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(16 + entry.len());
    previous.encode(&mut body);
    body.extend_from_slice(entry);
    body
}

fn open_recent(mut body: &[u8]) -> Option<(Place, &[u8])> {
    Some((Place::decode(&mut body)?, body))
}

/// Which entries are in the spool: number, identity and size.
pub(crate) fn spooled(snapshot: &Snapshot) -> Result<Vec<(u64, Identity, usize)>, StorageError> {
    let (mut found, mut damaged) = (Vec::new(), false);
    scan_raw(snapshot, &SPOOL, |number, entry| match wire::identify(entry) {
        Ok((_, identity)) => found.push((number, identity, entry.len())),
        Err(_) => damaged = true,
    })?;
    // It was acknowledged: to pass over it would be a loss that nobody hears of.
    if damaged { Err(StorageError::Damaged { table: SPOOL.name() }) } else { Ok(found) }
}

/// The entry `number` of the spool.
pub(crate) fn spooled_entry(snapshot: &Snapshot, number: u64) -> Result<Option<Bytes>, StorageError> {
    let key = row_key(SPOOL.name(), &number);
    let found = snapshot.get(SPOOL.name(), &key, |value| body_of(value).map(Bytes::copy_from_slice))?;
    Ok(found.flatten())
}

/// Stores bytes as they are, whatever their size.
pub(crate) fn put_raw<K: Key>(batch: &mut Batch, table: &Table<K, Raw>, key: &K, body: &[u8]) {
    let mut bytes = row_key(table.name(), key);
    let key_len = bytes.len();
    bytes.reserve(HEADER_BYTES + body.len() + CHECKSUM_BYTES);
    bytes.push(1);
    bytes.extend_from_slice(&[0; HEADER_BYTES - 1]);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
    let mut row = Row::new(&bytes, key_len);
    row.seal(0);
    batch.steps.push(Step::Put(row));
}

fn scan_raw<K: Key>(
    snapshot: &Snapshot,
    table: &Table<K, Raw>,
    mut see: impl FnMut(K, &[u8]),
) -> Result<(), StorageError> {
    snapshot.scan(table.name(), (&[], None), Direction::Forward, |mut key, value| {
        let damaged = || StorageError::Damaged { table: table.name() };
        let key = K::decode(&mut key).ok_or_else(damaged)?;
        see(key, body_of(value).ok_or_else(damaged)?);
        Ok(ControlFlow::Continue(()))
    })
}

fn body_of(value: &[u8]) -> Option<&[u8]> {
    value.get(HEADER_BYTES..value.len().checked_sub(CHECKSUM_BYTES)?)
}
