//! The handle to one Engine.IO session: what others hold to send to it, and what HTTP requests leave for its task.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;

use super::{
    channel::Channel,
    outbox::{Outbox, OutboxLimits, Queued},
    outgoing::Outgoing,
    proof::{Latency, Receipt, Unconfirmed},
};
use crate::{
    clock::{self, Instant},
    ids::Sid,
    protocol::engineio::{CloseReason, TransportKind, Version},
};

/// Most requests that wait for a session's task. A client has one GET, one POST and one upgrade under way; more means it does
/// not keep to the protocol, and the request is refused.
const MAX_COMMANDS: usize = 8;

/// What a client showed when it opened its session. It stays with the session, so it holds only what later decisions need.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The protocol version.
    pub version: Version,
    /// The query of the first request, still percent-encoded.
    pub query: Box<str>,
    /// The `Authorization` header.
    pub authorization: Option<Box<str>>,
    /// The `Cookie` header.
    pub cookie: Option<Box<str>>,
    /// The `Origin` header.
    pub origin: Option<Box<str>>,
    /// The `Sec-Fetch-Site` header, by which browsers tell where a request without an origin comes from.
    pub fetch_site: Option<Box<str>>,
    /// The peer's address.
    pub address: IpAddr,
}

/// A session as others see it: they may send to it and close it. Its task owns everything else.
pub struct Session {
    sid: Sid,
    version: Version,
    limits: OutboxLimits,
    max_message_bytes: AtomicUsize,
    ping_interval: Duration,
    /// Whether any packet waits for proof of its arrival: what a session's task looks at before it takes the lock.
    tracks: AtomicBool,
    /// Whether a POST is under way.
    posting: AtomicBool,
    volatile_dropped: Arc<AtomicU64>,
    /// Whether the process is short of memory.
    memory_is_scarce: Arc<AtomicBool>,
    state: Mutex<State>,
    waker: AtomicWaker,
}

struct State {
    outbox: Outbox,
    unconfirmed: Unconfirmed,
    latency: Latency,
    commands: VecDeque<Command>,
    transport: TransportKind,
    close: Option<CloseReason>,
    /// No packets are taken any more.
    sealed: bool,
    /// No requests are taken any more.
    deaf: bool,
}

/// What an HTTP request wants from the session's task.
pub(super) enum Command {
    /// A poll, to be answered as soon as something waits.
    Get(oneshot::Sender<Answer>),
    /// A payload of packets.
    Post { body: Bytes, binary: bool, answer: oneshot::Sender<Answer> },
    /// A WebSocket that wants to replace polling.
    Candidate(Box<Channel>),
}

/// How a polling request ends.
#[derive(Debug)]
pub(super) enum Answer {
    /// The packets that waited, as one payload.
    Payload { body: Bytes, content_type: &'static str },
    /// The packets of a POST were taken.
    Taken,
    /// The request broke the protocol.
    Refused,
}

impl Session {
    pub(super) fn new(
        sid: Sid,
        version: Version,
        transport: TransportKind,
        limits: OutboxLimits,
        max_message_bytes: usize,
        ping_interval: Duration,
    ) -> Self {
        let state = State {
            outbox: Outbox::default(),
            unconfirmed: Unconfirmed::default(),
            latency: Latency::default(),
            commands: VecDeque::new(),
            transport,
            close: None,
            sealed: false,
            deaf: false,
        };
        Self {
            sid,
            version,
            limits,
            max_message_bytes: AtomicUsize::new(max_message_bytes),
            ping_interval,
            tracks: AtomicBool::new(false),
            posting: AtomicBool::new(false),
            volatile_dropped: Arc::default(),
            memory_is_scarce: Arc::default(),
            state: Mutex::new(state),
            waker: AtomicWaker::new(),
        }
    }

    /// Counts what is dropped for this session together with others.
    pub(super) fn count_dropped(&mut self, counter: &Arc<AtomicU64>) {
        self.volatile_dropped = Arc::clone(counter);
    }

    /// Has less wait for this session while `memory_is_scarce`.
    pub(super) fn follow_memory(&mut self, memory_is_scarce: &Arc<AtomicBool>) {
        self.memory_is_scarce = Arc::clone(memory_is_scarce);
    }

    /// The session id. It is a credential: log its `Debug` form only.
    #[must_use]
    pub fn sid(&self) -> &Sid {
        &self.sid
    }

    /// The protocol version of the client.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The transport in use at the moment.
    #[must_use]
    pub fn transport(&self) -> TransportKind {
        self.lock().transport
    }

    /// Most bytes of one message, or of one polling payload, that the client may send at the moment.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.max_message_bytes.load(Ordering::Relaxed)
    }

    /// Changes that limit: small before the client has shown who it is, large afterwards.
    pub fn set_max_message_bytes(&self, bytes: usize) {
        self.max_message_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Queues packets that belong together, in order, behind everything queued before.
    ///
    /// Never waits. When the queue is full because the client reads too slowly, the session is closed with
    /// [`CloseReason::SlowConsumer`]; after the end of the session packets are dropped.
    pub fn send(&self, packets: &[Outgoing]) {
        self.push(packets, false, None);
    }

    /// The same, and [`Connection::handle_confirmed`](super::Connection::handle_confirmed) hears of `receipt` once the client has
    /// them. Without packets: once the client has everything queued before. When the session ends first,
    /// [`Connection::handle_unconfirmed`](super::Connection::handle_unconfirmed) hears of it instead.
    pub fn send_tracked(&self, packets: &[Outgoing], receipt: Receipt) {
        self.push(packets, false, Some(receipt));
    }

    /// The same with or without a receipt. Gives the number of the last packet, to compare with [`Session::proved`]; `u64::MAX` when
    /// they were not queued.
    pub fn send_numbered(&self, packets: &[Outgoing], receipt: Option<Receipt>) -> u64 {
        self.push(packets, false, receipt)
    }

    /// The number of the last packet that the client is proved to have.
    #[must_use]
    pub fn proved(&self) -> u64 {
        self.lock().unconfirmed.proved()
    }

    /// Asks the client for proof of what was queued by now, instead of waiting for the next occasion.
    pub fn ask_for_proof(&self) {
        self.lock().unconfirmed.want();
        self.waker.wake();
    }

    /// What was sent for one socket and is not proved to have arrived; nobody hears of it any more.
    pub fn take_receipts(&self, socket: u32) -> Vec<Receipt> {
        self.lock().unconfirmed.take_of(socket)
    }

    /// Measures a round trip soon, where the transport can.
    pub fn measure(&self) {
        // A receipt that belongs to no socket: nobody hears of it, but a ping goes out for it.
        self.send_tracked(&[], Receipt { socket: u32::MAX, key: [0; 12], seq: 0 });
        self.ask_for_proof();
    }

    /// Round trips measured so far; none over polling with version 3, which has no ping of the server's.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let (now, state) = (clock::now(), self.lock());
        let waiting = state.unconfirmed.pinged_at().map(|at| now.saturating_duration_since(at));
        state.latency.while_waiting(waiting, self.ping_interval)
    }

    /// Queues one packet unless the client reads too slowly; then it is dropped. For what is worthless when late.
    pub fn send_volatile(&self, packets: &[Outgoing]) {
        self.push(packets, true, None);
    }

    /// Ends the session: what is queued goes out first when the reason is the server's own. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        let mut state = self.lock();
        state.close.get_or_insert(reason);
        drop(state);
        self.waker.wake();
    }

    fn push(&self, packets: &[Outgoing], volatile: bool, receipt: Option<Receipt>) -> u64 {
        let mut state = self.lock();
        // Whoever was told what is left without proof would never hear of a receipt that comes later: its packet is not sent.
        if state.sealed || (receipt.is_some() && state.unconfirmed.has_ended()) {
            return u64::MAX;
        }
        let number = match state.outbox.push(packets, volatile, self.limits()) {
            Queued::Yes => {
                state.unconfirmed.push(packets.len());
                if let Some(receipt) = receipt {
                    let bytes = packets.iter().fold(0, |sum, packet| packet.len().saturating_add(sum));
                    state.unconfirmed.track(receipt, bytes);
                    self.tracks.store(true, Ordering::Release);
                }
                state.unconfirmed.pushed()
            }
            Queued::Dropped => {
                self.volatile_dropped.fetch_add(1, Ordering::Relaxed);
                return u64::MAX;
            }
            Queued::Overflow => {
                state.close.get_or_insert(CloseReason::SlowConsumer);
                u64::MAX
            }
        };
        drop(state);
        self.waker.wake();
        number
    }

    fn limits(&self) -> OutboxLimits {
        if self.memory_is_scarce.load(Ordering::Relaxed) { self.limits.when_memory_is_scarce() } else { self.limits }
    }

    /// Leaves a request for the task; gives it back when the session has ended or too many wait.
    pub(super) fn command(&self, command: Command) -> Result<(), Command> {
        let mut state = self.lock();
        if state.deaf || state.commands.len() >= MAX_COMMANDS {
            return Err(command);
        }
        state.commands.push_back(command);
        drop(state);
        self.waker.wake();
        Ok(())
    }

    /// Notes that a POST begins; `false` when another one is under way.
    pub(super) fn begin_post(&self) -> bool {
        !self.posting.swap(true, Ordering::AcqRel)
    }

    /// The POST is over, however it went.
    pub(super) fn end_post(&self) {
        self.posting.store(false, Ordering::Release);
    }

    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    pub(super) fn take_command(&self) -> Option<Command> {
        self.lock().commands.pop_front()
    }

    /// Whether proof should be asked for: `Some(true)` at once, `Some(false)` in a while.
    pub(super) fn needs_proof(&self) -> Option<bool> {
        if !self.tracks.load(Ordering::Acquire) {
            return None;
        }
        let state = self.lock();
        // Receipts that were taken back left nothing to prove.
        self.tracks.store(state.unconfirmed.has_any(), Ordering::Release);
        state.unconfirmed.needs_proof()
    }

    /// Queues a ping of Engine.IO, whose pong proves everything before it.
    pub(super) fn send_ping(&self, ping: &Outgoing, now: Instant) {
        let mut state = self.lock();
        if !state.sealed {
            // A ping is queued whatever waits before it: it is tiny, and a session that cannot take it is closed by the next packet.
            state.outbox.force(ping.clone());
            state.unconfirmed.push(1);
            state.unconfirmed.ping(now);
        }
        drop(state);
        self.waker.wake();
    }

    /// The mark of the ping that is on its way.
    pub(super) fn ping_mark(&self) -> Option<u64> {
        self.lock().unconfirmed.mark()
    }

    /// The ping on its way was answered: what that proves.
    pub(super) fn pong(&self, now: Instant) -> Vec<Receipt> {
        let mut state = self.lock();
        let Some((proved, round_trip)) = state.unconfirmed.answered(now) else { return Vec::new() };
        state.latency.add(round_trip, self.ping_interval);
        self.tracks.store(state.unconfirmed.has_any(), Ordering::Release);
        proved
    }

    /// Takes everything for the answer of a poll.
    pub(super) fn take_for_poll(&self, into: &mut VecDeque<Outgoing>) {
        let mut state = self.lock();
        state.outbox.take(usize::MAX, into);
        state.unconfirmed.poll();
    }

    /// The client polls again: what that proves.
    pub(super) fn polled(&self) -> Vec<Receipt> {
        let mut state = self.lock();
        let proved = state.unconfirmed.polled();
        self.tracks.store(state.unconfirmed.has_any(), Ordering::Release);
        proved
    }

    /// What was sent and never proved to have arrived, at the end of the session. Nothing more is tracked then.
    pub(super) fn take_unconfirmed(&self) -> Vec<Receipt> {
        self.lock().unconfirmed.end()
    }

    /// Takes up to `packets` from the front of the queue.
    pub(super) fn take_outgoing(&self, packets: usize, into: &mut VecDeque<Outgoing>) {
        self.lock().outbox.take_in_hand(packets, into);
    }

    /// The same, and the mark of a ping that the caller writes behind what it took, if nothing else waits and none is on its way.
    /// In one step: what others queue meanwhile comes behind the ping, and its pong must not prove it.
    pub(super) fn take_outgoing_with_ping(
        &self,
        packets: usize,
        into: &mut VecDeque<Outgoing>,
        now: Instant,
    ) -> Option<u64> {
        let mut state = self.lock();
        state.outbox.take_in_hand(packets, into);
        (state.outbox.is_empty() && state.unconfirmed.mark().is_none()).then(|| state.unconfirmed.ping(now))
    }

    /// True when nothing more should be read from the client: it does not take its answers, or the session is ending.
    pub(super) fn pauses_reading(&self) -> bool {
        let state = self.lock();
        state.close.is_some() || state.outbox.is_half_full(self.limits())
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.lock().close
    }

    pub(super) fn set_transport(&self, transport: TransportKind) {
        self.lock().transport = transport;
    }

    /// Stops taking packets. With `keep`, those queued stay for the last flush, and a poll may still come for them.
    pub(super) fn seal(&self, keep: bool) {
        let mut state = self.lock();
        state.sealed = true;
        if !keep {
            state.deaf = true;
            state.outbox.clear();
            state.commands = VecDeque::new();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while the lock is held; should it ever, the queue itself is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Session {
    /// A session without a task and a connection, for the tests of the layers above: what is sent stays in its queue.
    pub(crate) fn detached() -> Arc<Self> {
        let limits = OutboxLimits { packets: 10_000, bytes: 10_000_000 };
        Self::new(Sid::fresh(), Version::V4, TransportKind::WebSocket, limits, 1_000_000, Duration::from_secs(25))
            .into()
    }

    /// Whether somebody has ended it.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().close.is_some()
    }

    /// The text packets that were queued since the last call.
    pub(crate) fn take_texts(&self) -> Vec<String> {
        let mut taken = VecDeque::new();
        self.take_outgoing(usize::MAX, &mut taken);
        let texts = taken.into_iter().filter_map(|packet| match packet {
            Outgoing::Text(text) => Some(text.packet().to_owned()),
            Outgoing::Binary(_) => None,
        });
        texts.collect()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("sid", &self.sid).finish_non_exhaustive()
    }
}
