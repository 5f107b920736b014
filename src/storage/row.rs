//! Rows: one change of one key, as the overlay, the journal and the files see it, without types.

use std::{borrow::Borrow, cmp::Ordering, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;

use super::{key::Key, record};

/// Table name, a zero byte and the key, then the envelope of the value; a row without a value deletes.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    bytes: Arc<[u8]>,
    key_len: u32,
    hash: KeyHash,
}

/// Of a row's key, to pass over layers that do not have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHash(pub(crate) u32);

impl KeyHash {
    pub(crate) fn of(row_key: &[u8]) -> Self {
        let [_, _, _, _, low @ ..] = xxh3_64(row_key).to_be_bytes();
        Self(u32::from_be_bytes(low))
    }
}

impl Row {
    /// The row with these bytes, of which the first `key_len` are table and key.
    pub(crate) fn new(bytes: &[u8], key_len: usize) -> Self {
        let hash = KeyHash::of(bytes.get(..key_len).unwrap_or_default());
        // Batches are far smaller than 4 GiB.
        Self { bytes: bytes.into(), key_len: u32::try_from(key_len).unwrap_or(u32::MAX), hash }
    }

    /// Table name, zero byte, key.
    pub(crate) fn key(&self) -> &[u8] {
        self.bytes.get(..self.key_len()).unwrap_or_default()
    }

    pub(crate) fn hash(&self) -> KeyHash {
        self.hash
    }

    /// The envelope; `None` when the row deletes its key.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.bytes.get(self.key_len()..).filter(|value| !value.is_empty())
    }

    /// Key and value.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn key_len(&self) -> usize {
        usize::try_from(self.key_len).unwrap_or(usize::MAX)
    }

    /// Writes stamp and checksum into the envelope.
    pub(crate) fn seal(&mut self, stamp: u64) {
        let key_len = self.key_len();
        record::seal(Arc::make_mut(&mut self.bytes), key_len, stamp);
    }

    /// Makes the last eight bytes of the key `seq`, and seals with it.
    pub(crate) fn number(&mut self, seq: u64) {
        let key_len = self.key_len();
        let bytes = Arc::make_mut(&mut self.bytes);
        if let Some(place) = bytes.get_mut(..key_len).and_then(<[u8]>::last_chunk_mut) {
            *place = seq.to_be_bytes();
        }
        record::seal(bytes, key_len, seq);
        self.hash = KeyHash::of(self.key());
    }

    /// For the entry of a log: table, zero byte and key of its stream.
    pub(crate) fn stream(&self) -> &[u8] {
        self.key().split_last_chunk::<8>().map_or(&[], |(stream, _)| stream)
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
    // With room for most keys.
    let mut bytes = Vec::with_capacity(128);
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
