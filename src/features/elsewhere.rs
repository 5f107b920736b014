//! What the features need to know of the other nodes of a cluster: who is connected there, and who of the nodes does what only one of
//! them should do.
//!
//! What other nodes store comes into the store of this node by itself; each feature that keeps something of it in memory, or tells
//! sockets of it, follows the store (`follow.rs` in its folder). What concerns sockets alone is here.

use std::sync::Arc;

use crate::{
    cluster::{Adapter, Single},
    ids::UserId,
};

/// The other nodes, as the features see them.
pub trait Elsewhere: Send + Sync {
    /// Whether a user has a socket on another node.
    fn is_connected(&self, user: &UserId) -> bool;

    /// Whether this node does what one of them should do for all, such as sweeping.
    fn is_leader(&self) -> bool;

    /// A socket of a user has connected here.
    fn came(&self, user: &UserId);

    /// A socket of a user here has gone.
    fn went(&self, user: &UserId);

    /// Has `listener` told of what happens on other nodes, in its order. It must not block.
    fn listen(&self, listener: Arc<dyn ElsewhereListener>);
}

/// The way to the other nodes.
#[derive(Clone)]
pub struct Neighbors {
    /// What carries broadcasts there.
    pub adapter: Arc<dyn Adapter>,
    /// What is known of who is there.
    pub elsewhere: Arc<dyn Elsewhere>,
}

impl Neighbors {
    /// There are none.
    #[must_use]
    pub fn none() -> Self {
        Self { adapter: Arc::new(Single), elsewhere: Arc::new(Alone) }
    }
}

/// A feature that wants to know of users on other nodes.
pub trait ElsewhereListener: Send + Sync {
    /// A user is connected to another node, and was to none.
    fn came(&self, user: &UserId);

    /// A user is connected to no other node any more.
    fn went(&self, user: &UserId);

    /// A node has gone without a word, or this one could not say anything for so long that the others took it for gone.
    fn broke(&self) {}
}

/// There is no other node.
struct Alone;

impl Elsewhere for Alone {
    fn is_connected(&self, _: &UserId) -> bool {
        false
    }

    fn is_leader(&self) -> bool {
        true
    }

    fn came(&self, _: &UserId) {}

    fn went(&self, _: &UserId) {}

    fn listen(&self, _: Arc<dyn ElsewhereListener>) {}
}
