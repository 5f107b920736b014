//! The store as the features see it: the same promises with and without a disk.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report, in its helpers, too"
)]

mod damage;
mod expiry;
mod keys;
mod model;
mod opening;
mod order;
mod semantics;
mod support;
