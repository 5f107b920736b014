//! The store as the features see it: the same promises with and without a disk.

mod semantics;
mod support;
