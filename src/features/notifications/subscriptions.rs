//! Which types a socket is told of: all, until it says otherwise.
//!
//! What a socket does not want is kept as rooms that a broadcast leaves out, one for each type and user: they end with the
//! socket, and every node knows its own.

use std::sync::Arc;

use super::Kind;
use crate::{ids::UserId, server::Socket};

/// The sockets of `user` that are not told of `kind`. Types have no colon, so this is nobody else's room.
pub(super) fn without_room(kind: Kind, user: &UserId) -> String {
    format!("without:{}:{user}", kind.name())
}

/// Tells a socket of `types`: of these alone if it was told of everything, else of these as well. No types change nothing.
pub(super) fn subscribe(socket: &Arc<Socket>, user: &UserId, types: &[Kind]) {
    if types.is_empty() {
        return;
    }
    if subscribed(socket, user).len() == Kind::ALL.len() {
        let others: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !types.contains(kind)).collect();
        return unsubscribe(socket, user, &others);
    }
    let rooms: Vec<String> = types.iter().map(|kind| without_room(*kind, user)).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    socket.namespace().leave(socket, &rooms);
}

/// No longer tells a socket of `types`, but for what is urgent.
pub(super) fn unsubscribe(socket: &Arc<Socket>, user: &UserId, types: &[Kind]) {
    let rooms: Vec<String> = types.iter().map(|kind| without_room(*kind, user)).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    socket.namespace().join(socket, &rooms);
}

/// What a socket is told of.
pub(super) fn subscribed(socket: &Socket, user: &UserId) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|kind| !socket.is_in(&without_room(*kind, user))).collect()
}
