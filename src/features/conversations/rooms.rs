//! The rooms `user:<id>` and `conversation:<id>` in every namespace that carries chat.

use std::sync::Arc;

use crate::{
    ids::{ConversationId, UserId},
    server::{Namespace, ServerEvent, Socket},
};

/// Addresses users and conversations in all chat namespaces at once (`/` and `/messages`).
#[derive(Clone, Debug)]
pub struct Rooms {
    namespaces: Arc<[Arc<Namespace>]>,
}

impl Rooms {
    /// Rooms in these namespaces.
    #[must_use]
    pub fn new(namespaces: Vec<Arc<Namespace>>) -> Self {
        Self { namespaces: namespaces.into() }
    }

    /// Sends an event to everybody in a conversation.
    pub fn emit_to_conversation<E: ServerEvent>(&self, conversation: ConversationId, event: &E) {
        self.emit(&conversation_room(conversation), event);
    }

    /// Sends an event to all sockets of a user.
    pub fn emit_to_user<E: ServerEvent>(&self, user: &UserId, event: &E) {
        self.emit(&user_room(user), event);
    }

    /// Brings all sockets of a user into a conversation.
    pub(super) fn add(&self, user: &UserId, conversation: ConversationId) {
        let (user, conversation) = (user_room(user), conversation_room(conversation));
        for namespace in &*self.namespaces {
            namespace.join_all(&user, &[&conversation]);
        }
    }

    /// Takes all sockets of a user out of a conversation.
    pub(super) fn remove(&self, user: &UserId, conversation: ConversationId) {
        let (user, conversation) = (user_room(user), conversation_room(conversation));
        for namespace in &*self.namespaces {
            namespace.leave_all(&user, &[&conversation]);
        }
    }

    fn emit<E: ServerEvent>(&self, room: &str, event: &E) {
        let mut json = None;
        for namespace in self.namespaces.iter().filter(|namespace| namespace.has_room(room)) {
            let json = json.get_or_insert_with(|| serde_json::to_string(event));
            match json {
                Ok(json) => namespace.to(room).emit_raw(E::NAME, &[json], &[]),
                Err(error) => tracing::error!(%error, event = E::NAME, "an event could not be written as JSON"),
            }
        }
    }
}

/// Puts one socket into the room of its user.
pub(super) fn join_user(socket: &Arc<Socket>, user: &UserId) {
    socket.namespace().join(socket, &[&user_room(user)]);
}

/// Puts one socket into the rooms of `conversations`.
pub(super) fn join_conversations(socket: &Arc<Socket>, conversations: &[ConversationId]) {
    change_conversations(socket, conversations, Namespace::join);
}

/// Takes one socket out of the rooms of `conversations`.
pub(super) fn leave_conversations(socket: &Arc<Socket>, conversations: &[ConversationId]) {
    change_conversations(socket, conversations, Namespace::leave);
}

fn change_conversations(
    socket: &Arc<Socket>,
    conversations: &[ConversationId],
    change: impl FnOnce(&Namespace, &Arc<Socket>, &[&str]),
) {
    let rooms: Vec<String> = conversations.iter().copied().map(conversation_room).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    change(socket.namespace(), socket, &rooms);
}

fn user_room(user: &UserId) -> String {
    format!("user:{user}")
}

fn conversation_room(conversation: ConversationId) -> String {
    format!("conversation:{conversation}")
}
