//! Receipts: who has got and who has read which messages.
//!
//! Each member of a conversation has two cursors in its log, one for what was delivered and one for what was read; both only move
//! forward. Senders are told when a message has arrived, members when it was read; in large groups ([`MAX_TOLD_MEMBERS`]) nobody
//! is told one by one, the counts of the message object say how far it has come.
//!
//! Spec: contract, section 3, `message:read`, `message:delivered` and the status of the message object.

pub mod events;
mod rest;
mod rules;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{
    events::SERVER_EVENTS,
    rest::routes as rest_routes,
    rules::{MAX_TOLD_MEMBERS, Receipts, UpTo},
    socket::routes as socket_routes,
};
