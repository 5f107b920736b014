//! How much a user, an app's backend or an address may ask for in a while.
//!
//! Each has a token bucket: it may be emptied in a burst and fills again evenly. A user's bucket counts all sockets and namespaces
//! together. Some events have buckets of their own, so that a client that confirms what it reads, or types, does not lock itself out.
//! Whoever has not shown who he is counts by his address, where only what fails stays counted: an office behind one address is no
//! flood.
//!
//! What is refused is told (ack, event, status 429) with the time to wait; only a flood is cut off. Everything goes by the monotonic
//! clock, and settings can change while the server runs.
//!
//! Spec: feature document, "WebSocket Rate Limiting"; contract, section 9.

mod address;
mod bucket;
mod config;
pub mod events;
mod limits;
mod policy;
mod rest;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{
    config::{Config, Limit},
    events::SERVER_EVENTS,
    limits::RateLimits,
    rest::limit_requests,
};
