//! Typed reading from one snapshot.

use std::{marker::PhantomData, ops::ControlFlow, sync::Arc};

use super::{
    batch::Versioned,
    error::StorageError,
    key::{Key, PrefixOf},
    range::{Direction, KeyRange, successor},
    record::{self, Record},
    row::{Row, row_key},
    snapshot::Snapshot,
    table::{Log, Table},
};

/// Reads one consistent state of the store; what is committed later is not seen.
///
/// Reading is synchronous: a few microseconds for a row in the cache, a disk access for one that is not. A reader holds
/// no lock and may be nested, but keeps the files of its moment alive, so it is not [`Send`]: a future that is spawned
/// cannot hold one across an await.
///
/// ```compile_fail
/// # use hobnob::storage::Store;
/// fn spawnable<T: Send>(_: T) {}
/// let store = Store::memory();
/// spawnable(async move {
///     let reader = store.read();
///     std::future::ready(()).await;
///     drop(reader);
/// });
/// ```
#[derive(Debug)]
pub struct Reader<'a> {
    snapshot: Arc<Snapshot>,
    /// Neither `Send` nor longer-lived than the store.
    thread: PhantomData<(&'a (), *const ())>,
}

impl Reader<'_> {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, thread: PhantomData }
    }

    /// The value of `table` under `key`.
    ///
    /// # Errors
    ///
    /// When the row is damaged, of a later version, or cannot be read.
    pub fn get<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StorageError> {
        self.read_row(table.name(), &row_key(table.name(), key), |key, value| open(table.name(), key, value))
    }

    /// The value of `table` under `key`, with its version for [`Batch::require_unchanged`](super::Batch).
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn get_versioned<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<Versioned<V>>, StorageError> {
        let row_key = row_key(table.name(), key);
        self.read_row(table.name(), &row_key, |key, stored| {
            let row = Row::new(&[row_key.as_slice(), stored].concat(), row_key.len());
            Ok(Versioned { value: open(table.name(), key, stored)?, row })
        })
    }

    /// The values of `table` under each of `keys`, in their order.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), for the first row that has one.
    pub fn get_many<K: Key, V: Record>(&self, table: &Table<K, V>, keys: &[K]) -> Result<Vec<Option<V>>, StorageError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    /// True when `table` has something under `key`. The value is not looked at.
    ///
    /// # Errors
    ///
    /// When the row cannot be read.
    pub fn contains<K: Key, V>(&self, table: &Table<K, V>, key: &K) -> Result<bool, StorageError> {
        self.read_row(table.name(), &row_key(table.name(), key), |_, _| Ok(())).map(|found| found.is_some())
    }

    /// At most `limit` rows of `table` within `range`, in the order of `direction`: a backward scan gives the last rows
    /// of the range, the last one first.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), for the first row that has one.
    pub fn scan<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        range: impl Into<KeyRange<K>>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(K, V)>, StorageError> {
        self.collect(table.name(), range.into().bounds(), limit, direction, |key, value| {
            Ok((decode_key(table.name(), key)?, open(table.name(), key, value)?))
        })
    }

    /// At most `limit` rows of `table` whose keys begin with `prefix`.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), for the first row that has one.
    pub fn scan_prefix<P: PrefixOf<K>, K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(K, V)>, StorageError> {
        self.scan(table, KeyRange::prefix(prefix), limit, direction)
    }

    /// Like [`scan`](Self::scan), with the version of each value.
    pub(crate) fn scan_versioned<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        range: &KeyRange<K>,
        limit: usize,
    ) -> Result<Vec<(K, Versioned<V>)>, StorageError> {
        self.collect(table.name(), range.bounds(), limit, Direction::Forward, |key, stored| {
            let decoded: K = decode_key(table.name(), key)?;
            let mut row = row_key(table.name(), &decoded);
            let key_len = row.len();
            row.extend_from_slice(stored);
            Ok((decoded, Versioned { value: open(table.name(), key, stored)?, row: Row::new(&row, key_len) }))
        })
    }

    /// The sequence number of the last entry in the stream `key` of `log`; 0 when there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn head<K: Key, V>(&self, log: &Log<K, V>, key: &K) -> Result<u64, StorageError> {
        let mut stream = Vec::new();
        key.encode(&mut stream);
        head(&self.snapshot, log.name(), &stream)
    }

    /// At most `limit` entries of the stream `key` of `log` that come after `after_seq`, oldest first.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), for the first entry that has one.
    pub fn scan_log<K: Key, V: Record>(
        &self,
        log: &Log<K, V>,
        key: &K,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, V)>, StorageError> {
        match after_seq.checked_add(1) {
            Some(first) => self.entries(log, key, first, None, limit, Direction::Forward),
            None => Ok(Vec::new()),
        }
    }

    /// At most `limit` entries of the stream `key` of `log` that come before `before_seq`, or the last ones of all,
    /// newest first.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), for the first entry that has one.
    pub fn scan_log_back<K: Key, V: Record>(
        &self,
        log: &Log<K, V>,
        key: &K,
        before_seq: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, V)>, StorageError> {
        self.entries(log, key, 0, before_seq, limit, Direction::Backward)
    }

    fn entries<K: Key, V: Record>(
        &self,
        log: &Log<K, V>,
        key: &K,
        first: u64,
        end: Option<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(u64, V)>, StorageError> {
        let mut stream = Vec::new();
        key.encode(&mut stream);
        let start = [stream.as_slice(), &first.to_be_bytes()].concat();
        let end = match end {
            Some(end) => Some([stream.as_slice(), &end.to_be_bytes()].concat()),
            None => successor(&stream),
        };
        self.collect(log.name(), (&start, end.as_deref()), limit, direction, |key, value| {
            Ok((seq_of(log.name(), key)?, open(log.name(), key, value)?))
        })
    }

    fn collect<T>(
        &self,
        table: &'static str,
        bounds: (&[u8], Option<&[u8]>),
        limit: usize,
        direction: Direction,
        mut read: impl FnMut(&[u8], &[u8]) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.snapshot.scan(table, bounds, direction, |key, value| {
            found.push(read(key, value)?);
            Ok(if found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// Gives key (without the table) and value of a row to `see`.
    fn read_row<T>(
        &self,
        table: &'static str,
        row_key: &[u8],
        see: impl FnOnce(&[u8], &[u8]) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        let key = row_key.get(table.len() + 1..).unwrap_or_default();
        self.snapshot.get(table, row_key, |value| see(key, value))?.transpose()
    }
}

/// The last sequence number of a stream, given the bytes of its key.
pub(crate) fn head(snapshot: &Snapshot, log: &'static str, stream: &[u8]) -> Result<u64, StorageError> {
    let end = successor(stream);
    let mut head = 0;
    snapshot.scan(log, (stream, end.as_deref()), Direction::Backward, |key, _| {
        head = seq_of(log, key)?;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(head)
}

/// The sequence number at the end of a log entry's key.
fn seq_of(log: &'static str, key: &[u8]) -> Result<u64, StorageError> {
    let seq = key.last_chunk().ok_or(StorageError::Damaged { table: log })?;
    Ok(u64::from_be_bytes(*seq))
}

fn decode_key<K: Key>(table: &'static str, mut key: &[u8]) -> Result<K, StorageError> {
    let decoded = K::decode(&mut key).filter(|_| key.is_empty());
    decoded.ok_or(StorageError::Damaged { table })
}

fn open<V: Record>(table: &'static str, key: &[u8], value: &[u8]) -> Result<V, StorageError> {
    record::open(table, key, value).map_err(|error| StorageError::record(table, error))
}
