//! Messages: sending, editing and deleting, stored before they are acknowledged and told to everybody in the conversation in
//! the order in which they were stored.
//!
//! A message is sent once per sender and client id, however often a client repeats itself. A deleted one leaves a tombstone:
//! its text is gone, that it was there is what absent people get.
//!
//! Spec: feature document, "Message Deletion Notifications"; contract, sections 3.1, 3.2 and 7.

mod alter;
mod announce;
mod around;
mod change;
mod config;
mod draft;
pub mod events;
mod expiry;
mod follow;
mod forward;
mod listener;
mod locate;
mod pins;
mod replay;
mod rest;
mod retention;
mod rules;
mod socket;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use self::{
    alter::Alteration,
    around::Around,
    replay::{LoggedChange, Replayed},
    store::{MESSAGES, MessageRecord, REACTIONS, Reacted, ReactionRecord},
    view::reactions,
};
pub use self::{
    change::{ChangeEvent, Deleted, MessageNew, Pinned, ReactionAction, ReactionUpdated, Unpinned, Updated},
    config::Config,
    draft::Draft,
    events::SERVER_EVENTS,
    forward::MAX_TARGETS,
    listener::MessageListener,
    locate::Located,
    pins::MAX_PINS,
    rest::routes as rest_routes,
    rules::{HistoryRange, MAX_REACTIONS, Messages, Sent},
    socket::routes as socket_routes,
    store::{Kind, Media},
    view::{MessageStatus, MessageView, ReactionView},
};
