//! What other features do when sockets of users come and go, and when somebody makes a REST request.

use std::sync::Arc;

use super::SignedIn;
use crate::server::{Event, Refusal, Socket};

/// A feature that has a say about sockets, or wants to know of them. All namespaces are told; `socket.namespace()` says which.
pub trait SocketListener: Send + Sync {
    /// A socket is in its rooms and its CONNECT answer is queued: what is emitted here comes after `session:ready`. Must not block.
    fn connected(&self, _socket: &Arc<Socket>, _user: &SignedIn) {}

    /// A socket has left its namespace and its rooms.
    fn disconnected(&self, _socket: &Arc<Socket>, _user: &SignedIn, _reason: &str) {}

    /// Whether an event may be handled. `name` is the present name of the event where the client used an older one.
    ///
    /// # Errors
    ///
    /// The event is refused with this.
    fn admit(&self, _socket: &Arc<Socket>, _user: &SignedIn, _name: &str, _event: &Event<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A feature that has a say about REST requests. The extensions of a request carry it as `Arc<dyn RequestListener>`.
pub trait RequestListener: Send + Sync {
    /// A signed-in user makes the request.
    ///
    /// # Errors
    ///
    /// The request is refused with this.
    fn user(&self, _user: &SignedIn) -> Result<(), Refusal> {
        Ok(())
    }

    /// The app's backend makes the request, with this key.
    ///
    /// # Errors
    ///
    /// The request is refused with this.
    fn backend(&self, _key_id: &str) -> Result<(), Refusal> {
        Ok(())
    }
}
