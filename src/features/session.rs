//! Coming in: the middleware of the chat namespaces, and the first event that a client gets.
//!
//! Spec: contract, section 2.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    NOTIFICATIONS, ROOT,
    auth::{Auth, Credentials, LiveSockets, SignedIn, SocketListener},
    conversations::Conversations,
    elsewhere::Elsewhere,
    offline_queue::OfflineQueue,
    rate_limits::RateLimits,
    typing,
};
use crate::{
    clock::Timestamp,
    ids::{ConversationId, SocketId, UserId},
    server::{
        Admission, ConnectError, ConnectRequest, Connecting, Event, Middleware, Refusal, ServerEvent, ServerEventDoc,
        Socket,
    },
    telemetry::Metrics,
    transport::Handshake,
};

/// What is sent beside the features.
pub const SERVER_EVENTS: &[ServerEventDoc] =
    &[ServerEventDoc::of::<SessionReady>(), ServerEventDoc::of::<ServerRestarting>()];

/// The first event after CONNECT in `/`: who one is, and how far each conversation goes; to the socket. What a recovered session has
/// missed comes behind it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionReady {
    /// The user of the token.
    pub user_id: UserId,
    /// This socket.
    pub socket_id: SocketId,
    /// The server's clock.
    pub server_time: Timestamp,
    /// Whether an earlier session was taken up again.
    pub recovered: bool,
    /// What a client may send.
    pub limits: SessionLimits,
    /// How often typing is to be repeated, and when it counts as over.
    pub typing: TypingTimes,
    /// The end of each conversation's log: what a client compares its cursors with.
    pub conversations: BTreeMap<ConversationId, u64>,
}

impl ServerEvent for SessionReady {
    const NAME: &'static str = "session:ready";
}

/// The server is going down; to all sockets. Clients come back by themselves.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerRestarting {
    /// When to come back: another moment for each socket, so that not all come at once.
    pub retry_after_ms: u64,
}

impl ServerEvent for ServerRestarting {
    const NAME: &'static str = "server:restarting";
}

/// What a client may send, for its input fields and its paging.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionLimits {
    /// Characters of a message.
    pub content_chars: usize,
    /// Messages and changes of one page of missed messages.
    pub missed_page: usize,
}

/// The times of typing, for clients to go by: they repeat as often, and stop showing what was not repeated.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypingTimes {
    /// Repeat `user:typing` as often.
    pub heartbeat_ms: u64,
    /// Without a repetition it is over after this time.
    pub expire_ms: u64,
}

/// Lets users with a good token in and puts them into their rooms.
pub struct ChatGate {
    auth: Arc<Auth>,
    metrics: Metrics,
    conversations: Arc<Conversations>,
    queue: OfflineQueue,
    rate_limits: Arc<RateLimits>,
    limits: SessionLimits,
    typing: TypingTimes,
    listeners: Vec<Arc<dyn SocketListener>>,
}

impl ChatGate {
    /// A gate for all chat namespaces.
    #[must_use]
    pub fn new(
        (auth, metrics): (Arc<Auth>, Metrics),
        (conversations, queue): (Arc<Conversations>, OfflineQueue),
        rate_limits: Arc<RateLimits>,
        limits: SessionLimits,
        typing: &typing::Config,
        listeners: Vec<Arc<dyn SocketListener>>,
    ) -> Self {
        let typing = TypingTimes { heartbeat_ms: typing.heartbeat_ms, expire_ms: typing.expire_ms };
        Self { auth, metrics, conversations, queue, rate_limits, limits, typing, listeners }
    }

    fn say_ready(&self, socket: &Arc<Socket>, signed_in: &SignedIn) {
        match self.conversations.heads(&signed_in.user) {
            Ok(conversations) => socket.greet(&SessionReady {
                user_id: signed_in.user.clone(),
                socket_id: socket.id().clone(),
                server_time: Timestamp::now(),
                recovered: socket.is_recovered(),
                limits: self.limits,
                typing: self.typing,
                conversations: conversations.into_iter().collect(),
            }),
            Err(error) => tracing::error!(%error, "a client was not told where its conversations end"),
        }
    }
}

impl Middleware for ChatGate {
    fn connect(&self, request: ConnectRequest) -> Connecting {
        let (auth, metrics) = (Arc::clone(&self.auth), self.metrics.clone());
        let rate_limits = Arc::clone(&self.rate_limits);
        Box::pin(async move {
            let signed_in = auth.sign_in(&Credentials::of_connect(&request)).await;
            match signed_in {
                Ok(signed_in) => {
                    rate_limits.signed_in(request.handshake.address);
                    let user = Some(signed_in.user.as_str().into());
                    Ok(Admission { socket_id: request.socket_id, data: Arc::new(signed_in), user })
                }
                Err(refusal) => {
                    metrics.auth_refusal(refusal.code);
                    let refusal = rate_limits.sign_in_refused(request.handshake.address, refusal);
                    Err(ConnectError::from_refusal(&refusal))
                }
            }
        })
    }

    fn join(&self, socket: &Arc<Socket>) -> Result<(), ConnectError> {
        let refuse = |refusal| ConnectError::from_refusal(&refusal);
        let user = &SignedIn::of(socket).map_err(refuse)?.user;
        let namespace = socket.namespace().name();
        self.rate_limits.enter(user, namespace).map_err(refuse)?;
        if socket.is_recovered() {
            return Ok(());
        }
        if &**namespace == NOTIFICATIONS {
            self.conversations.join_user_room(socket, user);
            return Ok(());
        }
        let joined = self.queue.join(socket, user);
        if joined.is_err() {
            self.rate_limits.leave(user, namespace);
        }
        joined.map_err(refuse)
    }

    fn admit(&self, socket: &Arc<Socket>, name: &str, event: &Event<'_>) -> Result<(), Refusal> {
        let signed_in = SignedIn::of(socket)?;
        self.listeners.iter().try_for_each(|listener| listener.admit(socket, signed_in, name, event))
    }

    fn greet(&self, socket: &Arc<Socket>) {
        if let Ok(signed_in) = SignedIn::of(socket)
            && &**socket.namespace().name() == ROOT
        {
            self.say_ready(socket, signed_in);
        }
    }

    fn connected(&self, socket: &Arc<Socket>, _: &Handshake) {
        let Ok(signed_in) = SignedIn::of(socket) else { return };
        self.listeners.iter().for_each(|listener| listener.connected(socket, signed_in));
    }

    fn confirmed(&self, socket: &Arc<Socket>, receipts: &[([u8; 12], u64)]) {
        if let Ok(signed_in) = SignedIn::of(socket) {
            self.queue.confirmed(socket, &signed_in.user, receipts);
        }
    }

    fn missed(&self, socket: &Arc<Socket>, first: &[([u8; 12], u64)]) {
        self.queue.resume(socket, first);
    }

    fn unconfirmed(&self, socket: &Arc<Socket>, receipts: &[([u8; 12], u64)]) {
        if let Ok(signed_in) = SignedIn::of(socket) {
            self.queue.unconfirmed(&signed_in.user, receipts);
        }
    }

    fn disconnected(&self, socket: &Arc<Socket>, reason: &str) {
        let Ok(signed_in) = SignedIn::of(socket) else { return };
        self.listeners.iter().for_each(|listener| listener.disconnected(socket, signed_in, reason));
    }

    fn binding(&self, socket: &Socket) -> Option<String> {
        LiveSockets::binding(SignedIn::of(socket).ok()?)
    }

    fn may_recover(&self, admission: &Admission, binding: Option<&str>) -> bool {
        let signed_in = admission.data.downcast_ref::<SignedIn>();
        signed_in.is_some_and(|signed_in| self.auth.live().may_recover(&signed_in.user, binding))
    }
}

/// Tells the other nodes of the sockets of this one.
pub(super) struct Announcer(pub(super) Arc<dyn Elsewhere>);

impl SocketListener for Announcer {
    fn connected(&self, _: &Arc<Socket>, user: &SignedIn) {
        self.0.came(&user.user);
    }

    fn disconnected(&self, _: &Arc<Socket>, user: &SignedIn, _: &str) {
        self.0.went(&user.user);
    }
}
