//! What others see of a user: online, away, busy, not to be disturbed or offline, a text of his own, and when he was last here.
//!
//! The status belongs to the user, not to a socket: it is stored, every device shares it, and it holds until it is changed. A text with an
//! end goes by itself, to the second, whether or not its user is here. Who has chosen `offline` is invisible: he is told as offline,
//! and when he comes or goes nobody hears of it, nor does it count as being seen. A text is shown while its user is offline, too.
//!
//! Told to those who share a conversation with the user, and answered to nobody else: for strangers there is no such user. The
//! user's own devices hear of what he chose.
//!
//! Spec: feature document, "Advanced Status Features"; contract, sections 3.1, 3.2 and 7.

pub mod events;
mod expiry;
mod follow;
mod rest;
mod rules;
mod socket;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    events::{SERVER_EVENTS, SetStatus},
    rest::routes as rest_routes,
    rules::Statuses,
    socket::routes as socket_routes,
    store::{Custom, Status},
};
