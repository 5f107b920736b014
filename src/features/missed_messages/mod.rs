//! What a user has missed: messages since a date, or every change since a cursor per conversation, in pages, complete.
//!
//! The conversation's log is the truth; a cursor is a place in it. By date, messages of others come in the order of their
//! dates across all conversations, so that a client that keeps the last date it saw loses nothing. By cursor, edits and
//! deletions come along, and one's own messages from other devices.
//!
//! Spec: feature document, "Missed Messages Recovery"; contract, section 3.1, `get-missed-messages`.

mod config;
mod cursor;
pub mod events;
mod recovery;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{config::Config, events::MissedMessages, recovery::Recovery, socket::routes as socket_routes};
