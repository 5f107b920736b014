//! Journal rows: one group's changes in the order of their keys, as bytes.
//!
//! ```text
//! { length of key u32 LE | length of key and value u32 LE | key | value }* | xxh3-64 LE over number and all before
//! ```
//!
//! The keys of the journal rise, so that a commit touches one end of one tree, whatever it changes.

use xxhash_rust::xxh3::Xxh3;

use super::{
    layer::Layer,
    row::{Row, split_key},
};

/// The bytes of the journal row `number`.
pub(crate) fn encode(number: u64, layer: &Layer) -> Vec<u8> {
    let rows = layer.rows();
    let mut bytes = Vec::with_capacity(layer.bytes() + rows.len() * 2 * size_of::<u32>() + size_of::<u64>());
    for row in rows {
        push_length(row.key_len(), &mut bytes);
        push_length(row.bytes().len(), &mut bytes);
        bytes.extend_from_slice(row.bytes());
    }
    let checksum = checksum(number, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The changes of the journal row `number`; `None` when it is damaged.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Option<Layer> {
    let (mut rest, sum) = bytes.split_last_chunk()?;
    if checksum(number, rest) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let key_len = take_length(&mut rest)?;
        let len = take_length(&mut rest)?;
        let (row, behind) = rest.split_at_checked(len)?;
        rest = behind;
        split_key(row.get(..key_len)?)?;
        rows.push(Row::new(row, key_len));
    }
    rows.is_sorted().then(|| Layer::from_sorted(rows))
}

fn checksum(number: u64, bytes: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.digest()
}

/// Lengths are below [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES), so they fit.
fn push_length(length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}
