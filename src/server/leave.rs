//! How a socket leaves its namespace, whoever wants that.

use std::{sync::Arc, time::Duration};

use super::{Middleware, Socket, encode};
use crate::{clock, telemetry::SOCKET_EVENTS, transport::Receipt};

impl Socket {
    /// Disconnects the socket from its namespace. The session and its other namespaces go on, and the client does not come back by
    /// itself.
    pub fn disconnect(self: &Arc<Self>) {
        let Some(middleware) = self.namespace().middleware() else { return self.close_session() };
        end_receipts(&*middleware, self, &self.session().take_receipts(self.number()));
        if leave(&*middleware, self, "server namespace disconnect", None) {
            self.send(&encode::disconnect(self.namespace().name()));
        }
    }
}

/// Whether the client has what was tracked will not be known.
pub(super) fn end_receipts(middleware: &dyn Middleware, socket: &Arc<Socket>, unproved: &[Receipt]) {
    if !unproved.is_empty() {
        let unproved: Vec<_> = unproved.iter().map(|receipt| (receipt.key, receipt.seq)).collect();
        middleware.unconfirmed(socket, &unproved);
    }
}

/// Ends a socket, once; false when it had ended before. Within `window` its client may take up the session again.
pub(super) fn leave(middleware: &dyn Middleware, socket: &Arc<Socket>, reason: &str, window: Option<Duration>) -> bool {
    // Looked at first: what was held back from a socket that has gone is released, and was never sent.
    let window = window.filter(|_| socket.may_be_parked());
    if !socket.mark_disconnected() {
        return false;
    }
    let namespace = socket.namespace();
    let parked = window.and_then(|window| namespace.park(socket, middleware.binding(socket), clock::now() + window));
    if window.is_none() {
        namespace.remove(socket);
    }
    let tell = || {
        let (socket_id, user, namespace) = (socket.log_id(), socket.user(), namespace.name());
        tracing::info!(
            target: SOCKET_EVENTS, socketId = socket_id, userId = user, %namespace, reason, "Socket disconnected"
        );
        middleware.disconnected(socket, reason);
    };
    match parked {
        Some(parked) => parked.bid_farewell(tell),
        None => tell(),
    }
    true
}
