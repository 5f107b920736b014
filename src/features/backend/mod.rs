//! What an app's own backend may do over HTTP: users and their tokens, messages in somebody's name, notifications, events
//! of its own.
//!
//! Every route wants the header `X-Api-Key`; a repeat with the same `Idempotency-Key` gets the first answer again for 24 hours. This
//! joins several rooms and holds no rules of its own.
//!
//! Spec: contract, section 7, "Backend".

mod emit;
mod messages;
mod notifications;
#[cfg(test)]
mod tests;
mod users;

use std::{collections::HashSet, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    SERVER_EVENTS, auth::Auth, conversations::Conversations, messages::Messages, notifications::Notifications,
    users::Users,
};
use crate::{
    ids::UserId,
    server::{Namespace, Refusal, Rest},
};

/// Event names that the server or the protocol sends beside [`SERVER_EVENTS`].
const RESERVED: &[&str] = &[
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "error",
    "newListener",
    "removeListener",
    "request-failed",
    "server:restarting",
];

/// What the routes work with.
pub struct BackendApi {
    auth: Arc<Auth>,
    users: Users,
    conversations: Arc<Conversations>,
    messages: Arc<Messages>,
    notifications: Arc<Notifications>,
    namespaces: Vec<Arc<Namespace>>,
    /// Names that only the server sends.
    reserved: HashSet<&'static str>,
}

impl BackendApi {
    /// An API over these rooms; events go to sockets of `namespaces`.
    #[must_use]
    pub fn new(
        auth: Arc<Auth>,
        users: Users,
        conversations: Arc<Conversations>,
        (messages, notifications): (Arc<Messages>, Arc<Notifications>),
        namespaces: Vec<Arc<Namespace>>,
    ) -> Self {
        let own = SERVER_EVENTS.iter().copied().flatten();
        let own = own.flat_map(|event| std::iter::once(event.name).chain(event.twins.iter().copied()));
        let reserved = own.chain(RESERVED.iter().copied()).collect();
        Self { auth, users, conversations, messages, notifications, namespaces, reserved }
    }

    /// Makes sure that a user is known; an unknown one is made where tokens would make one.
    ///
    /// # Errors
    ///
    /// `not_found`.
    fn known(&self, user: &UserId) -> Result<(), Refusal> {
        if self.users.may_sign_in(user)? { Ok(()) } else { Err(Refusal::not_found("user")) }
    }
}

/// The routes of this feature.
pub fn rest_routes(api: &Arc<BackendApi>) -> Rest {
    users::routes(api).merge(messages::routes(api)).merge(notifications::routes(api)).merge(emit::routes(api))
}

/// It is done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BackendDone")]
struct Done {
    message: &'static str,
}

const DONE: Done = Done { message: "ok" };
