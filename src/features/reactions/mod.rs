//! Reactions: who thinks what of a message, in one emoji.
//!
//! One reaction per user and emoji, at most [`MAX_EMOJI`] different ones on a message. The message's record has the count of each and
//! the first users, so that a page of messages is shown without reading a row of them; the rows say who has reacted, for the list
//! of all and for the question whether one has. Record and row change in one batch.
//!
//! Spec: contract, sections 3.1 and 3.2, `message:react`, `reaction:updated`.

pub mod events;
mod rest;
mod rules;
mod socket;
mod tally;
#[cfg(test)]
mod tests;

pub use self::{
    rest::routes as rest_routes,
    rules::{MAX_EMOJI, MAX_EMOJI_BYTES, Reactions},
    socket::routes as socket_routes,
};
