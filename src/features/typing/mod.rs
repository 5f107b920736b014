//! Who is writing at the moment, or recording, or uploading.
//!
//! Clients repeat `user:typing` every few seconds ([`Config::heartbeat`]); the others of the conversation are told at most that often,
//! at once when the activity changes or ends, and never on a socket of the one who types. It ends by `typing:stop`, with the message that is sent, with the
//! last socket that was typing, on leaving the conversation, and by itself when it is not repeated ([`Config::expire`]).
//!
//! Nothing of it is stored, and slow readers do not get it: they count on the same times, which `session:ready` tells.
//!
//! Spec: feature document, "Advanced Typing Indicators"; contract, sections 3.1 and 3.2.

mod config;
pub mod events;
mod rules;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{config::Config, events::SERVER_EVENTS, rules::Typing, socket::routes as socket_routes};
