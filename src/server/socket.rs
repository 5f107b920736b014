//! One client in one namespace.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use thiserror::Error;
use tokio::{sync::oneshot, time::timeout};

use super::{
    Admission, Args, Namespace, Refusal, RequestFailed, ServerEvent, encode,
    hold::Hold,
    recovery::{Recoverable, pid},
    ring::{Numbered, Ring, Subject, Tracked},
};
use crate::{
    clock::Timestamp,
    ids::{Sid, SocketId},
    protocol::{engineio::CloseReason, socketio::Encoding},
    telemetry::SOCKET_EVENTS,
    transport::{Outgoing, Receipt, Session},
};

/// Most acks that the server may be waiting for on one socket. A client that never answers must not fill memory.
const MAX_PENDING_ACKS: usize = 1024;

/// Why an ack did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AckError {
    /// The client did not answer in time.
    #[error("no ack in time")]
    Timeout,
    /// The socket disconnected first.
    #[error("socket disconnected")]
    Disconnected,
    /// Too many acks are outstanding on this socket.
    #[error("more than {MAX_PENDING_ACKS} acks outstanding")]
    TooMany,
}

/// Most events for a socket whose CONNECT answer is not queued yet, which takes a moment. One with more is closed.
const MAX_EARLY: usize = 1024;

/// Something that waits for the CONNECT answer to go first.
enum Early {
    Plain(Vec<Outgoing>, Delivery),
    Numbered(Arc<Numbered>),
}

/// How packets go out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    /// They may be dropped.
    pub(super) volatile: bool,
    /// Somebody wants to hear of their arrival.
    pub(super) tracked: Option<Tracked>,
}

/// Who waits for which ack. Boxed, since few sockets are ever asked for one.
type PendingAcks = Option<Box<HashMap<u64, oneshot::Sender<Args>>>>;

/// One client in one namespace, as handlers and broadcasts see it.
pub struct Socket {
    id: SocketId,
    number: u32,
    namespace: Arc<Namespace>,
    session: Arc<Session>,
    encoding: Encoding,
    data: Arc<dyn Any + Send + Sync>,
    user: Option<Arc<str>>,
    address: IpAddr,
    since: Timestamp,
    connected: AtomicBool,
    rooms: Mutex<HashSet<Arc<str>>>,
    /// Packets that came before the CONNECT answer was queued; `None` afterwards.
    early: Mutex<Option<Vec<Early>>>,
    connecting: AtomicBool,
    hold: Hold,
    /// `None` for clients that do not know of recovery, and while it is off.
    recovery: Option<Box<Recoverable>>,
    next_ack: AtomicU64,
    acks: Mutex<PendingAcks>,
}

impl Socket {
    pub(super) fn new(
        (id, recovery): (SocketId, Option<Recoverable>),
        admission: &Admission,
        number: u32,
        namespace: Arc<Namespace>,
        (session, encoding): (Arc<Session>, Encoding),
        address: IpAddr,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            number,
            namespace,
            session,
            encoding,
            data: Arc::clone(&admission.data),
            user: admission.user.clone(),
            address,
            since: Timestamp::now(),
            connected: AtomicBool::new(true),
            rooms: Mutex::default(),
            early: Mutex::new(Some(Vec::new())),
            connecting: AtomicBool::new(true),
            hold: Hold::default(),
            recovery: recovery.map(Box::new),
            next_ack: AtomicU64::new(0),
            acks: Mutex::default(),
        })
    }

    /// The public id; another one in each namespace.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        &self.id
    }

    /// The id for the log, cut to its first characters where it is the session's sid, with which polling requests prove who they are:
    /// so it is for clients 1.x and 2.x.
    #[must_use]
    pub fn log_id(&self) -> &str {
        let (id, sid) = (self.id.as_str(), self.session.sid());
        match id.strip_suffix(sid.as_str()) {
            Some(prefix) => id.get(..prefix.len().saturating_add(Sid::LOGGED_CHARS)).unwrap_or_default(),
            None => id,
        }
    }

    /// The namespace it is connected to.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The Engine.IO session beneath.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the middleware attached when it let the socket in.
    #[must_use]
    pub fn data<T: Any>(&self) -> Option<&T> {
        self.data.downcast_ref()
    }

    /// Who it is, for the log.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Where the client opened its session from.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// When it connected to its namespace.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// True when the client has taken up the session of an earlier socket with the same id, and gets what it has missed: what is tracked
    /// by [`Middleware::missed`](super::Middleware::missed).
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.resumed_at.is_some())
    }

    /// False once the socket has left its namespace.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// True when the socket is in `room`.
    #[must_use]
    pub fn is_in(&self, room: &str) -> bool {
        self.rooms().contains(room)
    }

    /// Sends a typed event to this client alone.
    pub fn emit<E: ServerEvent>(&self, event: &E) {
        match serde_json::to_string(event) {
            Ok(json) => self.emit_raw(E::NAME, &[&json], &[]),
            Err(error) => tracing::error!(%error, event = E::NAME, "an event could not be written as JSON"),
        }
    }

    /// Sends an event whose arguments are JSON texts, with the attachments of their placeholders.
    pub fn emit_raw(&self, name: &str, args: &[&str], attachments: &[Bytes]) {
        self.log_emission(name);
        self.send_event(name, args, attachments, None);
    }

    /// Sends a typed event before everything else: only from [`Middleware::greet`](super::Middleware::greet).
    ///
    /// What a recovered client has missed comes behind it, so the greeting carries the offset that the client came with: a client that
    /// is cut off right after it has missed just as much.
    pub fn greet<E: ServerEvent>(&self, event: &E) {
        let json = match serde_json::to_string(event) {
            Ok(json) => json,
            Err(error) => return tracing::error!(%error, event = E::NAME, "an event could not be written as JSON"),
        };
        self.log_emission(E::NAME);
        let (namespace, args) = (self.namespace.name(), [&*json]);
        let resumed_at = self.recovery.as_ref().and_then(|recovery| recovery.resumed_at);
        match (resumed_at, &self.recovery) {
            (Some(offset), _) => {
                let packets = encode::numbered_event(namespace, offset, E::NAME, &args, &[]);
                self.session.send(&encode::in_form(self.encoding, &packets));
            }
            (None, Some(_)) => {
                self.push_numbered(&self.namespace.number(E::NAME, &args, &[], (None, None)));
            }
            (None, None) => {
                let packets = encode::event(namespace, None, E::NAME, &args, &[]);
                self.session.send(&encode::in_form(self.encoding, &packets));
            }
        }
    }

    /// The same, and [`Middleware::confirmed`](super::Middleware::confirmed) hears of `key` and `seq` once the client has it.
    pub fn emit_tracked(&self, name: &str, args: &[&str], key: [u8; 12], seq: u64) {
        self.log_emission(name);
        self.send_event(name, args, &[], Some((key, seq)));
    }

    /// [`Middleware::confirmed`](super::Middleware::confirmed) hears of `key` and `seq` once the client has everything that was sent
    /// before.
    pub fn track(&self, key: [u8; 12], seq: u64) {
        self.deliver(&[], Delivery { tracked: Some((key, seq)), ..Delivery::default() });
    }

    /// From now on tracked broadcasts are not sent to this socket: what was missed before has to come first. [`Socket::hold`] says of
    /// which keys that is true.
    pub fn hold_all(&self) {
        self.hold.all();
    }

    /// Goes on holding back what is tracked by these keys alone, and by those of which something was held back since
    /// [`Socket::hold_all`]. Returns them all; each is held until [`Socket::release`].
    pub fn hold(&self, keys: HashSet<[u8; 12]>) -> HashSet<[u8; 12]> {
        self.hold.narrow(keys)
    }

    /// From now on broadcasts with this key are sent.
    pub fn release(&self, key: [u8; 12]) {
        self.hold.release(key);
    }

    /// Sends an event and waits for the client's ack.
    ///
    /// # Errors
    ///
    /// When the client does not answer within `patience`, disconnects, or owes too many acks already.
    pub async fn emit_with_ack(&self, name: &str, args: &Args, patience: Duration) -> Result<Args, AckError> {
        let (sender, answer) = oneshot::channel();
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        {
            let mut acks = self.acks();
            let acks = acks.get_or_insert_default();
            if acks.len() >= MAX_PENDING_ACKS {
                return Err(AckError::TooMany);
            }
            acks.insert(id, sender);
        }
        if !self.is_connected() {
            self.forget_ack(id);
            return Err(AckError::Disconnected);
        }
        let json: Vec<&str> = args.json.iter().map(String::as_str).collect();
        self.send(&encode::event(self.namespace.name(), Some(id), name, &json, &args.attachments));
        let answer = timeout(patience, answer).await;
        self.forget_ack(id);
        match answer {
            Ok(Ok(args)) => Ok(args),
            Ok(Err(_)) => Err(AckError::Disconnected),
            Err(_) => Err(AckError::Timeout),
        }
    }

    /// Tells the client of a refusal that no ack can carry.
    pub fn emit_refusal(&self, event: &str, refusal: &Refusal) {
        self.emit_raw(RequestFailed::NAME, &[&refusal.to_event(event)], &[]);
    }

    /// Ends the whole session, all namespaces of this client.
    pub fn close_session(&self) {
        self.session.close(CloseReason::ServerClose);
    }

    fn send_event(&self, name: &str, args: &[&str], attachments: &[Bytes], tracked: Option<Tracked>) {
        if self.is_recoverable() {
            self.deliver_numbered(&self.namespace.number(name, args, attachments, (tracked, None)));
        } else {
            let packets = encode::event(self.namespace.name(), None, name, args, attachments);
            self.deliver(&packets, Delivery { volatile: false, tracked });
        }
    }

    /// Sends packets that are no event with an offset.
    pub(super) fn send(&self, packets: &[Outgoing]) {
        self.deliver(packets, Delivery::default());
    }

    /// Sends packets.
    pub(super) fn deliver(&self, packets: &[Outgoing], delivery: Delivery) {
        let connecting = self.connecting.load(Ordering::Acquire);
        if !(connecting && self.keep_early(|| Early::Plain(packets.to_vec(), delivery))) {
            self.push(packets, delivery);
        }
    }

    /// Sends an event that is kept for a client that is cut off.
    pub(super) fn deliver_numbered(&self, event: &Arc<Numbered>) {
        let connecting = self.connecting.load(Ordering::Acquire);
        if !(connecting && self.keep_early(|| Early::Numbered(Arc::clone(event)))) {
            self.push_numbered(event);
        }
    }

    fn push(&self, packets: &[Outgoing], Delivery { volatile, tracked }: Delivery) {
        let packets = encode::in_form(self.encoding, packets);
        match self.receipt(tracked) {
            Some(receipt) => self.session.send_tracked(&packets, receipt),
            None if volatile => self.session.send_volatile(&packets),
            None => self.session.send(&packets),
        }
    }

    fn push_numbered(&self, event: &Arc<Numbered>) {
        let Some(recovery) = &self.recovery else { return };
        let packets = encode::in_form(self.encoding, &event.packets);
        recovery.push(event, || self.session.send_numbered(&packets, self.receipt(event.tracked)));
    }

    fn receipt(&self, tracked: Option<Tracked>) -> Option<Receipt> {
        tracked.map(|(key, seq)| Receipt { socket: self.number, key, seq })
    }

    /// Queues what a recovered client has missed, and behind it what was sent to the socket before its CONNECT answer.
    pub(super) fn go_live(&self) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let recovered = self.recovery.as_ref().filter(|_| self.is_recovered());
        for event in recovered.map(|recovery| recovery.missed()).unwrap_or_default() {
            self.push_numbered(&event);
        }
        for early in early.take().unwrap_or_default() {
            match early {
                Early::Plain(packets, delivery) => self.push(&packets, delivery),
                Early::Numbered(event) => self.push_numbered(&event),
            }
        }
        self.connecting.store(false, Ordering::Release);
    }

    /// Whether events to this socket carry an offset.
    pub(super) fn is_recoverable(&self) -> bool {
        self.recovery.is_some()
    }

    /// Whether its session may be taken up again: not while something is held back from it, since what comes first is
    /// with those who hold it.
    pub(super) fn may_be_parked(&self) -> bool {
        self.recovery.is_some() && !self.hold.is_active()
    }

    /// Takes out what is kept for the client, with the secret that goes with it.
    pub(super) fn take_ring(&self) -> Option<(Sid, Ring)> {
        let recovery = self.recovery.as_ref()?;
        Some((recovery.secret.clone(), recovery.take_ring()?))
    }

    /// Whether this is the secret of its client.
    pub(super) fn has_secret(&self, secret: &str) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.secret.as_str() == secret)
    }

    /// Does not send again what tells of `subject`.
    pub(super) fn withdraw(&self, subject: Subject) {
        if let Some(recovery) = &self.recovery {
            recovery.withdraw(subject);
        }
    }

    /// By what name the client may have its session back.
    pub(super) fn pid(&self) -> Option<String> {
        self.recovery.as_ref().map(|recovery| pid(&self.id, &recovery.secret))
    }

    /// Forgets what has arrived.
    pub(super) fn forget_arrived(&self, proved: u64) {
        if let Some(recovery) = &self.recovery {
            recovery.prove(proved);
        }
    }

    /// Keeps packets for a socket whose CONNECT answer is not queued yet. False when it is by now.
    fn keep_early(&self, packets: impl FnOnce() -> Early) -> bool {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = early.as_mut() else { return false };
        if waiting.len() < MAX_EARLY {
            waiting.push(packets());
        } else {
            self.session.close(CloseReason::SlowConsumer);
        }
        true
    }

    /// Whether broadcasts with this key are held back from the socket now.
    pub(super) fn holds(&self, key: [u8; 12]) -> bool {
        self.hold.stops(key)
    }

    fn log_emission(&self, name: &str) {
        tracing::info!(
            target: SOCKET_EVENTS, eventName = name, namespace = &**self.namespace.name(), socketId = self.log_id(),
            userId = self.user(), "Socket event emitted"
        );
    }

    /// Its number among the sockets of its session.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// An ack arrived; one that nobody waits for is ignored.
    pub(super) fn resolve_ack(&self, id: u64, args: Args) {
        let waiting = self.acks().as_mut().and_then(|acks| acks.remove(&id));
        if let Some(waiting) = waiting {
            // The one who asked may have given up meanwhile.
            waiting.send(args).ok();
        }
    }

    /// False when it was disconnected before.
    pub(super) fn mark_disconnected(&self) -> bool {
        let was_connected = self.connected.swap(false, Ordering::AcqRel);
        *self.acks() = None;
        was_connected
    }

    /// The rooms the socket is in. Changed under the namespace's lock only.
    pub(super) fn rooms(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_ack(&self, id: u64) {
        if let Some(acks) = self.acks().as_mut() {
            acks.remove(&id);
        }
    }

    fn acks(&self) -> MutexGuard<'_, PendingAcks> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id)
            .field("namespace", &self.namespace.name())
            .finish_non_exhaustive()
    }
}
