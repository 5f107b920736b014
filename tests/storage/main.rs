//! The store as the features see it: the same promises with and without a disk.

mod expiry;
mod keys;
mod model;
mod order;
mod semantics;
mod support;
