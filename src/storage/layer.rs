//! Layers: sorted rows that never change, so that readers keep them without a lock.

use std::{cmp::Ordering, sync::Arc};

use super::{
    range::successor,
    row::{KeyHash, Row, table_prefix},
};

/// Rows by key, each key once.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    rows: Vec<Row>,
    bytes: usize,
    filter: Filter,
}

impl Layer {
    /// A layer of rows that are sorted and have different keys.
    pub(crate) fn from_sorted(rows: Vec<Row>) -> Self {
        let bytes = rows.iter().map(|row| row.bytes().len()).sum();
        let filter = Filter::new(&rows);
        Self { rows, bytes, filter }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The row of `key`, whose hash is `hash`.
    pub(crate) fn find(&self, key: &[u8], hash: KeyHash) -> Option<&Row> {
        if !self.filter.may_have(hash) {
            return None;
        }
        let place = self.rows.binary_search_by(|row| row.key().cmp(key)).ok()?;
        self.rows.get(place)
    }

    /// The rows of `table` whose keys are in `start..end`.
    pub(crate) fn range(&self, table: &str, start: &[u8], end: Option<&[u8]>) -> &[Row] {
        let prefix = table_prefix(table);
        let first = self.rows.partition_point(|row| row.key() < [prefix.as_slice(), start].concat().as_slice());
        let end = match end {
            Some(end) => Some([prefix.as_slice(), end].concat()),
            None => successor(&prefix),
        };
        let last = end.map_or(self.rows.len(), |end| self.rows.partition_point(|row| row.key() < end.as_slice()));
        self.rows.get(first..last).unwrap_or_default()
    }

    /// One layer with the rows of both, where those of `newer` replace those of `older`.
    pub(crate) fn merge(newer: &Self, older: &Self) -> Self {
        let mut rows = Vec::with_capacity(newer.rows.len() + older.rows.len());
        let (mut above, mut below) = (newer.rows.as_slice(), older.rows.as_slice());
        while let ([new, new_rest @ ..], [old, old_rest @ ..]) = (above, below) {
            match new.cmp(old) {
                Ordering::Less => above = new_rest,
                Ordering::Equal => (above, below) = (new_rest, old_rest),
                Ordering::Greater => {
                    rows.push(old.clone());
                    below = old_rest;
                    continue;
                }
            }
            rows.push(new.clone());
        }
        rows.extend(above.iter().chain(below).cloned());
        Self::from_sorted(rows)
    }

    /// The same rows less the deletions, for a layer with nothing below.
    pub(crate) fn without_deletions(self) -> Self {
        Self::from_sorted(self.rows.into_iter().filter(|row| row.value().is_some()).collect())
    }
}

/// `layers`, newest first, with `newest` in front and every layer merged with its elder until each is less than half of
/// the next: a row is copied about once per doubling, and a key looked for in few places.
pub(crate) fn push(layers: &[Arc<Layer>], newest: Layer) -> Vec<Arc<Layer>> {
    let mut newest = Arc::new(newest);
    let mut elders = layers.iter();
    let mut rest = elders.as_slice();
    while let Some(elder) = elders.next() {
        if newest.rows.len() * 2 < elder.rows.len() {
            break;
        }
        newest = Arc::new(Layer::merge(&newest, elder));
        rest = elders.as_slice();
    }
    let mut pushed = Vec::with_capacity(rest.len() + 1);
    pushed.push(newest);
    pushed.extend(rest.iter().cloned());
    pushed
}

/// Tells which keys a layer does not have, at one look instead of a search: most keys are in one layer or in none.
///
/// A key sets three bits of one word, for every four keys there is a word: about one absent key in a hundred is
/// searched for in vain.
#[derive(Debug, Default)]
struct Filter(Box<[u64]>);

impl Filter {
    fn new(rows: &[Row]) -> Self {
        let mut words = vec![0; rows.len().div_ceil(4)].into_boxed_slice();
        for row in rows {
            let place = Self::place(row.hash(), words.len());
            if let Some(word) = words.get_mut(place) {
                *word |= Self::bits(row.hash());
            }
        }
        Self(words)
    }

    fn may_have(&self, hash: KeyHash) -> bool {
        let bits = Self::bits(hash);
        self.0.get(Self::place(hash, self.0.len())).is_some_and(|word| word & bits == bits)
    }

    /// The upper bits of the hash choose the word.
    fn place(hash: KeyHash, words: usize) -> usize {
        usize::try_from((u64::from(hash.0) * words as u64) >> 32).unwrap_or(0)
    }

    /// The lower ones choose the bits in it.
    fn bits(hash: KeyHash) -> u64 {
        [0, 6, 12].into_iter().fold(0, |bits, shift| bits | 1 << ((hash.0 >> shift) & 63))
    }
}
