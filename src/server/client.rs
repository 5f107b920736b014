//! One Engine.IO session as Socket.IO sees it: which namespaces it has joined, what is under way for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, stream::FuturesUnordered};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    Args, Event, Outcome, Refusal, Reply, Shared, Socket, encode, leave,
    middleware::{Admission, ConnectError, ConnectRequest},
    recovery::{Recoverable, Wanted, is_recoverable},
    ring::Resumed,
    routes::Route,
};
use crate::{
    clock,
    codes::ErrorCode,
    ids::SocketId,
    protocol::{
        engineio::{CloseReason, Version},
        socketio::{Body, Decoder, Packet, Revision},
    },
    telemetry::SOCKET_EVENTS,
    transport::{Connection, Handshake, Outgoing, Receipt, Session},
};

/// CONNECT packets of one session, at most: each costs a look at a token. Clients send one per namespace, and another after a
/// refusal.
const MAX_CONNECTS: usize = 64;

/// The Socket.IO state of one session.
pub struct Client {
    shared: Arc<Shared>,
    session: Arc<Session>,
    handshake: Arc<Handshake>,
    revision: Revision,
    decoder: Decoder,
    sockets: Vec<(Arc<Route>, Arc<Socket>)>,
    /// Namespaces whose middleware has not decided yet.
    joining: Vec<Arc<str>>,
    connects: usize,
    /// Sockets of this session so far: the number that tells their receipts apart.
    numbered: u32,
    /// Until when a namespace must have been joined; `None` once one was.
    connect_deadline: Option<Instant>,
    pending: FuturesUnordered<Started>,
    /// Requests that had to wait, counted.
    started: u64,
}

type Pending = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// A pending future with its place among those of its session.
struct Started {
    number: u64,
    future: Pending,
}

impl Future for Started {
    type Output = (u64, Finished);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let number = self.number;
        // The budget of the task must not run out in between: whoever is left over would be answered after those who came later.
        let future = std::pin::pin!(tokio::task::unconstrained(self.future.as_mut()));
        future.poll(cx).map(|finished| (number, finished))
    }
}

/// What a pending future ends in.
enum Finished {
    Admitted { route: Arc<Route>, wanted: Option<Wanted>, result: Result<Admission, ConnectError> },
    Handled { socket: Arc<Socket>, event: Box<str>, id: Option<u64>, outcome: Outcome },
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, session: Arc<Session>, handshake: Handshake) -> Self {
        let revision = Revision::from(handshake.version);
        session.set_max_message_bytes(shared.limits.unauthenticated_bytes);
        let decoder = Decoder::new(revision, shared.limits.packets);
        let mut client = Self {
            decoder: if names_msgpack(&handshake) { decoder.with_msgpack() } else { decoder },
            connect_deadline: Some(clock::now() + shared.limits.connect_timeout),
            shared,
            session,
            handshake: Arc::new(handshake),
            revision,
            sockets: Vec::new(),
            joining: Vec::new(),
            connects: 0,
            numbered: 0,
            pending: FuturesUnordered::new(),
            started: 0,
        };
        if client.handshake.version == Version::V3 {
            // Old clients join `/` by opening the session; the query is where they put their token.
            client.connect("/", None, None);
        }
        client
    }

    fn handle_packet(&mut self, packet: &Packet<'_>, attachments: &[Bytes]) -> Result<(), CloseReason> {
        if let Some(position) = self.left_by_server(packet.namespace) {
            if !matches!(packet.body, Body::Connect(_)) {
                // It was on its way when the client was told.
                return Ok(());
            }
            self.sockets.swap_remove(position);
        }
        match &packet.body {
            Body::Connect(auth) => self.handle_connect(packet, *auth),
            Body::Disconnect => {
                self.leave(packet.namespace, "client namespace disconnect");
                Ok(())
            }
            Body::Event { name, args } => self.handle_event(packet, name, args, attachments),
            Body::Ack(args) => {
                let (_, socket) = self.find(packet.namespace).ok_or(CloseReason::ParseError)?;
                let json = args.iter().map(|arg| arg.get().to_owned()).collect();
                if let Some(id) = packet.id {
                    socket.resolve_ack(id, Args { json, attachments: attachments.to_vec() });
                }
                Ok(())
            }
        }
    }

    fn find(&self, namespace: &str) -> Option<&(Arc<Route>, Arc<Socket>)> {
        self.sockets.iter().find(|(route, _)| &**route.namespace.name() == namespace)
    }

    /// Where a socket is that the server has disconnected.
    fn left_by_server(&self, namespace: &str) -> Option<usize> {
        let is_left = |(route, socket): &(Arc<Route>, Arc<Socket>)| {
            !socket.is_connected() && &**route.namespace.name() == namespace
        };
        self.sockets.iter().position(is_left)
    }

    // ---- namespaces ----------------------------------------------------------------------------------------------------

    fn handle_connect(&mut self, packet: &Packet<'_>, auth: Option<&RawValue>) -> Result<(), CloseReason> {
        let joined =
            self.find(packet.namespace).is_some() || self.joining.iter().any(|name| **name == *packet.namespace);
        if joined {
            // Version 3 clients may ask for `/` although they are in it from the start. Later ones ask twice when the app calls
            // `connect()` on a socket that is about to connect by itself.
            return Ok(());
        }
        self.connects = self.connects.saturating_add(1);
        let namespaces = self.sockets.len().saturating_add(self.joining.len());
        if self.connects > MAX_CONNECTS || namespaces >= self.shared.limits.max_namespaces {
            return Err(CloseReason::ParseError);
        }
        self.connect(packet.namespace, auth.map(|auth| auth.get().to_owned()), packet.query.map(str::to_owned));
        Ok(())
    }

    fn connect(&mut self, namespace: &str, auth: Option<String>, query: Option<String>) {
        let Some(route) = self.shared.routes.get(namespace).map(Arc::clone) else {
            let error = ConnectError::invalid_namespace();
            self.refuse_connect(namespace, &error);
            return;
        };
        let socket_id = match self.revision {
            Revision::V4 => SocketId::from_sid(namespace, self.session.sid()),
            Revision::V5 => SocketId::fresh(),
        };
        let wanted = auth.as_deref().filter(|_| self.is_recoverable()).and_then(Wanted::from_auth);
        let request = ConnectRequest {
            namespace: Arc::clone(route.namespace.name()),
            handshake: Arc::clone(&self.handshake),
            socket_id,
            auth,
            query,
        };
        self.joining.push(Arc::clone(route.namespace.name()));
        let admission = route.middleware.connect(request);
        self.start(Box::pin(async move {
            let result = AssertUnwindSafe(admission).catch_unwind().await;
            let result = result.unwrap_or_else(|_| Err(ConnectError::internal()));
            Finished::Admitted { route, wanted, result }
        }));
    }

    fn finish_connect(&mut self, route: Arc<Route>, wanted: Option<Wanted>, result: Result<Admission, ConnectError>) {
        let namespace = Arc::clone(route.namespace.name());
        self.joining.retain(|name| *name != namespace);
        let admission = match result {
            Ok(admission) => admission,
            Err(error) => return self.refuse_connect(&namespace, &error),
        };
        // The socket is in its rooms and ready for events before its CONNECT answer is queued: whatever is broadcast from
        // now on reaches it, and an event sent in the first millisecond is served.
        let taken_up = wanted.and_then(|wanted| self.take_up(&route, &wanted, &admission));
        let (socket, Resumed { arrived, missed }) = taken_up.unwrap_or_else(|| {
            let recoverable = self.is_recoverable().then(|| Recoverable::fresh(self.shared.limits.recovery));
            let socket = self.make_socket(&route, &admission, (admission.socket_id.clone(), recoverable));
            route.namespace.insert(&socket);
            (socket, Resumed::default())
        });
        self.numbered = self.numbered.wrapping_add(1);
        if let Err(error) = route.middleware.join(&socket) {
            socket.mark_disconnected();
            route.namespace.remove(&socket);
            return self.refuse_connect(&namespace, &error);
        }
        self.connect_deadline = None;
        self.session.set_max_message_bytes(self.shared.limits.max_message_bytes);
        if !arrived.is_empty() {
            route.middleware.confirmed(&socket, &arrived);
        }
        if !missed.is_empty() {
            route.middleware.missed(&socket, &missed);
        }
        let pid = socket.pid();
        self.send(&encode::connect(self.revision, &namespace, socket.id().as_str(), pid.as_deref()));
        route.middleware.greet(&socket);
        socket.go_live();
        let (socket_id, user) = (socket.log_id(), socket.user());
        let recovered = socket.is_recovered();
        tracing::info!(target: SOCKET_EVENTS, socketId = socket_id, userId = user, %namespace, recovered, "Socket connected");
        route.middleware.connected(&socket, &self.handshake);
        self.sockets.push((route, socket));
    }

    /// Whether sessions of this client can be taken up again: it has to know of revision 5.
    fn is_recoverable(&self) -> bool {
        self.revision == Revision::V5 && self.shared.limits.recovery.is_on()
    }

    fn make_socket(
        &self,
        route: &Route,
        admission: &Admission,
        identity: (SocketId, Option<Recoverable>),
    ) -> Arc<Socket> {
        let namespace = Arc::clone(&route.namespace);
        let session = (Arc::clone(&self.session), self.decoder.encoding());
        Socket::new(identity, admission, self.numbered, namespace, session, self.handshake.address)
    }

    /// Takes up the session that the client wants, if it is one of the user who was admitted. Gives what of the tracked events the client
    /// has got and what it has missed, too.
    fn take_up(&self, route: &Route, wanted: &Wanted, admission: &Admission) -> Option<(Arc<Socket>, Resumed)> {
        let recovery = self.shared.limits.recovery;
        if let Some(live) = route.namespace.find_live(wanted)
            && live.user() == admission.user.as_deref()
        {
            // The client knows that the old connection is lost before the server does.
            let unproved = live.session().take_receipts(live.number());
            leave::end_receipts(&*route.middleware, &live, &unproved);
            leave::leave(&*route.middleware, &live, "transport error", Some(recovery.window));
            live.session().close(CloseReason::TransportError);
        }
        let middleware = &route.middleware;
        route.namespace.take_up(
            wanted,
            recovery,
            |parked| {
                parked.user.as_deref() == admission.user.as_deref()
                    && middleware.may_recover(admission, parked.binding.as_deref())
            },
            |id, recoverable| self.make_socket(route, admission, (id, Some(recoverable))),
        )
    }

    fn refuse_connect(&self, namespace: &str, error: &ConnectError) {
        let sid = self.session.sid();
        self.shared.metrics.refusal(error.code);
        tracing::warn!(
            target: SOCKET_EVENTS, ?sid, namespace, code = error.code.name(), error = %error.message, "Socket refused"
        );
        self.send(&encode::connect_error(self.revision, namespace, &error.message, error.data.as_deref()));
    }

    fn send(&self, packets: &[Outgoing]) {
        self.session.send(&encode::in_form(self.decoder.encoding(), packets));
    }

    /// Hands receipts to the sockets that they belong to.
    fn each_receipt(&self, receipts: &[Receipt], tell: impl Fn(&Route, &Arc<Socket>, &[([u8; 12], u64)])) {
        for (route, socket) in &self.sockets {
            let own = receipts.iter().filter(|receipt| receipt.socket == socket.number());
            let own: Vec<_> = own.map(|receipt| (receipt.key, receipt.seq)).collect();
            if !own.is_empty() {
                tell(route, socket, &own);
            }
        }
    }

    fn leave(&mut self, namespace: &str, reason: &str) {
        let Some(position) = self.sockets.iter().position(|(route, _)| &**route.namespace.name() == namespace) else {
            return;
        };
        let (route, socket) = self.sockets.swap_remove(position);
        leave::end_receipts(&*route.middleware, &socket, &self.session.take_receipts(socket.number()));
        leave::leave(&*route.middleware, &socket, reason, None);
    }

    // ---- events --------------------------------------------------------------------------------------------------------

    fn handle_event(
        &mut self,
        packet: &Packet<'_>,
        name: &str,
        args: &[&RawValue],
        attachments: &[Bytes],
    ) -> Result<(), CloseReason> {
        let (route, socket) = self.find(packet.namespace).ok_or(CloseReason::ParseError)?;
        let (user, namespace) = (socket.user(), packet.namespace);
        tracing::info!(target: SOCKET_EVENTS, eventName = name, namespace, socketId = socket.log_id(), userId = user, "Socket event received");
        let event = Event { name, args, attachments, wants_ack: packet.id.is_some() };
        let served = route.handlers.get(name);
        served.map_or(&self.shared.unknown_events, |served| &served.received).inc();
        let admitted = route.middleware.admit(socket, served.map_or(name, |served| served.name), &event);
        let served = match (admitted, served) {
            (Ok(()), Some(served)) => served,
            (admitted, _) => {
                let refusal = admitted.err().unwrap_or_else(|| unknown_event(name, route));
                self.shared.reply(socket, name, packet.id, Outcome::Refused(refusal));
                return Ok(());
            }
        };
        let result = catch_unwind(AssertUnwindSafe(|| served.handler.handle(socket, &event)));
        match result.unwrap_or_else(|_| Reply::Now(self.shared.panicked(name))) {
            Reply::Now(outcome) => self.shared.reply(socket, name, packet.id, outcome),
            Reply::Later(future) => {
                let (shared, socket) = (Arc::clone(&self.shared), Arc::clone(socket));
                let (event, id) = (Box::from(name), packet.id);
                self.start(Box::pin(async move {
                    let outcome = AssertUnwindSafe(future).catch_unwind().await;
                    let outcome = outcome.unwrap_or_else(|_| shared.panicked(&event));
                    Finished::Handled { socket, event, id, outcome }
                }));
            }
        }
        Ok(())
    }

    /// Polls a future once, so that requests begin in the order in which they came, and keeps it if it has to wait.
    fn start(&mut self, mut future: Pending) {
        let mut cx = Context::from_waker(Waker::noop());
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(finished) => self.finish(finished),
            // The session's task polls it again with its own waker before it goes to sleep.
            Poll::Pending => {
                self.started = self.started.wrapping_add(1);
                self.pending.push(Started { number: self.started, future });
            }
        }
    }

    fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Admitted { route, wanted, result } => self.finish_connect(route, wanted, result),
            Finished::Handled { socket, event, id, outcome } => self.shared.reply(&socket, &event, id, outcome),
        }
    }
}

impl Connection for Client {
    const TEXT_IS_JSON: bool = true;

    fn handle_text(&mut self, text: &str) -> Result<(), CloseReason> {
        match self.decoder.handle_text(text) {
            Ok(Some(packet)) => self.handle_packet(&packet, &[]),
            Ok(None) => Ok(()),
            Err(_) => Err(CloseReason::ParseError),
        }
    }

    fn handle_binary(&mut self, data: &[u8]) -> Result<(), CloseReason> {
        let pending = self.decoder.pending_bytes().saturating_add(data.len());
        if pending > self.session.max_message_bytes() {
            return Err(CloseReason::TooLarge);
        }
        match self.decoder.handle_binary(Bytes::copy_from_slice(data)) {
            Ok(Some(assembled)) => self.handle_packet(&assembled.packet(), &assembled.attachments),
            Ok(None) => Ok(()),
            Err(_) => Err(CloseReason::ParseError),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        // Not kept between two polls: an idle session pays for nothing.
        let mut finished = Vec::new();
        while let Poll::Ready(Some(next)) = Pin::new(&mut self.pending).poll_next(cx) {
            finished.push(next);
        }
        // Messages that were stored together are acknowledged in the order in which they were sent: the set hands them out in
        // another one, those first that it has not polled yet.
        finished.sort_unstable_by_key(|(number, _)| *number);
        let progress = !finished.is_empty();
        for (_, finished) in finished {
            self.finish(finished);
        }
        progress
    }

    fn is_busy(&self) -> bool {
        self.pending.len() >= self.shared.limits.in_flight_events
    }

    fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn deadline(&self) -> Option<Instant> {
        self.connect_deadline
    }

    fn handle_timeout(&mut self, _: Instant) -> Result<(), CloseReason> {
        Err(CloseReason::ConnectTimeout)
    }

    fn handle_confirmed(&mut self, receipts: &[Receipt]) {
        self.each_receipt(receipts, |route, socket, receipts| route.middleware.confirmed(socket, receipts));
    }

    fn handle_unconfirmed(&mut self, receipts: &[Receipt]) {
        self.each_receipt(receipts, |route, socket, receipts| route.middleware.unconfirmed(socket, receipts));
    }

    fn handle_proof(&mut self) {
        if self.is_recoverable() {
            let proved = self.session.proved();
            self.sockets.iter().for_each(|(_, socket)| socket.forget_arrived(proved));
        }
    }

    fn handle_close(&mut self, reason: CloseReason) {
        self.shared.closed(&self.session, reason);
        let window = is_recoverable(reason).then_some(self.shared.limits.recovery.window);
        let reason = reason.to_string();
        for (route, socket) in std::mem::take(&mut self.sockets) {
            leave::leave(&*route.middleware, &socket, &reason, window);
        }
        self.pending = FuturesUnordered::new();
    }
}

/// Whether a client of version 3 has said that it speaks MessagePack. It has to in the query, since it is spoken to first; later ones show
/// it with their first message.
fn names_msgpack(handshake: &Handshake) -> bool {
    let mut query = form_urlencoded::parse(handshake.query.as_bytes());
    handshake.version == Version::V3 && query.any(|(name, value)| name == "parser" && value == "msgpack")
}

fn unknown_event(name: &str, route: &Route) -> Refusal {
    let namespace = route.namespace.name();
    Refusal::new(ErrorCode::UnknownEvent, format!("the namespace {namespace} has no event {name:?}"))
}
