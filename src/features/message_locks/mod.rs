//! Edit locks: who is editing which message, so that two people do not change it at once.
//!
//! A lock is a lease with a fencing number. Its holder renews it by asking again; it ends when the holder lets go, when its time is
//! over, when the holder's last socket has been gone for a while, or when the operator ends it, and everybody in the conversation is
//! told each time. Locks are stored, so they outlive a restart. While one is held, edits by others are refused, unless it is only
//! advisory.
//!
//! Time is kept by the monotonic clock while the server runs: a jump of the wall clock neither ends nor prolongs a lock.
//!
//! Spec: feature document, "Conflict Management"; contract, section 3.

mod config;
pub mod events;
mod follow;
mod lease;
mod locks;
mod socket;
mod store;
mod sweep;
#[cfg(test)]
mod tests;

pub use self::{
    config::Config,
    events::SERVER_EVENTS,
    lease::{LockView, Release},
    locks::{LockError, Locks, MAX_LOCKS_PER_USER},
    socket::routes as socket_routes,
};
