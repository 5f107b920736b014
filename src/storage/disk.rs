//! The tables in the file, as bytes. Owns every transaction; must not know when rows are filed, nor their types.

use std::{
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{
    AccessGuard, Database, Range, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, TableHandle,
};

use super::{
    error::StorageError,
    journal,
    layer::Layer,
    range::Direction,
    row::{Row, split_key},
    table::{JOURNAL, META},
};

type Bytes = &'static [u8];

/// Group by group, what has been committed and may not be in its tables yet.
const JOURNAL_ROWS: TableDefinition<'static, u64, Bytes> = TableDefinition::new(JOURNAL);

/// All tables of features have keys and values of bytes.
fn table_of_bytes(name: &str) -> TableDefinition<'_, Bytes, Bytes> {
    TableDefinition::new(name)
}

/// What one transaction does.
#[derive(Default)]
pub(crate) struct Changes<'a> {
    /// The next journal row and its number.
    pub(crate) journal: Option<(u64, &'a Layer)>,
    /// Rows for their tables, sorted.
    pub(crate) filed: &'a [Row],
    /// The last journal row of which everything is in the tables once `filed` is.
    pub(crate) filed_through: Option<u64>,
}

/// The open database.
pub(crate) struct Disk {
    db: Database,
}

impl Disk {
    pub(crate) fn new(db: Database) -> Self {
        Self { db }
    }

    /// Makes the changes, all of them or none, and returns when they are on disk. After an error it is not known which,
    /// and the database takes no more.
    pub(crate) fn write(&self, changes: &Changes<'_>) -> Result<(), redb::Error> {
        let mut transaction = self.db.begin_write()?;
        // A crash is then repaired in a millisecond, instead of a second and a half per GiB.
        transaction.set_quick_repair(true);
        if changes.journal.is_some() || changes.filed_through.is_some() {
            let mut journal = transaction.open_table(JOURNAL_ROWS)?;
            if let Some((number, layer)) = changes.journal {
                journal.insert(number, journal::encode(number, layer).as_slice())?;
            }
            if let Some(through) = changes.filed_through {
                journal.retain_in(..=through, |_, _| false)?;
            }
        }
        for rows in changes.filed.chunk_by(|row, next| table_of(row) == table_of(next)) {
            let Some(name) = rows.first().and_then(table_of) else { continue };
            let mut table = transaction.open_table(table_of_bytes(name))?;
            for row in rows {
                let key = row.key().get(name.len() + 1..).unwrap_or_default();
                match row.value() {
                    Some(value) => drop(table.insert(key, value)?),
                    None => drop(table.remove(key)?),
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// What the tables hold now.
    pub(crate) fn base(&self) -> Result<Base, redb::Error> {
        Ok(Base { transaction: self.db.begin_read()? })
    }

    /// What is in the journal, and the number of its last row. The error says what is wrong.
    pub(crate) fn replay(&self) -> Result<Replay, redb::Error> {
        let mut replay = Replay::default();
        let journal = match self.db.begin_read()?.open_table(JOURNAL_ROWS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(replay),
            journal => journal?,
        };
        let mut expected = None;
        for entry in journal.iter()? {
            let (number, bytes) = entry?;
            let number = number.value();
            // Rows are deleted from the front only, so a gap means that some were lost.
            let layer = journal::decode(number, bytes.value()).filter(|_| expected.is_none_or(|next| next == number));
            let Some(layer) = layer else {
                return Err(redb::Error::Corrupted(format!("row {number} of the journal is damaged or out of order")));
            };
            replay.groups.push(layer);
            replay.last = number;
            expected = number.checked_add(1);
        }
        Ok(replay)
    }

    pub(crate) fn close(self) -> Result<(), redb::Error> {
        Ok(self.db.close()?)
    }
}

/// The groups in the journal, oldest first.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) groups: Vec<Layer>,
    /// The number of the last one; 0 when there is none.
    pub(crate) last: u64,
}

fn table_of(row: &Row) -> Option<&str> {
    split_key(row.key()).map(|(table, _)| table)
}

/// The tables as of one moment.
pub(crate) struct Base {
    transaction: ReadTransaction,
}

type OpenTable = ReadOnlyTable<Bytes, Bytes>;
type Entry = (AccessGuard<'static, Bytes>, AccessGuard<'static, Bytes>);

impl Base {
    /// What `see` makes of the value under `key`.
    pub(crate) fn get<R>(
        &self,
        table: &'static str,
        key: &[u8],
        see: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StorageError> {
        let Some(rows) = self.open(table)? else { return Ok(None) };
        let value = guarded(table, || rows.get(key))?;
        Ok(value.map(|value| see(value.value())))
    }

    /// The rows of `table` in `start..end`, from the end that `direction` starts at.
    pub(crate) fn range(
        &self,
        table: &'static str,
        (start, end): (&[u8], Option<&[u8]>),
        direction: Direction,
    ) -> Result<BaseRows, StorageError> {
        let mut rows = BaseRows { table, direction, range: None, next: None };
        if let Some(open) = self.open(table)? {
            let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
            rows.range = Some(guarded(table, || open.range::<&[u8]>(bounds))?);
            rows.advance()?;
        }
        Ok(rows)
    }

    /// The names of all tables of features.
    pub(crate) fn tables(&self) -> Result<Vec<String>, StorageError> {
        let names = guarded(META, || {
            self.transaction.list_tables().map(|tables| tables.map(|table| table.name().to_owned()).collect::<Vec<_>>())
        })?;
        Ok(names.into_iter().filter(|name| name != META && name != JOURNAL).collect())
    }

    fn open(&self, table: &'static str) -> Result<Option<OpenTable>, StorageError> {
        guarded(table, || match self.transaction.open_table(table_of_bytes(table)) {
            Ok(open) => Ok(Some(open)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error),
        })
    }
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").finish_non_exhaustive()
    }
}

/// The rows of one range of one table, one at a time.
pub(crate) struct BaseRows {
    table: &'static str,
    direction: Direction,
    range: Option<Range<'static, Bytes, Bytes>>,
    next: Option<Entry>,
}

impl BaseRows {
    /// No rows.
    pub(crate) fn none(table: &'static str) -> Self {
        Self { table, direction: Direction::Forward, range: None, next: None }
    }

    /// Key and value of the next row.
    pub(crate) fn peek(&self) -> Option<(&[u8], &[u8])> {
        self.next.as_ref().map(|(key, value)| (key.value(), value.value()))
    }

    pub(crate) fn advance(&mut self) -> Result<(), StorageError> {
        let (range, direction) = (&mut self.range, self.direction);
        self.next = guarded(self.table, || {
            let Some(range) = range else { return Ok(None) };
            match direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            }
            .transpose()
        })?;
        Ok(())
    }
}

/// Runs a read of `table`. On some damaged pages redb does not return an error but panics; to us both are damage.
fn guarded<R, E: Into<redb::Error>>(
    table: &'static str,
    read: impl FnOnce() -> Result<R, E>,
) -> Result<R, StorageError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(match error.into() {
            redb::Error::Io(error) => StorageError::Io(error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => StorageError::Unavailable,
            error => {
                tracing::error!(table, %error, "the database file is damaged");
                StorageError::Damaged { table }
            }
        }),
        Err(_) => {
            tracing::error!(table, "the database file is damaged: its library panicked");
            Err(StorageError::Damaged { table })
        }
    }
}
