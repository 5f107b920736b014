//! Values as bytes: a version, a stamp, a bincode body, and a checksum that binds them to their table and key.
//!
//! ```text
//! version u8 | stamp u64 LE, 0 = none | body, bincode 2 | xxh3-64 LE over table, 00, key and all before
//! ```

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Largest body of a record in bytes. Above the largest message (1 MB) with all that is stored beside its text.
pub const MAX_RECORD_BYTES: usize = 2 << 20;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 1 + STAMP_BYTES;
const STAMP_BYTES: usize = size_of::<u64>();
/// Bytes behind the body.
pub(crate) const CHECKSUM_BYTES: usize = size_of::<u64>();

// Without a limit a damaged length makes bincode ask for exabytes, which ends the process.
const BINCODE: Configuration<LittleEndian, Varint, Limit<MAX_RECORD_BYTES>> =
    bincode::config::standard().with_limit::<MAX_RECORD_BYTES>();

/// A value that can be stored.
///
/// The first version needs no more than the number. A stored struct is never edited: its next version is a new struct,
/// and [`upgrade`](Self::upgrade) makes the new one from the old.
///
/// Records must not hold `serde_json::Value`, `RawValue`, nor use `flatten`, `untagged` or `skip_serializing_if`:
/// bincode writes these and cannot read them back.
///
/// ```
/// use hobnob::storage::{Old, Record, RecordError};
/// use serde::{Deserialize, Serialize};
///
/// mod v1 {
///     #[derive(serde::Serialize, serde::Deserialize)]
///     pub struct Note {
///         pub text: String,
///     }
///
///     impl hobnob::storage::Record for Note {
///         const VERSION: u8 = 1;
///     }
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Note {
///     text: String,
///     pinned: bool,
/// }
///
/// impl Record for Note {
///     const VERSION: u8 = 2;
///
///     fn upgrade(old: Old<'_>) -> Result<Self, RecordError> {
///         let old: v1::Note = old.read()?; // reads what version 1 could read
///         Ok(Self { text: old.text, pinned: false })
///     }
/// }
/// ```
pub trait Record: Serialize + DeserializeOwned {
    /// The version that is written: 1 for the first, then rising by one.
    const VERSION: u8;

    /// Makes this record from one that an earlier version wrote.
    ///
    /// # Errors
    ///
    /// When no earlier version exists, or the old record is damaged.
    fn upgrade(old: Old<'_>) -> Result<Self, RecordError> {
        Err(RecordError::UnknownVersion(old.version))
    }

    /// Called after reading with the sequence number that the store gave: that of the log entry, or for a value written
    /// by `Batch::put_stamped` that of the entry it was written beside. Not called for other values.
    ///
    /// A field filled here must be serialized like any other, so that it survives when the value is put again.
    fn stamp(&mut self, _seq: u64) {}
}

/// The body of a record that an earlier version wrote.
#[derive(Clone, Copy, Debug)]
pub struct Old<'a> {
    version: u8,
    body: &'a [u8],
}

impl Old<'_> {
    /// Reads it as `R`, which may itself have to upgrade it.
    ///
    /// # Errors
    ///
    /// When `R` knows no such version, or the bytes are no such record.
    pub fn read<R: Record>(self) -> Result<R, RecordError> {
        read_body(self.version, self.body)
    }
}

/// Why the bytes of a value are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Written by a later server, or by none.
    #[error("version {0} of the record is not known")]
    UnknownVersion(u8),
    /// The checksum or the shape is wrong.
    #[error("the record is damaged")]
    Damaged,
}

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodeError {
    TooLarge,
    Shape,
}

/// Appends the envelope of `value` to `out`, which holds table and key: stamp and checksum stay zero for [`seal`].
pub(crate) fn draft<R: Record>(value: &R, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.push(R::VERSION);
    out.extend_from_slice(&[0; STAMP_BYTES]);
    let body = out.len();
    bincode::serde::encode_into_std_write(value, out, BINCODE).map_err(|_| EncodeError::Shape)?;
    if out.len() - body > MAX_RECORD_BYTES {
        return Err(EncodeError::TooLarge);
    }
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    Ok(())
}

/// Writes stamp and checksum into a row made by [`draft`], whose first `key_len` bytes are table and key.
pub(crate) fn seal(row: &mut [u8], key_len: usize, stamp: u64) {
    if let Some(place) = row.get_mut(key_len + 1..key_len + HEADER_BYTES) {
        place.copy_from_slice(&stamp.to_le_bytes());
    }
    if let Some((before, checksum)) = row.split_last_chunk_mut::<CHECKSUM_BYTES>() {
        *checksum = xxhash_rust::xxh3::xxh3_64(before).to_le_bytes();
    }
}

/// Reads the value stored in `table` under the key whose bytes are `key`.
pub(crate) fn open<R: Record>(table: &str, key: &[u8], value: &[u8]) -> Result<R, RecordError> {
    let (before, checksum) = value.split_last_chunk::<CHECKSUM_BYTES>().ok_or(RecordError::Damaged)?;
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(table.as_bytes());
    hasher.update(&[0]);
    hasher.update(key);
    hasher.update(before);
    if hasher.digest() != u64::from_le_bytes(*checksum) {
        return Err(RecordError::Damaged);
    }
    let (version, rest) = before.split_first().ok_or(RecordError::Damaged)?;
    let (stamp, body) = rest.split_first_chunk::<STAMP_BYTES>().ok_or(RecordError::Damaged)?;
    let mut record: R = read_body(*version, body)?;
    let stamp = u64::from_le_bytes(*stamp);
    if stamp > 0 {
        record.stamp(stamp);
    }
    Ok(record)
}

fn read_body<R: Record>(version: u8, body: &[u8]) -> Result<R, RecordError> {
    if version == R::VERSION {
        let (record, used) = bincode::serde::decode_from_slice(body, BINCODE).map_err(|_| RecordError::Damaged)?;
        // bincode ignores what follows the value.
        if used == body.len() { Ok(record) } else { Err(RecordError::Damaged) }
    } else if version == 0 || version > R::VERSION {
        Err(RecordError::UnknownVersion(version))
    } else {
        R::upgrade(Old { version, body })
    }
}
