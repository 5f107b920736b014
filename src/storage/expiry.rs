//! Sweeping: deleting rows that are past their time, a page at a time, so that traffic never waits for it.

use super::{batch::Batch, error::CommitError, key::Key, range::KeyRange, record::Record, store::Store, table::Table};

/// What one call of [`sweep`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept<K> {
    /// Rows deleted.
    pub deleted: usize,
    /// Where to go on; `None` at the end of the table.
    pub cursor: Option<K>,
}

/// Looks at the next `page` rows of `table` after `cursor`, or its first ones, and deletes those that `is_expired`.
///
/// A row that changes in between is left alone: the change may have renewed it. Call again with the cursor that comes
/// back, with a pause between, until it is `None`. A page of a few hundred rows reads for about a millisecond.
///
/// # Errors
///
/// When the table cannot be read or the store does not take the deletions; some of the page may have been deleted.
pub async fn sweep<K: Key, V: Record>(
    store: &Store,
    table: &Table<K, V>,
    cursor: Option<&K>,
    page: usize,
    mut is_expired: impl FnMut(&K, &V) -> bool,
) -> Result<Swept<K>, CommitError> {
    let range = cursor.map_or_else(KeyRange::all, |cursor| KeyRange::all().after(cursor));
    let rows = store.read()?.scan_versioned(table, &range, page)?;
    let is_last_page = rows.len() < page;
    // A batch for each row: they are stored together anyway, and one that has changed does not hold back the others.
    let mut commits = Vec::new();
    let mut last = None;
    for (key, row) in rows {
        if is_expired(&key, &row.value) {
            let mut batch = Batch::new();
            batch.require_unchanged(table, &key, &row);
            batch.delete(table, &key);
            commits.push(store.commit(batch));
        }
        last = Some(key);
    }
    let mut deleted = 0;
    for commit in commits {
        match commit.await {
            Ok(_) => deleted += 1,
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Swept { deleted, cursor: last.filter(|_| !is_last_page) })
}
