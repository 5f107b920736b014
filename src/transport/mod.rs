//! HTTP long-polling and WebSocket: one task per session drives [`protocol::engineio`](crate::protocol::engineio).
//!
//! The layer above implements [`Application`] and [`Connection`]; it is called inline by the session's task, in the order in
//! which the client sent, and sends through the [`Session`] handle from anywhere. Nothing here knows Socket.IO.
//!
//! What is sent with a [`Receipt`] is told back once the client is proved to have it ([`Connection::handle_confirmed`]), or when the
//! session ends before that ([`Connection::handle_unconfirmed`]). `proof.rs` says what counts as proof.

mod accept;
mod channel;
mod config;
mod deflate;
mod io;
mod outbox;
mod outgoing;
mod plain;
mod proof;
mod requests;
mod session;
mod task;
#[cfg(test)]
mod tests;
mod websocket;

use std::{
    any::Any,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use dashmap::DashMap;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) use self::io::take_stream;
pub use self::{
    config::{Config, TransportName},
    outgoing::{BinaryPacket, Outgoing, TextPacket, TextWriter},
    plain::echo,
    proof::{Latency, Receipt},
    requests::{sid_of, unknown_session},
    session::{Handshake, Session},
};
use self::{
    outbox::OutboxLimits,
    task::{SessionTask, Way},
};
use crate::{
    clock,
    ids::Sid,
    protocol::engineio::{self, CloseReason, Packet, Timing, TransportKind},
};

/// The body of every answer of this layer.
pub type Body = http_body_util::Full<bytes::Bytes>;

/// What runs on top of the transport.
pub trait Application: Send + Sync + 'static {
    /// The state of one session; its task owns it.
    type Connection: Connection;

    /// Whether a session may be opened by such a request, whoever sends it. A handshake that may not is forbidden.
    fn allows(&self, _handshake: &Handshake) -> bool {
        true
    }

    /// Whether a session may be opened from this address; asked at the handshake, before anything is kept for it. What it gives is kept
    /// for as long as the session lives.
    ///
    /// # Errors
    ///
    /// The handshake is answered with 429 and this.
    fn admit(&self, _address: IpAddr) -> Result<Option<Permit>, Rejection> {
        Ok(None)
    }

    /// A client has opened a session. Its open packet is queued already.
    fn open(&self, session: Arc<Session>, handshake: Handshake) -> Self::Connection;
}

/// What the layer above keeps with a session; dropped at its end.
pub type Permit = Arc<dyn Any + Send + Sync>;

/// Why a session may not be opened for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A sentence.
    pub message: &'static str,
    /// The limit that was reached.
    pub limit: u32,
    /// When to come again.
    pub retry_after: Duration,
}

/// The layer above, as the task of one session sees it. Everything is called from that task and must not block.
pub trait Connection: Send + Unpin + 'static {
    /// Whether characters beyond ASCII occur within JSON texts only, so that they may be written as escapes.
    const TEXT_IS_JSON: bool = false;

    /// A text message arrived.
    ///
    /// # Errors
    ///
    /// The session is closed for this reason.
    fn handle_text(&mut self, text: &str) -> Result<(), CloseReason>;

    /// A binary message arrived.
    ///
    /// # Errors
    ///
    /// The session is closed for this reason.
    fn handle_binary(&mut self, data: &[u8]) -> Result<(), CloseReason>;

    /// Goes on with what is under way. True when some of it finished.
    fn poll(&mut self, _cx: &mut Context<'_>) -> bool {
        false
    }

    /// True while so much is under way that the client should be slowed down.
    fn is_busy(&self) -> bool {
        false
    }

    /// True while anything is under way that will be answered.
    fn has_pending(&self) -> bool {
        false
    }

    /// When [`Connection::handle_timeout`] wants to be called.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has come.
    ///
    /// # Errors
    ///
    /// The session is closed for this reason.
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), CloseReason> {
        Ok(())
    }

    /// The client has the packets of these receipts, in the order in which they were sent.
    fn handle_confirmed(&mut self, _receipts: &[Receipt]) {}

    /// More has arrived, with or without receipts: [`Session::proved`] tells how far.
    fn handle_proof(&mut self) {}

    /// The session is about to end, and whether the client has the packets of these receipts is not known. Nothing is tracked any
    /// more: what is sent with a receipt from now on is dropped.
    fn handle_unconfirmed(&mut self, _receipts: &[Receipt]) {}

    /// The session has ended. Called once.
    fn handle_close(&mut self, _reason: CloseReason) {}
}

/// All sessions of this process.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: DashMap<Sid, Arc<Session>>,
}

impl Registry {
    fn find(&self, sid: &str) -> Option<Arc<Session>> {
        self.sessions.get(sid).map(|session| Arc::clone(&session))
    }

    fn remove(&self, sid: &Sid) {
        self.sessions.remove(sid);
    }
}

/// Serves Engine.IO: hand it the requests to its path. Cloning shares it.
pub struct Transport<A: Application> {
    shared: Arc<Shared<A>>,
}

struct Shared<A> {
    config: Config,
    application: A,
    /// What the ids of sessions end with.
    tag: Box<str>,
    registry: Arc<Registry>,
    tracker: TaskTracker,
    /// Volatile packets that slow readers did not get.
    volatile_dropped: Arc<AtomicU64>,
    /// No new sessions then, and less waits for the others.
    memory_is_scarce: Arc<AtomicBool>,
    /// Why all sessions were ended; no new one is opened then.
    closing: OnceLock<CloseReason>,
}

impl<A: Application> Clone for Transport<A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<A: Application> Transport<A> {
    /// A transport whose session tasks are tracked by `tracker`.
    pub fn new(config: Config, application: A, tracker: TaskTracker) -> Self {
        Self::tagged(config, application, tracker, "")
    }

    /// The same, with ids of sessions that end with `tag`.
    pub fn tagged(config: Config, application: A, tracker: TaskTracker, tag: &str) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                application,
                tag: tag.into(),
                registry: Arc::default(),
                volatile_dropped: Arc::default(),
                memory_is_scarce: Arc::default(),
                tracker,
                closing: OnceLock::new(),
            }),
        }
    }

    /// The layer above.
    pub fn application(&self) -> &A {
        &self.shared.application
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.shared.registry.sessions.len()
    }

    /// How many sessions use which transport at the moment.
    pub fn sessions_by_transport(&self) -> [(TransportKind, usize); 2] {
        let transports = self.shared.registry.sessions.iter().map(|session| session.transport());
        let (polling, all) = transports.fold((0, 0), |(polling, all), transport| {
            (polling + usize::from(transport == TransportKind::Polling), all + 1)
        });
        [(TransportKind::Polling, polling), (TransportKind::WebSocket, all - polling)]
    }

    /// Volatile packets that slow readers did not get, since the start.
    pub fn volatile_dropped(&self) -> u64 {
        self.shared.volatile_dropped.load(Ordering::Relaxed)
    }

    /// While memory is scarce, handshakes are answered with 503 and an eighth of what may wait for a client may wait for it.
    pub fn set_memory_scarce(&self, scarce: bool) {
        self.shared.memory_is_scarce.store(scarce, Ordering::Relaxed);
    }

    /// Ends all sessions: what is queued for each is written first. From now on no new one is opened.
    pub fn close_all(&self, reason: CloseReason) {
        self.shared.closing.get_or_init(|| reason);
        for session in &self.shared.registry.sessions {
            session.close(reason);
        }
    }

    /// Opens a session and spawns its task. The open packet is the first in its queue.
    fn open(&self, handshake: Handshake, way: Way, permit: Option<Permit>) -> Arc<Session> {
        let transport = way.kind();
        let Shared { config, application, tag, registry, tracker, closing, volatile_dropped, memory_is_scarce } =
            &*self.shared;
        let limits = OutboxLimits { packets: config.outbox_packets, bytes: config.outbox_bytes };
        let mut session = Session::new(
            Sid::fresh_with(tag),
            handshake.version,
            transport,
            limits,
            config.max_http_buffer_bytes,
            config.ping_interval(),
        );
        session.count_dropped(volatile_dropped);
        session.follow_memory(memory_is_scarce);
        let session = Arc::new(session);
        let timing = Timing {
            ping_interval: config.ping_interval(),
            ping_timeout: config.ping_timeout(),
            upgrade_timeout: config.upgrade_timeout(),
        };
        let engine = engineio::Session::new(handshake.version, transport, timing, clock::now().into_std());
        session.send(&[Outgoing::from_packet(&open_packet(config, &session, transport))]);
        registry.sessions.insert(session.sid().clone(), Arc::clone(&session));
        let connection = application.open(Arc::clone(&session), handshake);
        // A handshake that was under way when all sessions were ended.
        if let Some(reason) = closing.get() {
            session.close(*reason);
        }
        let registry = Arc::clone(registry);
        let task = SessionTask::new(Arc::clone(&session), registry, engine, connection, way);
        match permit {
            None => tracker.spawn(task),
            Some(permit) => tracker.spawn(async move {
                task.await;
                drop(permit);
            }),
        };
        session
    }
}

fn open_packet(config: &Config, session: &Session, transport: TransportKind) -> Packet<'static> {
    let upgrades = match transport {
        TransportKind::Polling if config.upgrades() => r#""websocket""#,
        TransportKind::Polling | TransportKind::WebSocket => "",
    };
    // By hand, since every client that comes is sent it; nothing in it needs an escape.
    let open = format!(
        r#"{{"sid":"{}","upgrades":[{upgrades}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
        session.sid().as_str(),
        config.ping_interval_ms,
        config.ping_timeout_ms,
        config.max_http_buffer_bytes,
    );
    Packet::Open(open.into())
}
