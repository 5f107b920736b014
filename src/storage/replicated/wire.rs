//! Entries of the shared log as bytes.
//!
//! ```text
//! entry:       version u8 | author's length u8 | author | incarnation u64 | counter u64 | batches u32 | batch*
//!              | xxh3-64 over all before
//! batch:       may wait u8 | requirements u32 | requirement* | steps u32 | step*
//! requirement: key's length u32 | length of key and value u32 | key | value, empty: nothing may be there
//! step:        kind u8 | for a stamped value: number of the append u32 | row, as in a requirement
//! ```
//!
//! Later versions keep the first byte and the checksum. Numbers are little-endian. Keys begin with the name of their table and a zero byte, values are envelopes of records.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::ledger;
use crate::storage::{
    batch::{Appended, Batch, Requirement, Step},
    record::{CHECKSUM_BYTES, HEADER_BYTES},
    row::{Row, split_key},
    table::is_valid,
};

const VERSION: u8 = 1;

/// Longest name of a node in bytes.
pub const MAX_NODE_BYTES: usize = 128;

/// Most different tables and logs that are told apart. Their names are kept for as long as the process lives.
const MAX_NAMES: usize = 1024;

const PUT: u8 = 0;
const PUT_STAMPED: u8 = 1;
const APPEND: u8 = 2;
const OBSERVE: u8 = 3;

/// Which entry of its author one is: incarnations rise from start to start, counters within one by one from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) incarnation: u64,
    pub(crate) counter: u64,
}

/// What some node wanted stored.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) author: String,
    pub(crate) identity: Identity,
    pub(crate) batches: Vec<Batch>,
}

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum WireError {
    /// It is one of a later server. To pass it over would make this node differ from the others.
    #[error("an entry has version {0}, which this server does not know")]
    Version(u8),
    /// No server makes such bytes, so every node passes them over.
    #[error("an entry is damaged")]
    Damaged,
}

/// The names of tables met so far. A name is leaked once, so that it lives as long as one from the code.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<&'static str>);

impl Names {
    /// The name as one that lives for ever; `None` when it is none, or one too many.
    pub(crate) fn intern(&mut self, name: &str) -> Option<&'static str> {
        if let Some(known) = self.0.get(name) {
            return Some(known);
        }
        if !is_valid(name) || self.0.len() >= MAX_NAMES {
            return None;
        }
        let name: &'static str = Box::leak(name.into());
        self.0.insert(name);
        Some(name)
    }
}

/// The bytes of an entry.
pub(crate) fn encode<'a>(author: &str, identity: Identity, batches: impl ExactSizeIterator<Item = &'a Batch>) -> Bytes {
    let mut out = head(author, identity);
    push_count(batches.len(), &mut out);
    for batch in batches {
        out.push(u8::from(batch.is_patient()));
        push_count(batch.requirements.len(), &mut out);
        for requirement in &batch.requirements {
            match &requirement.expected {
                Some(row) => push_row(row, &mut out),
                None => push_row(&Row::new(&requirement.key, requirement.key.len()), &mut out),
            }
        }
        push_count(batch.steps.len(), &mut out);
        for step in &batch.steps {
            match step {
                Step::Put(_) => out.push(PUT),
                Step::Observe(..) => out.push(OBSERVE),
                Step::PutStamped(_, appended) => {
                    out.push(PUT_STAMPED);
                    push_count(appended.0, &mut out);
                }
                Step::Append(..) => out.push(APPEND),
            }
            push_row(step.row(), &mut out);
        }
    }
    seal(out)
}

/// Who made an entry, and which one it is.
pub(crate) fn identify(bytes: &[u8]) -> Result<(&str, Identity), WireError> {
    let (author, identity, _) = open(bytes)?;
    Ok((author, identity))
}

/// The same entry under another identity.
pub(crate) fn renumber(bytes: &[u8], identity: Identity) -> Result<Bytes, WireError> {
    let (author, _, batches) = open(bytes)?;
    let mut out = head(author, identity);
    out.extend_from_slice(batches);
    Ok(seal(out))
}

/// Reads an entry. Of what it is given it allocates no more than the size of that.
pub(crate) fn decode(bytes: &[u8], names: &mut Names) -> Result<Entry, WireError> {
    let (author, identity, mut rest) = open(bytes)?;
    let batches = decode_batches(&mut rest, names).filter(|_| rest.is_empty()).ok_or(WireError::Damaged)?;
    Ok(Entry { author: author.to_owned(), identity, batches })
}

fn head(author: &str, identity: Identity) -> Vec<u8> {
    let mut out = vec![VERSION, u8::try_from(author.len()).unwrap_or(u8::MAX)];
    out.extend_from_slice(author.as_bytes());
    out.extend_from_slice(&identity.incarnation.to_le_bytes());
    out.extend_from_slice(&identity.counter.to_le_bytes());
    out
}

fn seal(mut out: Vec<u8>) -> Bytes {
    out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
    out.into()
}

/// Author, identity, and the bytes of the batches.
fn open(bytes: &[u8]) -> Result<(&str, Identity, &[u8]), WireError> {
    let version = *bytes.first().ok_or(WireError::Damaged)?;
    let (before, checksum) = bytes.split_last_chunk().ok_or(WireError::Damaged)?;
    if xxh3_64(before) != u64::from_le_bytes(*checksum) {
        return Err(WireError::Damaged);
    }
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let parts = || {
        let (_, rest) = before.split_first()?;
        let (len, rest) = rest.split_first()?;
        let (author, rest) = rest.split_at_checked(usize::from(*len))?;
        let author =
            str::from_utf8(author).ok().filter(|author| !author.is_empty() && author.len() <= MAX_NODE_BYTES)?;
        let (incarnation, rest) = rest.split_first_chunk()?;
        let (counter, rest) = rest.split_first_chunk()?;
        let identity =
            Identity { incarnation: u64::from_le_bytes(*incarnation), counter: u64::from_le_bytes(*counter) };
        Some((author, identity, rest))
    };
    parts().ok_or(WireError::Damaged)
}

fn decode_batches(rest: &mut &[u8], names: &mut Names) -> Option<Vec<Batch>> {
    let mut batches = Vec::new();
    for _ in 0..take_count(rest)? {
        let may_wait = take_byte(rest)? == 1;
        let mut requirements = Vec::new();
        for _ in 0..take_count(rest)? {
            let (table, row) = take_row(rest, names)?;
            let key = row.key().to_vec();
            requirements.push(Requirement { table, key, expected: row.value().is_some().then_some(row) });
        }
        let (mut steps, mut appends) = (Vec::new(), 0);
        for _ in 0..take_count(rest)? {
            steps.push(decode_step(rest, names, appends)?);
            appends += usize::from(steps.last().is_some_and(Step::is_numbered));
        }
        batches.push(Batch::from_parts(requirements, steps, may_wait));
    }
    Some(batches)
}

fn decode_step(rest: &mut &[u8], names: &mut Names, appends: usize) -> Option<Step> {
    match take_byte(rest)? {
        PUT => Some(Step::Put(take_row(rest, names)?.1)),
        PUT_STAMPED => {
            let appended = take_count(rest).filter(|appended| *appended < appends)?;
            let (_, row) = take_row(rest, names)?;
            row.value()?;
            Some(Step::PutStamped(row, Appended(appended)))
        }
        kind @ (APPEND | OBSERVE) => {
            let (log, row) = take_row(rest, names)?;
            // The name, a zero byte, and the number.
            let is_entry = row.key_len() > log.len() + size_of::<u64>();
            match kind {
                OBSERVE => is_entry.then_some(Step::Observe(log, row)),
                _ => (is_entry && row.value().is_some()).then_some(Step::Append(log, row)),
            }
        }
        _ => None,
    }
}

fn push_row(row: &Row, out: &mut Vec<u8>) {
    push_count(row.key_len(), out);
    push_count(row.bytes().len(), out);
    out.extend_from_slice(row.bytes());
}

/// A row of a table that nodes share.
fn take_row(rest: &mut &[u8], names: &mut Names) -> Option<(&'static str, Row)> {
    let key_len = take_count(rest)?;
    let len = take_count(rest)?;
    let (bytes, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    let (key, value) = bytes.split_at_checked(key_len)?;
    let (name, _) = split_key(key)?;
    if ledger::is_own(name) || !(value.is_empty() || value.len() >= HEADER_BYTES + CHECKSUM_BYTES) {
        return None;
    }
    Some((names.intern(name)?, Row::new(bytes, key_len)))
}

/// Lengths and counts are below [`MAX_BATCH_BYTES`](crate::storage::MAX_BATCH_BYTES), so they fit.
fn push_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let (count, behind) = rest.split_first_chunk()?;
    *rest = behind;
    usize::try_from(u32::from_le_bytes(*count)).ok()
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, behind) = rest.split_first()?;
    *rest = behind;
    Some(*byte)
}
