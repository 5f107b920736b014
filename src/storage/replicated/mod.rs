//! A store that every node of a cluster has in full, kept equal by one ordered log of batches.
//!
//! ```text
//! commit -> queue -> entry -> shared log -> every node: writer -> disk -> own jobs, foreign watchers
//! ```
//!
//! **One order.** What was submitted while other entries were under way becomes one entry of the [`SharedLog`]. Every node reads the
//! log and gives each entry to the writer that a single node has, too: checking preconditions and giving out numbers depends on
//! nothing but the rows, so all nodes come to the same outcome. The node that made a batch answers it when the entry is on its own
//! disk. Reads never leave the node.
//!
//! **Exactly once.** An entry names its author, the author's incarnation, and a counter. It counts only when it is the next one of its
//! author (`ledger::Ledger::judge`), and whoever applies it stores that in the transaction of its batches, together with the
//! place in the log. So an author appends again whatever may have been lost, in order, and repeats and gaps are passed over by all.
//!
//! **Alone.** When the log is away, entries whose fate is unknown go to the spool, a table of this node, and so do new batches
//! [that may wait](super::Batch::may_wait): stored first, then shown on top of the rows in layers that are never filed, then answered.
//! Others are refused with `Degraded`. When the log is back these layers go, the node catches up, and the spool is appended, each
//! entry under the identity that it had. Then [`on_resync`](super::Store::on_resync) is called, since numbers may have changed.
//!
//! **Losses of the log.** A node keeps the last entries that it applied and puts back what a log has lost that still ends with a part of
//! its own history. When the log has gone on without that ([`Halt::Diverged`]), or has been trimmed too far ([`Halt::Behind`]), the
//! database is replaced by a copy of another node's ([`Export`], [`import`]), which takes over what only this node had ([`Carried`]).

mod append;
mod apply;
mod copy;
mod handle;
mod join;
mod leave;
mod ledger;
mod local;
mod memory_log;
mod outage;
mod own;
mod queue;
mod replica;
mod shared_log;
mod status;
#[cfg(test)]
mod tests;
mod watchers;
mod wire;

pub use self::{
    copy::{Carried, Export, ImportError, Imported, import},
    memory_log::MemoryLog,
    replica::{Replica, ReplicaConfig},
    shared_log::{AppendError, Bounds, Connection, Epoch, LogAway, NoPeers, Peers, Place, SharedLog},
    status::{Halt, ReplicaState, ReplicaStatus},
    wire::MAX_NODE_BYTES,
};
pub(crate) use self::{handle::Handle, leave::leave, watchers::Watchers};
