//! The rooms `user:<id>` and `conversation:<id>` in every namespace that carries chat.

use std::sync::Arc;

use crate::{
    features::elsewhere::Elsewhere,
    ids::{ConversationId, UserId},
    server::{Broadcast, Namespace, ServerEvent, Socket},
};

/// Addresses users and conversations in all chat namespaces at once (`/` and `/messages`).
#[derive(Clone)]
pub struct Rooms {
    namespaces: Arc<[Arc<Namespace>]>,
    elsewhere: Arc<dyn Elsewhere>,
    /// Whether events stay on this node.
    here: bool,
    /// Whether events go out under the names of the reference app, too.
    twins: bool,
}

impl Rooms {
    /// Rooms in these namespaces. With `twins`, events go out under the names of the reference app, too.
    #[must_use]
    pub fn new(namespaces: Vec<Arc<Namespace>>, elsewhere: Arc<dyn Elsewhere>, twins: bool) -> Self {
        Self { namespaces: namespaces.into(), elsewhere, here: false, twins }
    }

    /// The same rooms on this node alone, for what each node finds out by itself.
    #[must_use]
    pub fn here(&self) -> Self {
        Self { here: true, ..self.clone() }
    }

    /// Whether events go out under the names of the reference app, too.
    #[must_use]
    pub fn sends_twins(&self) -> bool {
        self.twins
    }

    /// Whether a socket of `user` is connected, to whichever node.
    #[must_use]
    pub fn is_connected(&self, user: &UserId) -> bool {
        let room = user_room(user);
        self.namespaces.iter().any(|namespace| namespace.has_room(&room)) || self.is_connected_elsewhere(user)
    }

    /// Whether a socket of `user` is connected to another node.
    #[must_use]
    pub fn is_connected_elsewhere(&self, user: &UserId) -> bool {
        self.elsewhere.is_connected(user)
    }

    /// The sockets of `user` on this node, as of now.
    #[must_use]
    pub fn sockets_of(&self, user: &UserId) -> Vec<Arc<Socket>> {
        let room = user_room(user);
        self.namespaces.iter().flat_map(|namespace| namespace.members(&room)).collect()
    }

    /// Ends the sessions of all sockets on this node.
    pub(crate) fn close_all(&self) {
        for socket in self.namespaces.iter().flat_map(|namespace| namespace.sockets()) {
            socket.close_session();
        }
    }

    /// Sends what is worthless when late to everybody in these conversations but `without`, each socket once. Slow readers do not
    /// get it.
    pub fn emit_ephemeral<E: ServerEvent>(&self, conversations: &[ConversationId], without: &UserId, event: &E) {
        let Some(json) = to_json(event) else { return };
        let rooms: Vec<String> = conversations.iter().copied().map(conversation_room).collect();
        let without = user_room(without);
        for namespace in &*self.namespaces {
            // Without a room a broadcast goes to all.
            let Some((first, others)) = rooms.split_first() else { return };
            let to = others.iter().fold(self.to(namespace, first), |to, room| to.to(room)).except(&without).volatile();
            for name in self.names::<E>() {
                to.emit_raw(name, &[&json], &[]);
            }
        }
    }

    /// Sends a change of the conversation's log, which is the event as JSON, to everybody in it: who has got it is tracked.
    /// Returns how many sockets that is.
    pub fn emit_change<E: ServerEvent>(&self, conversation: ConversationId, seq: u64, json: &str) -> usize {
        let mut receivers = 0;
        let room = conversation_room(conversation);
        for namespace in &*self.namespaces {
            let to = self.to(namespace, &room).tracked(*conversation.as_bytes(), seq);
            receivers += self.names::<E>().map(|name| to.emit_raw(name, &[json], &[])).sum::<usize>();
        }
        receivers
    }

    /// Sends an event to everybody in a conversation.
    pub fn emit_to_conversation<E: ServerEvent>(&self, conversation: ConversationId, event: &E) {
        self.emit(&conversation_room(conversation), event);
    }

    /// Sends an event to all sockets of a user.
    pub fn emit_to_user<E: ServerEvent>(&self, user: &UserId, event: &E) {
        self.emit(&user_room(user), event);
    }

    /// Sends an event to all sockets of a user but those in the room `without`. With a subject, it can be [withdrawn](Self::withdraw) from
    /// those that were cut off.
    pub fn emit_to_user_without<E: ServerEvent>(
        &self,
        user: &UserId,
        without: Option<&str>,
        subject: Option<[u8; 12]>,
        event: &E,
    ) {
        let Some(json) = to_json(event) else { return };
        let room = user_room(user);
        for namespace in &*self.namespaces {
            let to = without.into_iter().fold(self.to(namespace, &room), Broadcast::except);
            let to = subject.into_iter().fold(to, Broadcast::about);
            for name in self.names::<E>() {
                to.emit_raw(name, &[&json], &[]);
            }
        }
    }

    /// Keeps events about `subject` from sockets of a user that were cut off and have not had them.
    pub fn withdraw(&self, user: &UserId, subject: [u8; 12]) {
        let room = user_room(user);
        self.namespaces.iter().for_each(|namespace| namespace.withdraw(&room, subject));
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
        if let Some(json) = to_json(event) {
            self.emit_json::<E>(room, &json);
        }
    }

    fn emit_json<E: ServerEvent>(&self, room: &str, json: &str) {
        for namespace in &*self.namespaces {
            for name in self.names::<E>() {
                self.to(namespace, room).emit_raw(name, &[json], &[]);
            }
        }
    }

    fn to<'a>(&self, namespace: &'a Namespace, room: &'a str) -> Broadcast<'a> {
        let to = namespace.to(room);
        if self.here { to.local() } else { to }
    }

    fn names<E: ServerEvent>(&self) -> impl Iterator<Item = &'static str> {
        let twins = if self.twins { E::TWINS } else { &[] };
        std::iter::once(E::NAME).chain(twins.iter().copied())
    }
}

fn to_json<E: ServerEvent>(event: &E) -> Option<String> {
    let json = serde_json::to_string(event);
    json.inspect_err(|error| tracing::error!(%error, event = E::NAME, "an event could not be written as JSON")).ok()
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("namespaces", &self.namespaces).finish_non_exhaustive()
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

/// Lets changes of a conversation reach a socket that has been told its backlog.
pub(crate) fn go_live(socket: &Socket, conversation: ConversationId) {
    socket.release(*conversation.as_bytes());
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
