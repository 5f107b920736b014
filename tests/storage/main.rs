//! The store as the features see it: the same promises with and without a disk.

mod damage;
mod expiry;
mod keys;
mod model;
mod opening;
mod order;
mod semantics;
mod support;
