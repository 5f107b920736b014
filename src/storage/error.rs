//! What can go wrong when reading and when committing.

use thiserror::Error;

use super::record::{EncodeError, RecordError};

/// Why a read gave no answer.
#[derive(Debug, Error)]
pub enum StorageError {
    /// What is stored fails its checksum or cannot be understood. It is never served; the operator has to restore.
    #[error("table {table} holds a damaged record")]
    Damaged {
        /// The table or log.
        table: &'static str,
    },
    /// The record was written by a later version of this server.
    #[error("table {table} holds a record of version {version}, which this server does not know")]
    UnknownVersion {
        /// The table or log.
        table: &'static str,
        /// The version found.
        version: u8,
    },
    /// The database file cannot be read.
    #[error("cannot read the database file")]
    Io(#[source] std::io::Error),
    /// The store has been closed, or has failed and waits for the process to end.
    #[error("the database is not available")]
    Unavailable,
}

impl StorageError {
    pub(crate) fn record(table: &'static str, error: RecordError) -> Self {
        match error {
            RecordError::UnknownVersion(version) => Self::UnknownVersion { table, version },
            RecordError::Damaged => Self::Damaged { table },
        }
    }
}

/// Why a batch was not committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// A precondition does not hold, so nothing was stored: read again, decide again.
    #[error("the data changed since it was read")]
    Conflict,
    /// A value is larger than [`MAX_RECORD_BYTES`](super::MAX_RECORD_BYTES), or the whole batch larger than
    /// [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES). Nothing was stored.
    #[error("too large to store in table {table}")]
    TooLarge {
        /// The table or log that was written to when the limit was passed.
        table: &'static str,
    },
    /// The type of a value cannot be written as a record. Nothing was stored.
    #[error("a record of table {table} has a type that cannot be stored")]
    Unencodable {
        /// The table or log.
        table: &'static str,
    },
    /// The store is closed, has failed, or has 16,384 batches or 64 MiB waiting; or what was to run after the commit
    /// panicked. Whether the batch was stored is not known: only a repeat with the same client key is safe.
    #[error("the database is not available")]
    Unavailable,
    /// The disk has too little room ([`Store::refuse_writes`](super::Store::refuse_writes)). Nothing was stored.
    #[error("the disk is full")]
    Full,
    /// The node of a cluster has no connection to the others, and the batch cannot wait for it
    /// ([`Batch::may_wait`](super::Batch::may_wait)), or too many wait already. Nothing was stored, on any node.
    #[error("the cluster cannot be reached")]
    Degraded,
    /// A precondition or the end of a stream could not be read. Nothing was stored.
    #[error("cannot check the batch against what is stored")]
    Read(#[from] StorageError),
}

impl CommitError {
    pub(crate) fn encode(table: &'static str, error: EncodeError) -> Self {
        match error {
            EncodeError::TooLarge => Self::TooLarge { table },
            EncodeError::Shape => Self::Unencodable { table },
        }
    }
}
