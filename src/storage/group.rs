//! Groups: batches that are checked and applied one after the other, then stored together.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

use super::{
    batch::{Batch, Committed, Requirement, Step},
    error::{CommitError, StorageError},
    layer::Layer,
    reader::head,
    row::{Row, split_key},
    snapshot::Snapshot,
};

/// Most streams whose head is remembered, twice: in the current generation and in the one before.
const HEADS: usize = 65_536;

/// The last sequence numbers of streams written to lately. A stream that falls out is read again.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    current: HashMap<Vec<u8>, u64>,
    previous: HashMap<Vec<u8>, u64>,
}

impl Heads {
    /// The next sequence number of a stream whose head is among the current ones.
    fn next(&mut self, stream: &[u8]) -> u64 {
        let Some(head) = self.current.get_mut(stream) else { return 0 };
        *head += 1;
        *head
    }

    /// Forgets the streams that were not written to for the longest time, when there are too many. Never inside a
    /// group, whose own appends are to be found here only.
    fn shrink(&mut self) {
        if self.current.len() > HEADS {
            self.previous = mem::take(&mut self.current);
        }
    }
}

/// The rows of the batches accepted so far, on top of a snapshot.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    below: &'a Snapshot,
    heads: &'a mut Heads,
    rows: BTreeSet<Row>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(below: &'a Snapshot, heads: &'a mut Heads) -> Self {
        heads.shrink();
        Self { below, heads, rows: BTreeSet::new() }
    }

    /// Takes the batch in when its preconditions hold; otherwise it leaves no trace.
    pub(crate) fn apply(&mut self, mut batch: Batch) -> Result<Committed, CommitError> {
        if let Some(refusal) = batch.take_refusal() {
            return Err(refusal);
        }
        for requirement in &batch.requirements {
            if !self.holds(requirement)? {
                return Err(CommitError::Conflict);
            }
        }
        // All that can fail comes before the first change.
        for step in &batch.steps {
            if let Step::Append(log, row) | Step::Observe(log, row) = step {
                self.load_head(log, row.stream())?;
            }
        }
        let mut committed = Committed::default();
        for step in batch.steps {
            if let Some(row) = self.finish(step, &mut committed) {
                self.rows.replace(row);
            }
        }
        Ok(committed)
    }

    /// The rows of the group, ready for the next snapshot.
    pub(crate) fn into_layer(self) -> Layer {
        Layer::from_sorted(self.rows.into_iter().collect())
    }

    fn holds(&self, requirement: &Requirement) -> Result<bool, StorageError> {
        let expected = requirement.expected.as_ref().and_then(Row::value);
        if let Some(row) = self.rows.get(requirement.key.as_slice()) {
            return Ok(row.value() == expected);
        }
        let same = self.below.get(requirement.table, &requirement.key, |value| Some(value) == expected)?;
        Ok(same.unwrap_or(expected.is_none()))
    }

    fn load_head(&mut self, log: &'static str, stream: &[u8]) -> Result<(), StorageError> {
        if self.heads.current.contains_key(stream) {
            return Ok(());
        }
        let last = if let Some(last) = self.heads.previous.remove(stream) {
            last
        } else {
            let (_, key) = split_key(stream).ok_or(StorageError::Damaged { table: log })?;
            head(self.below, log, key)?
        };
        self.heads.current.insert(stream.to_vec(), last);
        Ok(())
    }

    /// The row of a step, with its sequence number and checksum in place, if it stores one.
    fn finish(&mut self, step: Step, committed: &mut Committed) -> Option<Row> {
        match step {
            Step::Put(row) => Some(row),
            Step::PutStamped(mut row, appended) => {
                row.seal(committed.seq(appended));
                Some(row)
            }
            Step::Append(_, mut row) => {
                let seq = self.heads.next(row.stream());
                committed.seqs.push(seq);
                row.number(seq);
                Some(row)
            }
            Step::Observe(_, row) => {
                committed.seqs.push(self.heads.current.get(row.stream()).copied().unwrap_or(0));
                None
            }
        }
    }
}
