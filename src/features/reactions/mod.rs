//! Reactions: emoji that members put under a message, each user each emoji once.
//!
//! All reactions of a message are one row, so a page of messages costs one row each to show; the limits bound it.
//!
//! Spec: contract, section 3.1, `message:react`, and 3.2, `reaction:updated`.

pub mod events;
mod rest;
mod rules;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{
    rest::routes as rest_routes,
    rules::{Action, Reactions},
    socket::routes as socket_routes,
};
