//! The store as the features see it: the same promises with and without a disk.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what a test cannot go on without ends it, also in its helpers"
)]

mod cluster;
mod cluster_model;
mod damage;
mod expiry;
mod keys;
mod model;
mod opening;
mod order;
mod replicated;
mod semantics;
mod support;
