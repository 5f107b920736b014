//! What waits for people who are away, until its delivery is confirmed.
//!
//! Nothing is copied into a queue: what a user has missed is what lies past his delivery cursors in the logs of his conversations,
//! so a message to a thousand absent members is one write. When a socket connects, the changes of conversations with a
//! backlog are held back from it: the backlog comes first, oldest first and in pages, and each conversation goes live for the socket
//! at the very point where its backlog ends. So what was missed and what is live never mix within a conversation.
//!
//! A cursor moves when an arrival is proved, by the transport or by the client's own receipts; moves are written behind. What was on
//! its way but not proved comes again with `redelivered: true`.
//!
//! Spec: feature document, "Message Queue & Offline Support"; contract, section 4.

mod absences;
mod backlog;
mod config;
pub mod events;
mod flush;
mod operator;
mod positions;
mod queue;
mod rest;
#[cfg(test)]
mod tests;

pub use self::{
    config::{Config, Confirm, Delivery},
    events::SERVER_EVENTS,
    operator::{QueueEntry, QueueSize},
    queue::{Background, OfflineQueue},
    rest::routes as rest_routes,
};
