//! The port to the log that all nodes of a cluster share: an ordered list of entries, each under a place.
//!
//! Whoever implements it moves bytes; what an entry means, that none is applied twice and in which order a node's own ones
//! count is the business of the replicated store. So an implementation may lose an answer, deliver a repeated append twice
//! or let two appends of one node overtake each other: that costs time, never correctness. What it must keep:
//!
//! - [`read`](SharedLog::read) gives every node the same entries under the same places, in rising order, without gaps
//!   behind [`Bounds::kept_after`];
//! - an entry that has been read stays where it is, unless the log loses its end or everything (then
//!   [`Bounds::server`] changes, or there is no log at all);
//! - no call waits for ever: when the log does not answer, it fails.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

/// Where an entry is in the log: places rise from entry to entry and need not be dense. That of a Redis stream is its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// What is compared first: the milliseconds of a stream id.
    pub major: u64,
    /// What is compared then: the number within the millisecond.
    pub minor: u64,
}

impl Place {
    /// Before every entry.
    pub const START: Self = Self { major: 0, minor: 0 };
    /// Where a log begins whose first node brought rows of its own: behind [`START`](Self::START), so that a node without rows knows
    /// that the entries are not everything.
    pub const FOUNDED: Self = Self { major: 0, minor: 1 };
}

/// `<major>-<minor>`, as Redis writes a stream id.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

/// Which log this is: drawn at random by the node that makes it. Places of different epochs have nothing to do with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// What of the log is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Which log it is.
    pub epoch: Epoch,
    /// Every entry after this place is there. A node whose own place is before it has missed something that was trimmed. May be later
    /// than need be (the place of the first entry), never earlier. That of an untrimmed log is where it was made to begin.
    pub kept_after: Place,
    /// The place of the last entry that was ever appended, trimmed or not; where the log was made to begin while there is none.
    pub end: Place,
    /// Changes when another server, or the same one started anew, answers: entries may have been lost (Redis: a hash of its `run_id`).
    pub server: u64,
}

/// Whether the log can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It answers.
    Up,
    /// It does not, for so long that waiting for it would not do. How long that is is the implementation's choice; a connection that
    /// is made anew at once need not be told.
    Away,
}

/// The log does not answer, or answers with an error.
#[derive(Clone, Debug, Error)]
#[error("the shared log does not answer: {0}")]
pub struct LogAway(pub String);

/// Why an entry may not have been appended.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    /// It may be in the log or not, or come into it later.
    #[error("the connection was lost before the shared log answered: {0}")]
    Unknown(String),
    /// It is certain not to be in the log: that is not reached, is full, or there is none of this epoch.
    #[error("the shared log does not take the entry: {0}")]
    Refused(String),
}

/// The ordered log that the nodes of a cluster share.
///
/// Every call names the epoch that it means; a log of another epoch counts as none.
pub trait SharedLog: Send + Sync + 'static {
    /// Whether the log can be reached, from now on. The receiver is asked at the start as well.
    fn connection(&self) -> watch::Receiver<Connection>;

    /// What of the log is there; `None` while nobody has made one, or when it was lost as a whole.
    fn bounds(&self) -> BoxFuture<'static, Result<Option<Bounds>, LogAway>>;

    /// Makes the log `epoch`, whose first entry will come after the place `begin`; false when there is one already, of whatever
    /// epoch. Of several nodes that try at the same time one succeeds.
    fn create(&self, epoch: Epoch, begin: Place) -> BoxFuture<'static, Result<bool, LogAway>>;

    /// Puts `entry` behind the last one and gives its place. The request is on its way when the call returns (not when the future is
    /// first polled), so that calls in a row arrive in that order as long as the connection holds. Never makes a log.
    fn append(&self, epoch: Epoch, entry: Bytes) -> BoxFuture<'static, Result<Place, AppendError>>;

    /// The entries after `after`, oldest first: some at once when there are any (at most about `max_bytes`, but at least one),
    /// otherwise as soon as one comes; none after a few seconds without one. Dropping the future loses nothing. Fails when there is no
    /// log of this epoch.
    fn read(
        &self,
        epoch: Epoch,
        after: Place,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<(Place, Bytes)>, LogAway>>;

    /// The entry at `place`; `None` when there is none, or no longer.
    fn entry(&self, epoch: Epoch, place: Place) -> BoxFuture<'static, Result<Option<Bytes>, LogAway>>;

    /// Puts a lost `entry` back under the place that it had. True exactly when it was put: [`Bounds::end`] was `previous`, checked and
    /// changed in one step. False: somebody else was quicker, look at the bounds again.
    fn restore(
        &self,
        epoch: Epoch,
        previous: Place,
        place: Place,
        entry: Bytes,
    ) -> BoxFuture<'static, Result<bool, LogAway>>;
}

/// What the other nodes say of how far they are: to wait, after the log has lost something, for the one that has most of it.
pub trait Peers: Send + Sync + 'static {
    /// The furthest place in the log `epoch` that a live node other than this one has told of; `None` when there is no such node.
    fn furthest(&self, epoch: Epoch) -> Option<Place>;
}

/// No other node is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn furthest(&self, _: Epoch) -> Option<Place> {
        None
    }
}
