//! What a node tells of itself: how it stands with the log, and what waits for that.

use super::shared_log::{Epoch, Place};
use crate::clock::Timestamp;

/// How a node stands with the shared log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// Looking for its place in the log, since the start or since a short interruption. Batches wait meanwhile.
    Joining,
    /// Behind what was in the log when it joined. Batches wait meanwhile.
    CatchingUp,
    /// Takes part.
    Connected,
    /// Alone: batches that may wait are spooled, others refused.
    Degraded {
        /// Since when.
        since: Timestamp,
    },
    /// Alone as in `Degraded`, and for good: the database has to be replaced by a copy of another node's
    /// ([`import`](super::import)).
    Halted(Halt),
}

/// Why a node cannot go on with the rows that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// What comes next in the log has been trimmed, or the node is new and the log does not begin at the beginning.
    Behind,
    /// The log has gone on without entries that this node has applied.
    Diverged,
    /// The database has rows that are from no log, and the log has been founded by another node. To take them over or to throw them
    /// away is for the operator to decide.
    Foreign,
}

/// What a node tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// How it stands with the log.
    pub state: ReplicaState,
    /// Which log that is; [`Epoch(0)`](Epoch) before the first.
    pub epoch: Epoch,
    /// The last entry that is on this node's disk.
    pub applied: Place,
    /// Entries that wait for the log on this node's disk.
    pub spooled_entries: usize,
    /// Their size.
    pub spooled_bytes: usize,
    /// Spooled batches that were in conflict with what other nodes had stored, so that they are lost, since the start.
    pub spool_conflicts: u64,
}

impl ReplicaStatus {
    /// True while batches of every kind are taken.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, ReplicaState::Joining | ReplicaState::CatchingUp | ReplicaState::Connected)
    }
}
