//! Coming in: the middleware of the chat namespaces, and the first event that a client gets.
//!
//! Spec: contract, section 2.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{
    ROOT,
    auth::{Auth, Credentials, SignedIn},
    conversations::Conversations,
};
use crate::{
    clock::Timestamp,
    ids::{ConversationId, SocketId, UserId},
    server::{Admission, ConnectError, ConnectRequest, Connecting, Middleware, ServerEvent, Socket},
    transport::Handshake,
};

/// The first event after CONNECT in `/`: who one is, and how far each conversation goes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReady {
    /// The user of the token.
    pub user_id: UserId,
    /// This socket.
    pub socket_id: SocketId,
    /// The server's clock.
    pub server_time: Timestamp,
    /// Whether an earlier session was taken up again; never yet.
    pub recovered: bool,
    /// What a client may send.
    pub limits: SessionLimits,
    /// The end of each conversation's log: what a client compares its cursors with.
    pub conversations: BTreeMap<ConversationId, u64>,
}

impl ServerEvent for SessionReady {
    const NAME: &'static str = "session:ready";
}

/// What a client may send, for its input fields and its paging.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionLimits {
    /// Characters of a message.
    pub content_chars: usize,
    /// Messages and changes of one page of missed messages.
    pub missed_page: usize,
}

/// Lets users with a good token in and puts them into their rooms.
pub struct ChatGate {
    auth: Arc<Auth>,
    conversations: Arc<Conversations>,
    limits: SessionLimits,
}

impl ChatGate {
    /// A gate for all chat namespaces.
    #[must_use]
    pub fn new(auth: Arc<Auth>, conversations: Arc<Conversations>, limits: SessionLimits) -> Self {
        Self { auth, conversations, limits }
    }
}

impl Middleware for ChatGate {
    fn connect(&self, request: ConnectRequest) -> Connecting {
        let auth = Arc::clone(&self.auth);
        Box::pin(async move {
            let signed_in = auth.sign_in(&Credentials::of_connect(&request)).await;
            match signed_in {
                Ok(signed_in) => Ok(Admission { socket_id: request.socket_id, data: Arc::new(signed_in) }),
                Err(refusal) => Err(ConnectError::from_refusal(&refusal)),
            }
        })
    }

    fn join(&self, socket: &Arc<Socket>) -> Result<(), ConnectError> {
        let refuse = |refusal| ConnectError::from_refusal(&refusal);
        let user = &SignedIn::of(socket).map_err(refuse)?.user;
        self.conversations.join_rooms(socket, user).map_err(refuse)
    }

    fn connected(&self, socket: &Arc<Socket>, _: &Handshake) {
        if &**socket.namespace().name() != ROOT {
            return;
        }
        let Ok(signed_in) = SignedIn::of(socket) else { return };
        match self.conversations.heads(&signed_in.user) {
            Ok(conversations) => socket.emit(&SessionReady {
                user_id: signed_in.user.clone(),
                socket_id: socket.id().clone(),
                server_time: Timestamp::now(),
                recovered: false,
                limits: self.limits,
                conversations: conversations.into_iter().collect(),
            }),
            Err(error) => tracing::error!(%error, "a client was not told where its conversations end"),
        }
    }

    fn disconnected(&self, _: &Arc<Socket>, _: &str) {}
}
