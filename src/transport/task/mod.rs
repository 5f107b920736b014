//! The task of one session: owns its transport, handles what it reads inline, and answers it all with one write.
//!
//! A hand-written future instead of `async` blocks, so that an idle session is this struct and nothing more. It sleeps until
//! one of four things wakes it: bytes from the client, something in its outbox or a command (through the session's waker), a
//! deadline, or a handler of the layer above that has finished.

mod inbound;
mod outbound;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Connection, Registry,
    channel::Channel,
    session::{Answer, Session},
};
use crate::{
    clock,
    protocol::engineio::{self, CloseReason, Jsonp, TransportKind},
};

/// Messages handled before the task lets others run: a flood from one client must not starve the rest, and receivers get to
/// write what a sender has queued for them.
const MESSAGES_PER_TURN: usize = 64;
/// A message counts once more for each so many bytes: a kilobyte that inflates to a megabyte costs what a megabyte costs.
const BYTES_PER_TURN: usize = 16 * 1024;

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
    /// The POST that brought the close packet; answered when the session is gone.
    goodbye: Option<oneshot::Sender<Answer>>,
    /// The code of our close frame, when it is not the reason's own: how the client broke the WebSocket protocol, or what it said
    /// itself.
    close_code: Option<u16>,
    form: PayloadForm,
    /// When proof of arrival was last asked for.
    proof_asked: Instant,
    /// When it has to be asked for again.
    proof_due: Option<Instant>,
    /// Version 3 over WebSocket: a ping frame goes out behind what is queued. It proves arrival as the ping of version 4 does, and
    /// measures the round trip once per heartbeat.
    wants_frame_ping: bool,
    timer: Pin<Box<Sleep>>,
    phase: Phase,
}

/// How a session begins.
pub(super) enum Way {
    /// With a poll.
    Polling(PayloadForm),
    /// On a WebSocket.
    WebSocket(Channel),
}

impl Way {
    /// Its name.
    pub(super) fn kind(&self) -> TransportKind {
        match self {
            Self::Polling(_) => TransportKind::Polling,
            Self::WebSocket(_) => TransportKind::WebSocket,
        }
    }
}

/// In which form a client takes, and sends, its polling payloads.
#[derive(Debug, Default)]
pub(super) struct PayloadForm {
    /// Binary messages as base64 only.
    pub(super) base64_only: bool,
    /// Within scripts, and forms.
    pub(super) jsonp: Option<Jsonp>,
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
        way: Way,
    ) -> Self {
        let (transport, form) = match way {
            Way::Polling(form) => (Transport::Polling(None), form),
            Way::WebSocket(channel) => (Transport::WebSocket(channel), PayloadForm::default()),
        };
        let timer = Box::pin(sleep_until(engine.deadline().into()));
        Self {
            session,
            registry,
            engine,
            connection,
            transport,
            candidate: None,
            post: None,
            goodbye: None,
            close_code: None,
            form,
            proof_asked: clock::now(),
            proof_due: None,
            wants_frame_ping: false,
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
        progress |= self.ask_for_proof();
        progress | self.poll_write(cx)
    }
}

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
        // A request that came too late is answered, since what waits for its answer goes with it.
        self.session.seal(false);
        if self.phase == Phase::Open {
            self.connection.handle_unconfirmed(&self.session.take_unconfirmed());
            self.connection.handle_close(CloseReason::TransportError);
        }
        self.registry.remove(self.session.sid());
        if let Some(goodbye) = self.goodbye.take() {
            goodbye.send(Answer::Taken).ok();
        }
    }
}
