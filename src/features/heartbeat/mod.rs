//! Heartbeats and the metrics of a connection.
//!
//! Round trips are measured by the server: its own ping, by the monotonic clock, until the pong. The client's clock is never
//! believed. A client that beats by itself is counted from its own interval: two intervals without a beat are one missed beat.
//!
//! Spec: feature document, "Heartbeat System", "Getting Metrics"; contract, section 5.

mod beats;
pub mod events;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{
    events::SERVER_EVENTS,
    socket::{Heartbeats, routes as socket_routes},
};
