//! The store as the features see it: the same promises with and without a disk.

#![expect(clippy::expect_used, clippy::panic, reason = "what a test cannot go on without ends it, also in its helpers")]

mod damage;
mod expiry;
mod keys;
mod model;
mod opening;
mod order;
mod semantics;
mod support;
