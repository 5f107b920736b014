//! The task of one session: owns its transport, handles what it reads inline, and answers it all with one write.
//!
//! A hand-written future instead of `async` blocks, so that an idle session is this struct and nothing more. It sleeps until
//! one of four things wakes it: bytes from the client, something in its outbox or a command (through the session's waker), a
//! deadline, or a handler of the layer above that has finished.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Connection, Registry,
    channel::{Channel, Continue, PACKETS_PER_WRITE, ReadEnd},
    io::Io,
    outbox::Outgoing,
    session::{Answer, Command, Session},
    websocket::{FrameError, Incoming, close_frame, pong_frame},
};
use crate::{
    clock,
    protocol::engineio::{self, CloseReason, Output, Packet, TransportKind, Version, payload},
};

/// Messages handled before the task lets others run: a flood from one client must not starve the rest, and receivers get to
/// write what a sender has queued for them.
const MESSAGES_PER_TURN: usize = 64;
/// How long a closed WebSocket waits for the client's close frame.
const CLOSE_LINGER: Duration = Duration::from_secs(1);
/// How long a session that the server closes waits for the poll that carries the close packet.
const CLOSE_POLL: Duration = Duration::from_secs(30);

/// One session's task. Ends when the session is closed and its last bytes are written.
pub(super) struct SessionTask<C: Connection> {
    session: Arc<Session>,
    registry: Arc<Registry>,
    engine: engineio::Session,
    connection: C,
    transport: Transport,
    candidate: Option<Box<Channel>>,
    /// A POST whose packets are not all handled yet.
    post: Option<Box<Post>>,
    /// How the client broke the WebSocket protocol; its close code tells.
    frame_error: Option<FrameError>,
    base64_only: bool,
    timer: Pin<Box<Sleep>>,
    phase: Phase,
}

enum Transport {
    Polling(Option<oneshot::Sender<Answer>>),
    WebSocket(Channel),
}

struct Post {
    rest: Bytes,
    binary: bool,
    answer: oneshot::Sender<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Writes what is left and waits for the other side, until the instant.
    Closing(CloseReason, Instant),
    /// All is written; waits for the client to close its half.
    Lingering(Instant),
    Done,
}

impl<C: Connection> SessionTask<C> {
    pub(super) fn new(
        session: Arc<Session>,
        registry: Arc<Registry>,
        engine: engineio::Session,
        connection: C,
        io: Option<Box<dyn Io>>,
        base64_only: bool,
    ) -> Self {
        let transport = io.map_or(Transport::Polling(None), |io| Transport::WebSocket(Channel::new(io)));
        let timer = Box::pin(sleep_until(engine.deadline().into()));
        Self {
            session,
            registry,
            engine,
            connection,
            transport,
            candidate: None,
            post: None,
            frame_error: None,
            base64_only,
            timer,
            phase: Phase::Open,
        }
    }

    /// One round over everything that may have happened. True when another round may find more.
    fn turn(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> bool {
        // The candidate first: a poll sent after the upgrade packet must not be taken for one sent before it.
        let mut progress = self.phase == Phase::Open && self.poll_candidate(cx);
        progress |= self.handle_commands();
        progress |= self.poll_timer(cx);
        if self.phase == Phase::Open {
            progress |= self.connection.poll(cx);
            progress |= self.continue_post(budget);
            progress |= self.poll_read(cx, budget);
        }
        self.drain_engine();
        self.check_close();
        progress | self.poll_write(cx)
    }

    // ---- what arrives -------------------------------------------------------------------------------------------------

    fn handle_commands(&mut self) -> bool {
        let mut progress = false;
        while let Some(command) = self.session.take_command() {
            progress = true;
            match command {
                Command::Get(answer) => self.handle_get(answer),
                Command::Post { body, binary, answer } => self.handle_post(body, binary, answer),
                Command::Candidate(io) => {
                    let mut channel = Box::new(Channel::new(io));
                    if self.phase == Phase::Open && self.engine.handle_candidate(clock::now().into_std()) {
                        self.candidate = Some(channel);
                    } else {
                        discard(&mut channel);
                    }
                }
            }
        }
        progress
    }

    fn handle_get(&mut self, answer: oneshot::Sender<Answer>) {
        match &mut self.transport {
            Transport::Polling(waiting @ None) => *waiting = Some(answer),
            Transport::Polling(Some(_)) => {
                answer.send(Answer::Refused).ok();
                self.close(CloseReason::Overlap);
            }
            Transport::WebSocket(_) => {
                answer.send(Answer::Refused).ok();
            }
        }
    }

    fn handle_post(&mut self, body: Bytes, binary: bool, answer: oneshot::Sender<Answer>) {
        match (&self.transport, &self.post, self.phase) {
            (Transport::Polling(_), None, Phase::Open) => {
                self.post = Some(Box::new(Post { rest: body, binary, answer }));
            }
            (Transport::Polling(_), Some(_), Phase::Open) => {
                answer.send(Answer::Refused).ok();
                self.close(CloseReason::Overlap);
            }
            (Transport::Polling(_) | Transport::WebSocket(_), _, _) => {
                answer.send(Answer::Refused).ok();
            }
        }
    }

    /// Handles packets of a POST until it is empty, the handlers are busy, or the turn is over.
    fn continue_post(&mut self, budget: &mut usize) -> bool {
        if *budget == 0 || self.is_busy() {
            return false;
        }
        let Some(mut post) = self.post.take() else { return false };
        if post.answer.is_closed() {
            self.close(CloseReason::TransportError);
            return true;
        }
        let body = post.rest.clone();
        let mut packets = payload::decode(self.engine.version(), &body, post.binary);
        while *budget > 0 && self.phase == Phase::Open && !self.is_busy() {
            match packets.next() {
                Some(Ok(packet)) => {
                    *budget = budget.saturating_sub(1);
                    self.handle_packet(packet);
                }
                Some(Err(_)) => self.close(CloseReason::ParseError),
                None => break,
            }
        }
        match (self.phase, packets.remaining()) {
            (Phase::Open, Some(rest)) => {
                post.rest = body.slice_ref(rest);
                self.post = Some(post);
            }
            (Phase::Open, None) | (Phase::Closing(CloseReason::ClientClose, _), _) => {
                post.answer.send(Answer::Taken).ok();
            }
            (Phase::Closing(..) | Phase::Lingering(_) | Phase::Done, _) => {
                post.answer.send(Answer::Refused).ok();
            }
        }
        true
    }

    /// Takes one packet of the session's transport. After an error the session is closing.
    fn handle_packet(&mut self, packet: Packet<'_>) {
        let result = match self.engine.handle_packet(packet, clock::now().into_std()) {
            Ok(None) => {
                self.drain_engine();
                Ok(())
            }
            Ok(Some(Packet::Text(text))) => self.connection.handle_text(&text),
            Ok(Some(Packet::Binary(data))) => self.connection.handle_binary(&data),
            Ok(Some(_)) => Ok(()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = result {
            self.close(reason);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> bool {
        if *budget == 0 || self.phase != Phase::Open || self.is_busy() {
            return false;
        }
        if !matches!(self.transport, Transport::WebSocket(_)) {
            return false;
        }
        // The channel leaves its place while its messages are handled, since they may change everything around it.
        let Transport::WebSocket(mut channel) = std::mem::replace(&mut self.transport, Transport::Polling(None)) else {
            return false;
        };
        let max_bytes = self.session.max_message_bytes();
        let mut pongs = Vec::new();
        let read = channel.poll_read(cx, max_bytes, &mut |incoming| {
            *budget = budget.saturating_sub(1);
            self.handle_message(incoming, &mut pongs);
            if self.phase == Phase::Open && *budget > 0 && !self.is_busy() { Continue::Yes } else { Continue::Pause }
        });
        for pong in pongs {
            channel.queue_frame(pong);
        }
        self.transport = Transport::WebSocket(channel);
        match read {
            Poll::Pending => false,
            Poll::Ready(Ok(progress)) => progress,
            Poll::Ready(Err(end)) => {
                self.close_on_read_end(end);
                true
            }
        }
    }

    fn close_on_read_end(&mut self, end: ReadEnd) {
        match end {
            ReadEnd::Gone => self.close(CloseReason::TransportError),
            ReadEnd::Broken(error) => {
                self.frame_error = Some(error);
                self.close(match error {
                    FrameError::TooLarge => CloseReason::TooLarge,
                    FrameError::Protocol | FrameError::Utf8 => CloseReason::ParseError,
                });
            }
        }
    }

    fn handle_message(&mut self, incoming: Incoming<'_>, pongs: &mut Vec<Bytes>) {
        let version = self.engine.version();
        let packet = match incoming {
            Incoming::Text(text) => Packet::decode_text(version, text),
            Incoming::Binary(data) => Packet::decode_binary(version, data),
            Incoming::Ping(data) => {
                pongs.push(pong_frame(data));
                return;
            }
            Incoming::Pong => return,
            Incoming::Close => return self.close(CloseReason::ClientClose),
        };
        match packet {
            Ok(packet) => self.handle_packet(packet),
            Err(_) => self.close(CloseReason::ParseError),
        }
    }

    /// Reads the candidate's probe and upgrade packet. What follows them in the same read stays with the channel.
    fn poll_candidate(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut channel) = self.candidate.take() else { return false };
        let version = self.engine.version();
        let engine = &mut self.engine;
        let read = channel.poll_read(cx, PROBE_BYTES, &mut |incoming| {
            match incoming {
                Incoming::Text(text) => match Packet::decode_text(version, text) {
                    Ok(packet) => engine.handle_candidate_packet(&packet),
                    Err(_) => engine.handle_candidate_lost(),
                },
                Incoming::Ping(_) | Incoming::Pong => return Continue::Yes,
                Incoming::Binary(_) | Incoming::Close => engine.handle_candidate_lost(),
            }
            Continue::Pause
        });
        self.candidate = Some(channel);
        let progress = match read {
            Poll::Pending => false,
            Poll::Ready(Ok(_)) => true,
            Poll::Ready(Err(_)) => {
                self.engine.handle_candidate_lost();
                true
            }
        };
        self.drain_engine();
        progress
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        loop {
            let due = self.deadline();
            if due < self.timer.deadline() {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return progress;
            }
            let now = clock::now();
            if due > now {
                // It was set for a deadline that has moved on since.
                self.timer.as_mut().reset(due);
                continue;
            }
            progress = true;
            self.handle_timeout(now);
            let next = self.deadline();
            self.timer.as_mut().reset(if next > now { next } else { now + Duration::from_millis(1) });
        }
    }

    fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Open => {
                let engine = Instant::from_std(self.engine.deadline());
                self.connection.deadline().map_or(engine, |connection| connection.min(engine))
            }
            Phase::Closing(_, due) | Phase::Lingering(due) => due,
            Phase::Done => self.timer.deadline(),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Open => {
                self.engine.handle_timeout(now.into_std());
                self.drain_engine();
                if self.connection.deadline().is_some_and(|due| due <= now)
                    && let Err(reason) = self.connection.handle_timeout(now)
                {
                    self.close(reason);
                }
            }
            Phase::Closing(..) | Phase::Lingering(_) => self.phase = Phase::Done,
            Phase::Done => {}
        }
    }

    /// Reading pauses while handlers are busy or the client does not take its answers: the network slows the sender down.
    fn is_busy(&self) -> bool {
        self.connection.is_busy() || self.session.pauses_reading()
    }

    // ---- what leaves ---------------------------------------------------------------------------------------------------

    fn drain_engine(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(packet) => self.session.send(&[Outgoing::from_packet(&packet)]),
                Output::SendToCandidate(packet) => {
                    if let Some(channel) = &mut self.candidate {
                        channel.queue(Version::V4, std::iter::once(Outgoing::from_packet(&packet)));
                    }
                }
                Output::SwitchToCandidate => self.switch(),
                Output::CloseCandidate => self.drop_candidate(),
                Output::Close(reason) => self.begin_close(reason),
            }
        }
    }

    fn switch(&mut self) {
        let Some(channel) = self.candidate.take() else { return };
        if let Transport::Polling(Some(answer)) = std::mem::replace(&mut self.transport, Transport::WebSocket(*channel))
        {
            self.answer_poll(answer, &[Packet::Noop]);
        }
        self.session.set_transport(TransportKind::WebSocket);
    }

    fn drop_candidate(&mut self) {
        if let Some(mut channel) = self.candidate.take() {
            discard(&mut channel);
        }
    }

    fn check_close(&mut self) {
        if self.phase == Phase::Open
            && let Some(reason) = self.session.close_reason()
            // What was accepted is still answered before the server's own close.
            && !(is_graceful(reason) && self.connection.has_pending())
        {
            self.close(reason);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.engine.close(reason);
        self.drain_engine();
    }

    /// Tells the layer above, then writes what still has to be written.
    fn begin_close(&mut self, reason: CloseReason) {
        if self.phase != Phase::Open {
            return;
        }
        self.connection.handle_close(reason);
        self.drop_candidate();
        let graceful = is_graceful(reason);
        self.session.seal(graceful);
        if let Some(post) = self.post.take() {
            // The client's own close packet is no mistake.
            let answer = if reason == CloseReason::ClientClose { Answer::Taken } else { Answer::Refused };
            post.answer.send(answer).ok();
        }
        let patience = match (self.engine.transport(), reason) {
            (TransportKind::Polling, CloseReason::ServerClose) => CLOSE_POLL,
            (TransportKind::Polling, _) | (TransportKind::WebSocket, _) => CLOSE_LINGER,
        };
        self.phase = Phase::Closing(reason, clock::now() + patience);
        tracing::debug!(sid = ?self.session.sid(), reason = %reason, "session closed");
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(channel) = &mut self.candidate
            && let Poll::Ready(Err(_)) = channel.poll_write(cx)
        {
            self.engine.handle_candidate_lost();
            self.drain_engine();
        }
        match &self.transport {
            Transport::Polling(_) => self.poll_write_polling(cx),
            Transport::WebSocket(_) => self.poll_write_websocket(cx),
        }
    }

    fn poll_write_polling(&mut self, cx: &mut Context<'_>) -> bool {
        let Transport::Polling(waiting) = &mut self.transport else { return false };
        let Some(mut answer) = waiting.take() else {
            if matches!(self.phase, Phase::Closing(reason, _) if !is_graceful(reason)) {
                self.phase = Phase::Done;
            }
            return false;
        };
        if answer.poll_closed(cx).is_ready() {
            self.close(CloseReason::TransportError);
            return true;
        }
        let mut queued = VecDeque::new();
        self.session.take_outgoing(usize::MAX, &mut queued);
        let mut packets: Vec<Packet<'_>> = queued.iter().map(as_packet).collect();
        match self.phase {
            Phase::Open if packets.is_empty() && self.engine.releases_polls() => packets.push(Packet::Noop),
            Phase::Open => {}
            // The client knows that it closed; everyone else has to be told.
            Phase::Closing(CloseReason::ClientClose, _) => packets.push(Packet::Noop),
            Phase::Closing(..) | Phase::Lingering(_) | Phase::Done => packets.push(Packet::Close),
        }
        if packets.is_empty() {
            *waiting = Some(answer);
            return false;
        }
        let sent = self.answer_poll(answer, &packets);
        if self.phase != Phase::Open {
            self.phase = Phase::Done;
        } else if !sent {
            self.close(CloseReason::TransportError);
        }
        true
    }

    fn answer_poll(&self, answer: oneshot::Sender<Answer>, packets: &[Packet<'_>]) -> bool {
        let payload::Encoded { body, binary } = payload::encode(self.engine.version(), packets, self.base64_only);
        answer.send(Answer::Payload { body: body.into(), binary }).is_ok()
    }

    fn poll_write_websocket(&mut self, cx: &mut Context<'_>) -> bool {
        let Transport::WebSocket(channel) = &mut self.transport else { return false };
        let mut progress = false;
        let mut written = channel.poll_write(cx);
        while let Poll::Ready(Ok(())) = written {
            let mut packets = VecDeque::new();
            self.session.take_outgoing(PACKETS_PER_WRITE, &mut packets);
            if packets.is_empty() {
                break;
            }
            progress = true;
            channel.queue(self.engine.version(), packets.into_iter());
            written = channel.poll_write(cx);
        }
        match (written, self.phase) {
            (Poll::Ready(Err(_)), Phase::Open) => {
                self.close(CloseReason::TransportError);
                return true;
            }
            (Poll::Ready(Err(_)), _) => self.phase = Phase::Done,
            (Poll::Ready(Ok(())), Phase::Closing(CloseReason::TransportError, _)) => self.phase = Phase::Done,
            (Poll::Ready(Ok(())), Phase::Closing(reason, due)) => {
                let code = self.frame_error.map(FrameError::close_code).or(websocket_code(reason));
                channel.queue_frame(close_frame(code));
                self.phase = Phase::Lingering(due);
                return true;
            }
            (Poll::Ready(Ok(())), Phase::Lingering(_)) => {
                if channel.poll_shutdown(cx).is_ready() && channel.poll_end(cx).is_ready() {
                    self.phase = Phase::Done;
                }
            }
            (Poll::Ready(Ok(())), Phase::Open | Phase::Done) | (Poll::Pending, _) => {}
        }
        progress
    }
}

/// Most bytes of a message on a candidate: `2probe` and `5`.
const PROBE_BYTES: usize = 64;

impl<C: Connection> Future for SessionTask<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.session.register(cx.waker());
        let mut budget = MESSAGES_PER_TURN;
        while this.turn(cx, &mut budget) {
            if this.phase == Phase::Done {
                break;
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                break;
            }
        }
        if this.phase == Phase::Done { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// However the task ends, a panic included, the session leaves the registry and the layer above hears of it.
impl<C: Connection> Drop for SessionTask<C> {
    fn drop(&mut self) {
        if self.phase == Phase::Open {
            self.session.seal(false);
            self.connection.handle_close(CloseReason::TransportError);
        }
        self.registry.remove(self.session.sid());
    }
}

/// Says good-bye to a WebSocket that did not become the transport, as far as that is possible without waiting.
fn discard(channel: &mut Channel) {
    channel.queue_frame(close_frame(None));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    if channel.poll_write(&mut cx).is_ready() {
        // Whether the peer has taken it makes no difference: the stream is dropped next.
        let _gone = channel.poll_shutdown(&mut cx);
    }
}

fn is_graceful(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::ServerClose | CloseReason::Shutdown)
}

/// Engine.IO errors end in a close frame without a code, as with the official server; limits of our own say which.
fn websocket_code(reason: CloseReason) -> Option<u16> {
    match reason {
        CloseReason::TooLarge => Some(1009),
        CloseReason::SlowConsumer => Some(1008),
        CloseReason::Shutdown => Some(1001),
        CloseReason::ClientClose
        | CloseReason::TransportError
        | CloseReason::PingTimeout
        | CloseReason::ParseError
        | CloseReason::Overlap
        | CloseReason::ConnectTimeout
        | CloseReason::ServerClose => None,
    }
}

/// The packet behind a queued piece, for a polling payload.
fn as_packet(outgoing: &Outgoing) -> Packet<'_> {
    match outgoing {
        // Everything queued as text is one packet in the text form that both versions share.
        Outgoing::Text(text) => Packet::decode_text(Version::V4, text.packet()).unwrap_or(Packet::Noop),
        Outgoing::Binary(data) => Packet::Binary(data.as_ref().into()),
    }
}
