//! Copies of a whole database, from node to node: all rows at one place of the log.
//!
//! ```text
//! copy:   chunk* ; the first is a header, the last the end
//! chunk:  length of body u32 LE | xxh3-64 LE over its number and body | body
//! header: 0 | "hobnob" | version u8
//! rows:   1 | name's length u8 | name | { key's length u32 | value's length u32 | key | value }*
//! end:    2 | tables u64 | rows u64 | the checksums of all chunks before, folded: xxh3-64 LE over the result so far and the next
//! ```

use std::{
    collections::BTreeSet,
    io::{self, Read},
    mem,
    ops::ControlFlow,
    sync::Arc,
};

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{
    ledger::{self, POSITION, Position, RECENT, SPOOL, put_raw, recent_after, spooled, spooled_entry},
    shared_log::{Epoch, Place},
    wire::{self, Identity, Names},
};
use crate::storage::{
    batch::Batch,
    disk::{Changes, Disk},
    error::StorageError,
    open::{Config, Opened, fill, open},
    open_error::OpenError,
    range::Direction,
    reader::Reader,
    record::{CHECKSUM_BYTES, HEADER_BYTES},
    row::{Row, split_key},
    snapshot::Snapshot,
    table::is_of_node,
};

const VERSION: u8 = 1;
const HEADER: u8 = 0;
const ROWS: u8 = 1;
const END: u8 = 2;
const MAGIC: &[u8] = b"hobnob";

/// Bytes from which on a chunk takes no more rows.
const CHUNK_BYTES: usize = 256 << 10;
/// Longest chunk that is read: one row beyond [`CHUNK_BYTES`].
const MAX_CHUNK_BYTES: usize = 4 << 20;
/// Bytes that are written in one transaction of an import.
const TRANSACTION_BYTES: usize = 16 << 20;

/// Whether a table is copied: what a node keeps for itself is not.
fn is_copied(table: &str) -> bool {
    table != SPOOL.name() && table != RECENT.name() && !is_of_node(table.as_bytes())
}

/// The tables of which there is something in `snapshot`.
fn tables(snapshot: &Snapshot) -> Result<Vec<&'static str>, StorageError> {
    let mut all = BTreeSet::new();
    if let Some(base) = &snapshot.base {
        all.extend(base.tables()?);
    }
    for layer in &snapshot.layers {
        all.extend(layer.rows().iter().filter_map(|row| split_key(row.key())).map(|(name, _)| name.to_owned()));
    }
    let mut names = Names::default();
    Ok(all.iter().filter_map(|name| names.intern(name)).collect())
}

/// Whether there is any row of a feature.
pub(super) fn has_rows(snapshot: &Snapshot) -> Result<bool, StorageError> {
    let mut found = false;
    for table in tables(snapshot)?.into_iter().filter(|table| !ledger::is_own(table)) {
        snapshot.scan(table, (&[], None), Direction::Forward, |_, _| {
            found = true;
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(found)
}

/// All rows of a store at one moment, as a stream of chunks. What is committed meanwhile is not in it.
#[derive(Debug)]
pub struct Export {
    snapshot: Arc<Snapshot>,
    position: Position,
    tables: Vec<&'static str>,
    /// The key that comes next in the last of `tables`; empty at its beginning.
    next_key: Vec<u8>,
    chunks: u64,
    counted_tables: u64,
    rows: u64,
    checksums: u64,
    is_over: bool,
}

impl Export {
    /// Begins with what `snapshot` shows.
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Result<Self, StorageError> {
        if snapshot.provisional > 0 {
            return Err(StorageError::Unavailable);
        }
        let position = Reader::new(Arc::clone(&snapshot)).get(&POSITION, &0)?.ok_or(StorageError::Unavailable)?;
        let tables = tables(&snapshot)?.into_iter().rev().filter(|table| is_copied(table)).collect();
        Ok(Self {
            snapshot,
            position,
            tables,
            next_key: Vec::new(),
            chunks: 0,
            counted_tables: 0,
            rows: 0,
            checksums: 0,
            is_over: false,
        })
    }

    /// Which log the rows come from, and up to which entry.
    pub fn position(&self) -> (Epoch, Place) {
        (self.position.epoch, self.position.place)
    }

    /// The next chunk of the stream; `None` after the last. Reads from the disk: about a millisecond.
    ///
    /// # Errors
    ///
    /// When a row cannot be read. The receiver finds the copy incomplete then.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        if self.is_over {
            return Ok(None);
        }
        let body = if self.chunks == 0 {
            [&[HEADER], MAGIC, &[VERSION]].concat()
        } else if let Some(rows) = self.next_rows()? {
            rows
        } else {
            self.is_over = true;
            let mut end = vec![END];
            end.extend_from_slice(&self.counted_tables.to_le_bytes());
            end.extend_from_slice(&self.rows.to_le_bytes());
            end.extend_from_slice(&self.checksums.to_le_bytes());
            end
        };
        let checksum = checksum(self.chunks, &body);
        self.chunks += 1;
        self.checksums = self::checksum(self.checksums, &checksum.to_le_bytes());
        let mut chunk = Vec::with_capacity(body.len() + 12);
        push_length(body.len(), &mut chunk);
        chunk.extend_from_slice(&checksum.to_le_bytes());
        chunk.extend_from_slice(&body);
        Ok(Some(chunk))
    }

    /// The next rows of one table; `None` when there are no more.
    fn next_rows(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        while let Some(table) = self.tables.last() {
            let mut body = vec![ROWS, u8::try_from(table.len()).unwrap_or(u8::MAX)];
            body.extend_from_slice(table.as_bytes());
            let (mut rows, mut last) = (0, Vec::new());
            let is_begun = !self.next_key.is_empty();
            let mut is_full = false;
            self.snapshot.scan(table, (&self.next_key, None), Direction::Forward, |key, value| {
                if body.len() >= CHUNK_BYTES {
                    is_full = true;
                    return Ok(ControlFlow::Break(()));
                }
                push_length(key.len(), &mut body);
                push_length(value.len(), &mut body);
                body.extend_from_slice(key);
                body.extend_from_slice(value);
                rows += 1;
                last.clear();
                last.extend_from_slice(key);
                Ok(ControlFlow::Continue(()))
            })?;
            if is_full {
                // The lowest key above the last one.
                last.push(0);
                self.next_key = last;
            } else {
                self.tables.pop();
                self.next_key.clear();
            }
            if rows > 0 {
                self.counted_tables += u64::from(!is_begun);
                self.rows += rows;
                return Ok(Some(body));
            }
        }
        Ok(None)
    }
}

/// What a node has that no other one may have: entries that it applied last, and its spool.
#[derive(Debug)]
pub struct Carried {
    entries: Vec<(Identity, Bytes)>,
}

impl Carried {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { entries: Vec::new() }
    }

    /// What the database of `config`, that of the node `node`, has. It is to be closed.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn of(config: &Config, node: &str) -> Result<Self, OpenError> {
        let Opened { disk, replay, lock } = open(config)?;
        let layers = replay.groups.into_iter().rev().map(Arc::new).collect();
        let failed = |error| OpenError::redb(&config.database(), error);
        let base = Some(disk.base().map_err(failed)?);
        let snapshot = Snapshot { layers, base, provisional: 0 };
        let carried = Self::read(&snapshot, node)
            .map_err(|error| OpenError::Damaged { path: config.database(), detail: error.to_string() });
        drop(snapshot);
        disk.close().map_err(failed)?;
        drop(lock);
        carried
    }

    fn read(snapshot: &Snapshot, node: &str) -> Result<Self, StorageError> {
        let mut entries = Vec::new();
        for recent in recent_after(snapshot, None)? {
            if let Ok((author, identity)) = wire::identify(&recent.entry)
                && author == node
            {
                entries.push((identity, recent.entry));
            }
        }
        for (number, identity, _) in spooled(snapshot)? {
            entries.extend(spooled_entry(snapshot, number)?.map(|entry| (identity, entry)));
        }
        entries.sort_by_key(|(identity, _)| *identity);
        entries.dedup_by_key(|(identity, _)| *identity);
        Ok(Self { entries })
    }
}

/// Why a copy was not taken over. Nothing has changed then.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The stream broke off, or this disk failed.
    #[error("cannot copy the database of another node")]
    Io(#[from] io::Error),
    /// The stream is not what the other node sent.
    #[error("the copy of another node's database is damaged: {0}")]
    Damaged(&'static str),
    /// The other node runs another version of the server.
    #[error("the copy of another node's database has version {0}, which this server does not know")]
    Version(u8),
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// How many rows.
    pub rows: u64,
    /// Entries of this node that are to be appended when it takes part again, unless the log has them.
    pub carried: usize,
}

/// Makes the database of `config` from a copy, with what is `carried` over in its spool. A database that is there is replaced, in one
/// step at the end: whatever happens before that, it stays.
///
/// # Errors
///
/// See [`ImportError`].
pub fn import(config: &Config, copy: &mut impl Read, carried: &Carried) -> Result<Imported, ImportError> {
    let mut failure = None;
    let mut imported = Imported { rows: 0, carried: carried.entries.len() };
    let filled = fill(config, |disk| {
        let result = read_copy(disk, copy).and_then(|rows| {
            imported.rows = rows;
            write_spool(disk, carried)
        });
        result.map_err(|error| {
            failure = Some(error);
            io::Error::other("not copied")
        })
    });
    match (filled, failure) {
        (Ok(()), _) => Ok(imported),
        (Err(_), Some(failure)) => Err(failure),
        (Err(error), None) => Err(error.into()),
    }
}

fn write_spool(disk: &Disk, carried: &Carried) -> Result<(), ImportError> {
    let mut rows = Vec::new();
    for (number, (_, entry)) in (1_u64..).zip(&carried.entries) {
        let mut batch = Batch::new();
        put_raw(&mut batch, &SPOOL, &number, entry);
        rows.extend(batch.steps.iter().map(|step| step.row().clone()));
    }
    write(disk, &mut rows)
}

fn read_copy(disk: &Disk, copy: &mut impl Read) -> Result<u64, ImportError> {
    let (mut chunks, mut checksums) = (0, 0);
    let (mut rows, mut tables, mut counted) = (Vec::new(), BTreeSet::new(), 0);
    let mut bytes = 0;
    loop {
        let before = checksums;
        let body = read_chunk(copy, chunks, &mut checksums)?;
        chunks += 1;
        match (body.split_first(), chunks) {
            (Some((&HEADER, rest)), 1) => match rest.strip_prefix(MAGIC) {
                Some([VERSION]) => {}
                Some([version, ..]) => return Err(ImportError::Version(*version)),
                Some([]) | None => return Err(ImportError::Damaged("it is none")),
            },
            (Some((&ROWS, rest)), 2..) => {
                let taken = rows.len();
                let name = take_rows(rest, &mut rows).ok_or(ImportError::Damaged("a row makes no sense"))?;
                tables.insert(name);
                counted += (rows.len() - taken) as u64;
                bytes += body.len();
                if bytes >= TRANSACTION_BYTES {
                    write(disk, &mut rows)?;
                    bytes = 0;
                }
            }
            (Some((&END, rest)), 2..) => {
                check_end(rest, (tables.len() as u64, counted, before))?;
                if copy.read(&mut [0])? > 0 {
                    return Err(ImportError::Damaged("it goes on behind its end"));
                }
                write(disk, &mut rows)?;
                return Ok(counted);
            }
            _ => return Err(ImportError::Damaged("a chunk is not in its place")),
        }
    }
}

fn read_chunk(copy: &mut impl Read, number: u64, checksums: &mut u64) -> Result<Vec<u8>, ImportError> {
    let (mut length, mut sum) = ([0; 4], [0; 8]);
    copy.read_exact(&mut length)?;
    copy.read_exact(&mut sum)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_CHUNK_BYTES {
        return Err(ImportError::Damaged("a chunk is too long"));
    }
    let mut body = vec![0; length];
    copy.read_exact(&mut body)?;
    if checksum(number, &body) != u64::from_le_bytes(sum) {
        return Err(ImportError::Damaged("a chunk fails its checksum"));
    }
    *checksums = checksum(*checksums, &sum);
    Ok(body)
}

/// The rows of a chunk, and the name of their table.
fn take_rows(body: &[u8], rows: &mut Vec<Row>) -> Option<String> {
    let (len, rest) = body.split_first()?;
    let (name, mut rest) = rest.split_at_checked(usize::from(*len))?;
    let name = str::from_utf8(name).ok().filter(|name| crate::storage::table::is_valid(name) && is_copied(name))?;
    while !rest.is_empty() {
        let key_len = take_length(&mut rest)?;
        let value_len = take_length(&mut rest)?;
        let (key, behind) = rest.split_at_checked(key_len)?;
        let (value, behind) = behind.split_at_checked(value_len)?;
        rest = behind;
        let bytes = [name.as_bytes(), &[0], key, value].concat();
        // That of the record covers its table and key, too.
        let (before, sum) = bytes.split_last_chunk()?;
        if value_len < HEADER_BYTES + CHECKSUM_BYTES || xxh3_64(before) != u64::from_le_bytes(*sum) {
            return None;
        }
        rows.push(Row::new(&bytes, name.len() + 1 + key_len));
    }
    Some(name.to_owned())
}

/// Compares the end with tables, rows and checksums found.
fn check_end(mut rest: &[u8], found: (u64, u64, u64)) -> Result<(), ImportError> {
    let mut take = || {
        let (number, behind) = rest.split_first_chunk()?;
        rest = behind;
        Some(u64::from_le_bytes(*number))
    };
    let (tables, rows, checksums) = (take(), take(), take());
    let all_there = (tables, rows) == (Some(found.0), Some(found.1));
    if all_there && checksums == Some(found.2) && rest.is_empty() {
        Ok(())
    } else {
        Err(ImportError::Damaged("its parts are not those that were sent"))
    }
}

fn write(disk: &Disk, rows: &mut Vec<Row>) -> Result<(), ImportError> {
    let mut sorted = mem::take(rows);
    sorted.sort();
    let changes = Changes { filed: &sorted, ..Changes::default() };
    disk.write(&changes).map_err(|error| {
        ImportError::Io(match error {
            redb::Error::Io(error) => error,
            error => io::Error::other(error),
        })
    })
}

fn checksum(number: u64, body: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(body);
    hasher.digest()
}

/// Rows are far smaller than 4 GiB.
fn push_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (length, behind) = rest.split_first_chunk()?;
    *rest = behind;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}
