//! Conversations: who talks with whom, the room of each, and the log that everything in them is written to.
//!
//! A direct conversation exists once per pair of users, also when both create it at the same moment. Members of a group are
//! added and removed by its admins; their sockets move in and out of the room at that moment, on every device.
//!
//! Spec: feature document, "Conversation Rooms"; contract, sections 3 and 7.

mod cursors;
mod directory;
pub mod events;
mod follow;
mod listener;
mod membership;
mod rest;
mod retention;
mod rooms;
mod socket;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    cursors::seq_before,
    retention::trimmed,
    rooms::go_live,
    store::{Change, ChangeRecord, LOG, TrimmedRecord},
};
pub use self::{
    directory::{Access, Conversations},
    events::{ConversationView, Empty, Joined, Left, SERVER_EVENTS, Updated},
    listener::{MembershipChange, MembershipListener},
    rest::routes as rest_routes,
    rooms::Rooms,
    socket::routes as socket_routes,
    store::Kind,
};
