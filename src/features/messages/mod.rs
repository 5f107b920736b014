//! Messages: sending, editing and deleting, stored before they are acknowledged and told to everybody in the conversation in
//! the order in which they were stored.
//!
//! A message is sent once per sender and client id, however often a client repeats itself. A deleted one leaves a tombstone:
//! its text is gone, that it was there is what absent people get.
//!
//! Spec: feature document, "Message Deletion Notifications"; contract, sections 3.1, 3.2 and 7.

mod config;
mod draft;
pub mod events;
mod expiry;
mod listener;
mod locate;
mod replay;
mod rest;
mod rules;
mod socket;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub use self::{
    config::Config,
    draft::Draft,
    events::{Deleted, MessageNew, SERVER_EVENTS, Updated},
    listener::MessageListener,
    locate::Located,
    rest::routes as rest_routes,
    rules::{HistoryRange, Messages, Sent},
    socket::routes as socket_routes,
    store::{Kind, Media},
    view::{Authors, MessageView},
};
pub(crate) use self::{
    replay::{LoggedChange, Replayed},
    store::{MESSAGES, MessageRecord},
};
