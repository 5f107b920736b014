//! One state of the store: the layers on top, the files below.

use std::{
    cmp::Ordering,
    ops::ControlFlow,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    disk::{Base, BaseRows},
    error::StorageError,
    layer::Layer,
    range::Direction,
    row::{KeyHash, Row},
};

/// Rows of one moment. Nothing in it changes, so it is read without locks.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Newest first; what a layer says of a key hides all below.
    pub(crate) layers: Vec<Arc<Layer>>,
    /// What lies below the layers; nothing in memory.
    pub(crate) base: Option<Base>,
    /// How many of the layers, from the top, show what is not stored.
    pub(crate) provisional: usize,
}

impl Snapshot {
    /// What `see` makes of the value under `row_key`, which belongs to `table`.
    pub(crate) fn get<R>(
        &self,
        table: &'static str,
        row_key: &[u8],
        see: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StorageError> {
        let hash = KeyHash::of(row_key);
        for layer in &self.layers {
            if let Some(row) = layer.find(row_key, hash) {
                return Ok(row.value().map(see));
            }
        }
        match &self.base {
            Some(base) => base.get(table, row_key.get(table.len() + 1..).unwrap_or_default(), see),
            None => Ok(None),
        }
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
        let layers = self.layers.iter().map(|layer| layer.range(table, start, end));
        let mut slices: Vec<&[Row]> = layers.filter(|slice| !slice.is_empty()).collect();
        let mut base = match &self.base {
            Some(base) => base.range(table, (start, end), direction)?,
            None => BaseRows::none(table),
        };
        loop {
            let above = nearest(&slices, direction);
            let key_above = above.and_then(|row| row.key().get(table.len() + 1..));
            let order = match (key_above, base.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(above), Some((below, _))) => match direction {
                    Direction::Forward => above.cmp(below),
                    Direction::Backward => below.cmp(above),
                },
            };
            let flow = match (order, key_above, above.and_then(Row::value), base.peek()) {
                (Ordering::Greater, _, _, Some((key, value))) | (_, Some(key), Some(value), _) => visit(key, value)?,
                // Deleted.
                _ => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                return Ok(());
            }
            if order.is_ge() {
                base.advance()?;
            }
            if let Some(row) = above.filter(|_| order.is_le()) {
                pass(&mut slices, row, direction);
            }
        }
    }
}

/// The next key's row, from the first slice that has one: it hides what the later ones say of the same key.
fn nearest<'a>(slices: &[&'a [Row]], direction: Direction) -> Option<&'a Row> {
    let mut nearest: Option<&Row> = None;
    for row in slices.iter().filter_map(|slice| peek(slice, direction)) {
        let is_nearer = match direction {
            Direction::Forward => nearest.is_none_or(|nearest| row < nearest),
            Direction::Backward => nearest.is_none_or(|nearest| row > nearest),
        };
        if is_nearer {
            nearest = Some(row);
        }
    }
    nearest
}

/// Takes the rows with the key of `row` from the slices.
fn pass(slices: &mut [&[Row]], row: &Row, direction: Direction) {
    for slice in slices.iter_mut().filter(|slice| peek(slice, direction) == Some(row)) {
        let rest = match direction {
            Direction::Forward => slice.split_first().map(|(_, rest)| rest),
            Direction::Backward => slice.split_last().map(|(_, rest)| rest),
        };
        *slice = rest.unwrap_or_default();
    }
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
