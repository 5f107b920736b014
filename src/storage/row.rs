//! Rows: one change of one key, as the overlay, the journal and the files see it, without types.

use std::{borrow::Borrow, cmp::Ordering, sync::Arc};

use super::key::Key;

/// Table name, a zero byte and the key, then the envelope of the value; a row without a value deletes.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    bytes: Arc<[u8]>,
    key_len: usize,
}

impl Row {
    /// The row with these bytes, of which the first `key_len` are table and key.
    pub(crate) fn new(bytes: impl Into<Arc<[u8]>>, key_len: usize) -> Self {
        Self { bytes: bytes.into(), key_len }
    }

    /// Table name, zero byte, key.
    pub(crate) fn key(&self) -> &[u8] {
        self.bytes.get(..self.key_len).unwrap_or_default()
    }

    /// The envelope; `None` when the row deletes its key.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.bytes.get(self.key_len..).filter(|value| !value.is_empty())
    }

    /// Key and value.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn key_len(&self) -> usize {
        self.key_len
    }
}

impl Borrow<[u8]> for Row {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By key only: of two rows with one key, the newer replaces the older.
impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

/// Table name, zero byte, key.
pub(crate) fn row_key(table: &str, key: &impl Key) -> Vec<u8> {
    let mut bytes = table_prefix(table);
    key.encode(&mut bytes);
    bytes
}

/// What all keys of `table` begin with.
pub(crate) fn table_prefix(table: &str) -> Vec<u8> {
    // Most rows are that long; a short one is copied into a fitting allocation when it is done.
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(table.as_bytes());
    bytes.push(0);
    bytes
}

/// Splits a row's key into table name and key.
pub(crate) fn split_key(row_key: &[u8]) -> Option<(&str, &[u8])> {
    let zero = row_key.iter().position(|byte| *byte == 0)?;
    let (table, rest) = row_key.split_at_checked(zero)?;
    Some((str::from_utf8(table).ok()?, rest.get(1..)?))
}
