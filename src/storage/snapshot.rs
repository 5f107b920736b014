//! One state of the store: the layers on top, the files below.

use std::{
    ops::ControlFlow,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    error::StorageError,
    layer::Layer,
    range::Direction,
    row::{Row, table_prefix},
};

/// Rows of one moment. Nothing in it changes, so it is read without locks.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Newest first; what a layer says of a key hides all below.
    pub(crate) layers: Vec<Arc<Layer>>,
}

impl Snapshot {
    /// What `see` makes of the value under `row_key`, which belongs to `table`.
    pub(crate) fn get<R>(
        &self,
        _table: &'static str,
        row_key: &[u8],
        see: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StorageError> {
        for layer in &self.layers {
            if let Some(row) = layer.find(row_key) {
                return Ok(row.value().map(see));
            }
        }
        Ok(None)
    }

    /// Calls `visit` with key (without the table) and value of what `table` has in `start..end`, until it breaks.
    pub(crate) fn scan(
        &self,
        table: &'static str,
        (start, end): (&[u8], Option<&[u8]>),
        direction: Direction,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StorageError>,
    ) -> Result<(), StorageError> {
        if end.is_some_and(|end| start >= end) {
            return Ok(());
        }
        let prefix_len = table_prefix(table).len();
        let mut slices: Vec<&[Row]> = self.layers.iter().map(|layer| layer.range(table, start, end)).collect();
        while let Some(row) = next_row(&mut slices, direction) {
            if let (Some(key), Some(value)) = (row.key().get(prefix_len..), row.value())
                && visit(key, value)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

/// Takes the next key's row from the slices, of which an earlier one hides what the later ones say of the same key.
fn next_row<'a>(slices: &mut [&'a [Row]], direction: Direction) -> Option<&'a Row> {
    let mut next: Option<&Row> = None;
    for slice in slices.iter() {
        let Some(row) = peek(slice, direction) else { continue };
        let is_nearer = match direction {
            Direction::Forward => next.is_none_or(|next| row < next),
            Direction::Backward => next.is_none_or(|next| row > next),
        };
        if is_nearer {
            next = Some(row);
        }
    }
    let next = next?;
    for slice in slices.iter_mut() {
        if peek(slice, direction) == Some(next) {
            *slice = match direction {
                Direction::Forward => slice.get(1..),
                Direction::Backward => slice.get(..slice.len() - 1),
            }
            .unwrap_or_default();
        }
    }
    Some(next)
}

fn peek<'a>(slice: &&'a [Row], direction: Direction) -> Option<&'a Row> {
    match direction {
        Direction::Forward => slice.first(),
        Direction::Backward => slice.last(),
    }
}

/// Where the newest snapshot is found; nowhere once the store is closed.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Option<Arc<Snapshot>>>);

impl Current {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(RwLock::new(Some(Arc::new(snapshot))))
    }

    pub(crate) fn load(&self) -> Result<Arc<Snapshot>, StorageError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StorageError::Unavailable)
    }

    pub(crate) fn publish(&self, snapshot: Option<Arc<Snapshot>>) {
        let old = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), snapshot);
        // Freeing what only the old one held can take a while; readers must not wait for it.
        drop(old);
    }
}
