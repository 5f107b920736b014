//! The Socket.IO core: namespaces, sockets, rooms, acks, broadcasts, middleware, typed events.
//!
//! It knows nothing about chat; `examples/echo.rs` is another application on it. One [`Server`] has a fixed set of namespaces,
//! each with its [`Middleware`] and its [`Routes`]. Applications address sockets through [`Namespace`], which they hold
//! themselves.

mod broadcast;
mod client;
mod encode;
mod event;
mod hold;
mod leave;
mod middleware;
mod namespace;
mod parked;
mod recovery;
mod refusal;
mod registry;
mod remote;
mod reply;
mod rest;
mod ring;
mod routes;
mod socket;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;

use self::routes::Route;
pub use self::{
    broadcast::Broadcast,
    client::Client,
    event::{Args, ClientEvent, Event, Handler, Outcome, Reply, ServerEvent, decode_json, object},
    middleware::{Admission, ConnectError, ConnectRequest, Connecting, Middleware},
    namespace::Namespace,
    parked::SavedSession,
    recovery::Recovery,
    refusal::{ErrorBody, Refusal, Refused, RequestFailed},
    registry::{ClientEventDoc, NamespaceDoc, SchemaFn, ServerEventDoc},
    rest::{Access, Endpoint, Params, Payload, Rest},
    routes::Routes,
    socket::{AckError, Socket},
};
use crate::{
    protocol::socketio,
    telemetry::Metrics,
    transport::{Application, Config, Handshake, Permit, Rejection, Session},
};

/// What the core itself sends.
pub const SERVER_EVENTS: &[ServerEventDoc] = &[ServerEventDoc::of::<RequestFailed>()];

/// What one client may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Limits of packets: attachments, event names, nesting.
    pub packets: socketio::Limits,
    /// Bytes of one message, attachments included, once a namespace was joined.
    pub max_message_bytes: usize,
    /// The same before that.
    pub unauthenticated_bytes: usize,
    /// Within this time a namespace must have been joined.
    pub connect_timeout: Duration,
    /// Namespaces of one session.
    pub max_namespaces: usize,
    /// Events of one session under way at once; reading pauses beyond.
    pub in_flight_events: usize,
    /// For how long, and by how much, a session can be taken up again.
    pub recovery: Recovery,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            packets: socketio::Limits::default(),
            max_message_bytes: config.max_http_buffer_bytes,
            unauthenticated_bytes: config.unauthenticated_bytes.min(config.max_http_buffer_bytes),
            connect_timeout: config.connect_timeout(),
            max_namespaces: config.max_namespaces,
            in_flight_events: config.in_flight_events,
            recovery: Recovery::new(config.recovery(), config.outbox_packets, config.outbox_bytes),
        }
    }
}

/// A Socket.IO server: what [`Transport`](crate::transport::Transport) runs.
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    routes: HashMap<Arc<str>, Arc<Route>>,
    limits: Limits,
    metrics: Metrics,
    /// Events under names that nobody serves.
    unknown_events: Counter,
    panics: AtomicU64,
    allow: Option<Allow>,
    admit: Option<Admit>,
}

/// Decides whether a session from an address may be opened.
type Allow = Box<dyn Fn(&Handshake) -> bool + Send + Sync>;
type Admit = Box<dyn Fn(IpAddr) -> Result<Option<Permit>, Rejection> + Send + Sync>;

impl Server {
    /// A server without namespaces.
    pub fn builder(limits: Limits) -> Builder {
        Builder { routes: HashMap::new(), limits, metrics: Metrics::default(), allow: None, admit: None }
    }

    /// How many handlers have panicked since the start. Each is a bug; the test suite expects 0.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }
}

impl Application for Server {
    type Connection = Client;

    fn allows(&self, handshake: &Handshake) -> bool {
        self.shared.allow.as_ref().is_none_or(|allow| allow(handshake))
    }

    fn admit(&self, address: IpAddr) -> Result<Option<Permit>, Rejection> {
        self.shared.admit.as_ref().map_or(Ok(None), |admit| admit(address))
    }

    fn open(&self, session: Arc<Session>, handshake: Handshake) -> Client {
        Client::new(Arc::clone(&self.shared), session, handshake)
    }
}

/// Puts a [`Server`] together.
#[must_use]
pub struct Builder {
    routes: HashMap<Arc<str>, Arc<Route>>,
    limits: Limits,
    metrics: Metrics,
    allow: Option<Allow>,
    admit: Option<Admit>,
}

impl Builder {
    /// Counts into these metrics. To be said before namespaces are added.
    pub fn metrics(self, metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    /// Has `allow` asked before a session is opened: see [`Application::allows`].
    pub fn allow(self, allow: impl Fn(&Handshake) -> bool + Send + Sync + 'static) -> Self {
        Self { allow: Some(Box::new(allow)), ..self }
    }

    /// Has `admit` asked before a session is opened: see [`Application::admit`].
    pub fn admit(self, admit: impl Fn(IpAddr) -> Result<Option<Permit>, Rejection> + Send + Sync + 'static) -> Self {
        Self { admit: Some(Box::new(admit)), ..self }
    }

    /// Adds a namespace with what serves it.
    pub fn namespace(mut self, namespace: &Arc<Namespace>, middleware: Arc<dyn Middleware>, routes: Routes) -> Self {
        namespace.set_middleware(&middleware);
        let route = Route::new(Arc::clone(namespace), middleware, routes, &self.metrics);
        self.routes.insert(Arc::clone(namespace.name()), Arc::new(route));
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> Server {
        let Self { routes, limits, metrics, allow, admit } = self;
        let unknown_events = metrics.event(None);
        let shared = Shared { routes, limits, metrics, unknown_events, panics: AtomicU64::new(0), allow, admit };
        Server { shared: Arc::new(shared) }
    }
}
