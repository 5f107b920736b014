//! Batches: what is written together or not at all.

use super::{
    error::CommitError,
    key::Key,
    record::{Record, draft},
    row::{Row, row_key},
    table::{self, Log, Table},
};

/// Most bytes of keys and values in one batch.
pub const MAX_BATCH_BYTES: usize = 8 << 20;

/// Changes that are stored all together or not at all, with the preconditions under which they make sense.
///
/// Preconditions are compared with what is stored right before the batch, wherever they stand in it. Changes apply in
/// the order of the calls: the last one to a key wins.
///
/// A batch that has grown beyond [`MAX_BATCH_BYTES`], or was given a value that cannot be stored, refuses everything
/// further and is answered with that error by [`Store::commit`](super::Store::commit).
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) steps: Vec<Step>,
    appends: usize,
    bytes: usize,
    refused: Option<CommitError>,
    may_wait: bool,
    /// Where rows are put together before their size is known.
    draft: Vec<u8>,
}

/// What must be stored under a key for the batch to be committed.
#[derive(Debug)]
pub(crate) struct Requirement {
    pub(crate) table: &'static str,
    /// Table name, zero byte, key.
    pub(crate) key: Vec<u8>,
    /// `None`: nothing.
    pub(crate) expected: Option<Row>,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// A value or a deletion, ready to be stored.
    Put(Row),
    /// A value that still needs the sequence number of `appended` and its checksum.
    PutStamped(Row, Appended),
    /// An entry of the log, that still needs its sequence number and its checksum.
    Append(&'static str, Row),
    /// Nothing is stored; the answer tells where the log ends.
    Observe(&'static str, Row),
}

impl Step {
    /// Whether the answer tells a number for it.
    pub(crate) fn is_numbered(&self) -> bool {
        matches!(self, Self::Append(..) | Self::Observe(..))
    }

    pub(crate) fn row(&self) -> &Row {
        let (Self::Put(row) | Self::PutStamped(row, _) | Self::Append(_, row) | Self::Observe(_, row)) = self;
        row
    }
}

/// Stands for the sequence number that one `append` or `observe` of a batch will get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended(pub(crate) usize);

/// The sequence numbers that a committed batch got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    pub(crate) seqs: Vec<u64>,
}

impl Committed {
    /// The number that `appended` got in its stream, from 1; 0 when it belongs to another batch.
    #[must_use]
    pub fn seq(&self, appended: Appended) -> u64 {
        self.seqs.get(appended.0).copied().unwrap_or(0)
    }
}

/// A value together with the version of it that was read, for [`Batch::require_unchanged`].
#[derive(Clone, Debug)]
pub struct Versioned<V> {
    /// The value.
    pub value: V,
    /// Exactly what was stored: two values with the same bytes are the same version.
    pub(crate) row: Row,
}

impl Batch {
    /// An empty batch; committing it waits for all that was submitted before.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True while nothing has been put in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && self.steps.is_empty()
    }

    /// Commits only while `table` has nothing under `key`, else [`CommitError::Conflict`].
    pub fn require_absent<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) {
        self.require(table.name(), key, None);
    }

    /// Commits only while `table` has under `key` what `read` saw there, else [`CommitError::Conflict`].
    pub fn require_unchanged<K: Key, V>(&mut self, table: &Table<K, V>, key: &K, read: &Versioned<V>) {
        self.require(table.name(), key, Some(read.row.clone()));
    }

    fn require(&mut self, table: &'static str, key: &impl Key, expected: Option<Row>) {
        let key = row_key(table, key);
        if self.takes(table, key.len()) {
            self.requirements.push(Requirement { table, key, expected });
        }
    }

    /// Stores `value` under `key`, in place of what is there.
    pub fn put<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K, value: &V) {
        if let Some(mut row) = self.draft(table.name(), |draft| key.encode(draft), value) {
            row.seal(0);
            self.steps.push(Step::Put(row));
        }
    }

    /// Deletes what is under `key`, if anything.
    pub fn delete<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) {
        let key = row_key(table.name(), key);
        if self.takes(table.name(), key.len()) {
            self.steps.push(Step::Put(Row::new(&key, key.len())));
        }
    }

    /// Appends `value` to the stream `key` of `log`, under the next sequence number of that stream.
    pub fn append<K: Key, V: Record>(&mut self, log: &Log<K, V>, key: &K, value: &V) -> Appended {
        let appended = Appended(self.appends);
        self.appends += 1;
        let encode = |draft: &mut Vec<u8>| {
            key.encode(draft);
            0_u64.encode(draft);
        };
        if let Some(row) = self.draft(log.name(), encode, value) {
            self.steps.push(Step::Append(log.name(), row));
        }
        appended
    }

    /// Deletes the entry `seq` of the stream `key` of `log`, if it is there. The last entry of a stream has to stay: after a restart
    /// the numbers go on from what is there.
    pub fn delete_entry<K: Key, V>(&mut self, log: &Log<K, V>, key: &K, seq: u64) {
        let mut key = row_key(log.name(), key);
        seq.encode(&mut key);
        if self.takes(log.name(), key.len()) {
            self.steps.push(Step::Put(Row::new(&key, key.len())));
        }
    }

    /// Asks where the stream `key` of `log` ends at the moment of the commit: exactly the entries up to there have been told by then
    /// to those who are called after a commit. A batch with nothing else costs no write.
    pub fn observe<K: Key, V>(&mut self, log: &Log<K, V>, key: &K) -> Appended {
        let observed = Appended(self.appends);
        self.appends += 1;
        let mut key = row_key(log.name(), key);
        0_u64.encode(&mut key);
        if self.takes(log.name(), key.len()) {
            self.steps.push(Step::Observe(log.name(), Row::new(&key, key.len())));
        }
        observed
    }

    /// Stores `value` under `key` with the sequence number that `appended`, an earlier append of this batch, gets:
    /// reading calls [`Record::stamp`] with it.
    pub fn put_stamped<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K, value: &V, appended: Appended) {
        debug_assert!(appended.0 < self.appends, "an append of another batch");
        if let Some(row) = self.draft(table.name(), |draft| key.encode(draft), value) {
            self.steps.push(Step::PutStamped(row, appended));
        }
    }

    /// Says that the batch is worth keeping while the nodes of a cluster cannot agree on an order: it is then stored on this node alone,
    /// answered, and put in order later. Other batches are refused with [`CommitError::Degraded`] meanwhile. Only for a batch that is right
    /// whatever comes before it, and whose sequence numbers may become others: a new message. On a single node it means nothing.
    pub fn may_wait(&mut self) {
        self.may_wait = true;
    }

    /// Whether [`may_wait`](Self::may_wait) was said of it.
    pub(crate) fn is_patient(&self) -> bool {
        self.may_wait
    }

    /// A batch of these parts.
    pub(crate) fn from_parts(requirements: Vec<Requirement>, steps: Vec<Step>, may_wait: bool) -> Self {
        let appends = steps.iter().filter(|step| step.is_numbered()).count();
        let of_requirements = requirements.iter().map(|requirement| requirement.key.len());
        let of_steps = steps.iter().map(|step| step.row().bytes().len());
        let bytes = of_requirements.chain(of_steps).sum();
        Self { requirements, steps, appends, bytes, refused: None, may_wait, draft: Vec::new() }
    }

    /// Bytes of keys and values so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it changes what a node has for itself.
    pub(crate) fn is_of_node(&self) -> bool {
        let is_of_node = self.steps.first().is_some_and(|step| table::is_of_node(step.row().key()));
        debug_assert!(
            self.steps.iter().all(|step| table::is_of_node(step.row().key()) == is_of_node),
            "a batch changes what is replicated, or what is not"
        );
        is_of_node
    }

    /// Whether there is anything in it that is to be stored.
    pub(crate) fn writes(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step, Step::Observe(..)))
    }

    /// The first value that could not be taken, if any.
    pub(crate) fn take_refusal(&mut self) -> Option<CommitError> {
        self.refused.take()
    }

    /// A row without stamp and checksum; `None` when the batch is or becomes refused.
    fn draft<V: Record>(
        &mut self,
        table: &'static str,
        encode_key: impl FnOnce(&mut Vec<u8>),
        value: &V,
    ) -> Option<Row> {
        self.draft.clear();
        self.draft.extend_from_slice(table.as_bytes());
        self.draft.push(0);
        encode_key(&mut self.draft);
        let key_len = self.draft.len();
        if let Err(error) = draft(value, &mut self.draft) {
            self.refused.get_or_insert(CommitError::encode(table, error));
        }
        self.takes(table, self.draft.len()).then(|| Row::new(&self.draft, key_len))
    }

    fn takes(&mut self, table: &'static str, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BATCH_BYTES {
            self.refused.get_or_insert(CommitError::TooLarge { table });
        }
        self.refused.is_none()
    }
}
