//! What stands between a CONNECT packet and a socket.

use std::{any::Any, pin::Pin, sync::Arc};

use super::{Event, Refusal, Socket};
use crate::{codes::ErrorCode, ids::SocketId, transport::Handshake};

/// A client asks to join a namespace.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The request that opened the session.
    pub handshake: Arc<Handshake>,
    /// The id that the socket will have.
    pub socket_id: SocketId,
    /// The auth object as JSON text (Engine.IO 4).
    pub auth: Option<String>,
    /// The query of the namespace, still percent-encoded (Engine.IO 3).
    pub query: Option<String>,
}

/// Lets a client in.
pub struct Admission {
    /// The id of the request.
    pub socket_id: SocketId,
    /// What handlers find through [`Socket::data`].
    pub data: Arc<dyn Any + Send + Sync>,
    /// Who it is, for the log.
    pub user: Option<Arc<str>>,
}

/// Why a client is not let in, as the client's `connect_error` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The sentence; the only thing that Engine.IO 3 clients get.
    pub message: String,
    /// `data` of the error as JSON text.
    pub data: Option<String>,
    /// The code under which it is counted and logged; clients find it in `data`, where there is any.
    pub code: ErrorCode,
}

impl ConnectError {
    /// A refusal with its code and details.
    #[must_use]
    pub fn from_refusal(refusal: &Refusal) -> Self {
        Self { message: refusal.message.clone(), data: Some(refusal.to_connect_data()), code: refusal.code }
    }

    /// There is no such namespace. The official server's words, without data.
    #[must_use]
    pub fn invalid_namespace() -> Self {
        Self { message: "Invalid namespace".to_owned(), data: None, code: ErrorCode::NotFound }
    }

    /// The server failed.
    #[must_use]
    pub fn internal() -> Self {
        Self::from_refusal(&Refusal::new(ErrorCode::Internal, "the server failed to connect this socket"))
    }
}

/// The future of [`Middleware::connect`].
pub type Connecting = Pin<Box<dyn Future<Output = Result<Admission, ConnectError>> + Send>>;

/// Decides who may join a namespace, and prepares the socket.
pub trait Middleware: Send + Sync + 'static {
    /// Checks the request. Nothing of the namespace is reachable for the client until this has succeeded.
    fn connect(&self, request: ConnectRequest) -> Connecting;

    /// The socket exists and is addressable; puts it into its rooms. Its CONNECT answer is queued afterwards. A socket that is
    /// [recovered](Socket::is_recovered) is in its rooms already.
    ///
    /// # Errors
    ///
    /// The socket is removed and the client refused.
    fn join(&self, socket: &Arc<Socket>) -> Result<(), ConnectError>;

    /// Asked before every event is handled, whether it has a handler or not. `name` is the event's present name where the client
    /// used an older one.
    ///
    /// # Errors
    ///
    /// The event is refused and not handled.
    fn admit(&self, _socket: &Arc<Socket>, _name: &str, _event: &Event<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// The CONNECT answer is queued: what is sent here with [`Socket::greet`] is the first thing the client gets. Nothing else may be
    /// sent here.
    fn greet(&self, _socket: &Arc<Socket>) {}

    /// The CONNECT answer, the greeting and what a recovered socket has missed are queued: what is emitted here comes next.
    fn connected(&self, socket: &Arc<Socket>, handshake: &Handshake);

    /// The client has what these receipts belong to: key and number, in the order of sending.
    fn confirmed(&self, _socket: &Arc<Socket>, _receipts: &[([u8; 12], u64)]) {}

    /// The client of a recovered socket has missed these, the first one of each key, and all that follow them under their keys: they are to be
    /// told from the log that they are in. Broadcasts with these keys are held back, each until [`Socket::release`]. Called
    /// between [`Middleware::join`] and [`Middleware::connected`]; nothing may be sent here.
    ///
    /// By itself this releases them: whoever tracks nothing has nothing to tell.
    fn missed(&self, socket: &Arc<Socket>, first: &[([u8; 12], u64)]) {
        for (key, _) in first {
            socket.release(*key);
        }
    }

    /// The socket is about to go, and whether the client has what these receipts belong to is not known.
    fn unconfirmed(&self, _socket: &Arc<Socket>, _receipts: &[([u8; 12], u64)]) {}

    /// The socket has left its namespace and its rooms. Should its client take it up again, that is another socket with the same id.
    fn disconnected(&self, socket: &Arc<Socket>, reason: &str);

    /// What [`Middleware::may_recover`] wants to look at when the client of this socket, which is about to go, comes back.
    fn binding(&self, _socket: &Socket) -> Option<String> {
        None
    }

    /// Whether somebody who was admitted may take up a session of the same user that had this binding.
    fn may_recover(&self, _admission: &Admission, _binding: Option<&str>) -> bool {
        true
    }
}
