//! What leaves a session: heartbeats, queued packets, and the end.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{Phase, SessionTask, Transport};
use crate::{
    clock,
    protocol::engineio::{CloseReason, Output, Packet, TransportKind, Version, payload},
    transport::{
        Connection,
        channel::{Channel, PACKETS_PER_WRITE},
        outgoing::Outgoing,
        proof::PROOF_INTERVAL,
        session::Answer,
        websocket::{close_frame, ping_frame},
    },
};

/// How long a closed WebSocket waits for the client's close frame.
const CLOSE_LINGER: Duration = Duration::from_secs(1);
/// The same for polling while the server goes down: the client has to come back for what is left.
const SHUTDOWN_POLL: Duration = Duration::from_secs(2);
/// How long a session that the server closes waits for the poll that carries the close packet.
const CLOSE_POLL: Duration = Duration::from_secs(30);

/// Content types of polling answers.
const TEXT: &str = "text/plain; charset=UTF-8";
const OCTETS: &str = "application/octet-stream";
const SCRIPT: &str = "text/javascript; charset=UTF-8";

/// How long a session that its client closes waits for a poll that was sent before the close packet, on another connection, and comes
/// after it: that one has to be released, not refused.
const CROSSING_POLL: Duration = Duration::from_millis(50);

impl<C: Connection> SessionTask<C> {
    pub(super) fn drain_engine(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(packet @ Packet::Ping(_)) => {
                    self.session.send_ping(&Outgoing::from_packet(&packet), clock::now());
                }
                Output::Send(packet @ Packet::Pong(_)) => {
                    self.session.send(&[Outgoing::from_packet(&packet)]);
                    // Version 3: the client's own heartbeat is the occasion to measure the way there and back.
                    self.wants_frame_ping |= matches!(self.engine.transport(), TransportKind::WebSocket)
                        && self.session.ping_mark().is_none();
                }
                Output::Send(packet) => self.session.send(&[Outgoing::from_packet(&packet)]),
                Output::Answered => self.handle_proof(),
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

    /// The ping on its way was answered.
    pub(super) fn handle_proof(&mut self) {
        let proved = self.session.pong(clock::now());
        if !proved.is_empty() {
            self.connection.handle_confirmed(&proved);
        }
        self.connection.handle_proof();
    }

    /// Asks for proof of what was sent: at once when that is urgent, else together with what is written next, once in a while. Over
    /// polling the next poll is the proof. True when the timer has to be set anew for it.
    pub(super) fn ask_for_proof(&mut self) -> bool {
        let before = self.proof_due.take();
        if self.phase != Phase::Open || !matches!(self.transport, Transport::WebSocket(_)) {
            return false;
        }
        let Some(urgent) = self.session.needs_proof() else { return false };
        let interval = PROOF_INTERVAL.min(self.engine.timing().ping_interval);
        let (now, due) = (clock::now(), self.proof_asked + interval);
        if !urgent && now < due {
            self.proof_due = Some(due);
            return before != self.proof_due;
        }
        self.proof_asked = now;
        match self.engine.version() {
            Version::V4 => {
                self.engine.ping_now(now.into_std());
                self.drain_engine();
            }
            Version::V3 => self.wants_frame_ping = true,
        }
        false
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

    pub(super) fn check_close(&mut self) {
        if self.phase == Phase::Open
            && let Some(reason) = self.session.close_reason()
            // What was accepted is still answered before the server's own close.
            && !(is_graceful(reason) && self.connection.has_pending())
        {
            self.close(reason);
        }
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        self.engine.close(reason);
        self.drain_engine();
    }

    /// Tells the layer above, then writes what still has to be written.
    fn begin_close(&mut self, reason: CloseReason) {
        if self.phase != Phase::Open {
            return;
        }
        self.connection.handle_unconfirmed(&self.session.take_unconfirmed());
        self.connection.handle_close(reason);
        self.drop_candidate();
        let graceful = is_graceful(reason);
        let polling = self.engine.transport() == TransportKind::Polling;
        self.session.seal(graceful || (polling && reason == CloseReason::ClientClose));
        if let Some(post) = self.post.take() {
            // The client's own close packet is no mistake.
            let answer = if reason == CloseReason::ClientClose { Answer::Taken } else { Answer::Refused };
            post.answer.send(answer).ok();
        }
        let patience = match (self.engine.transport(), reason) {
            (TransportKind::Polling, CloseReason::ServerClose | CloseReason::Flood) => CLOSE_POLL,
            (TransportKind::Polling, CloseReason::Shutdown) => SHUTDOWN_POLL,
            (TransportKind::Polling, CloseReason::ClientClose) => CROSSING_POLL,
            (TransportKind::Polling | TransportKind::WebSocket, _) => CLOSE_LINGER,
        };
        self.phase = Phase::Closing(reason, clock::now() + patience);
        tracing::debug!(sid = ?self.session.sid(), reason = %reason, "session closed");
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
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
            let waits = |reason| is_graceful(reason) || reason == CloseReason::ClientClose;
            if matches!(self.phase, Phase::Closing(reason, _) if !waits(reason)) {
                self.phase = Phase::Done;
            }
            return false;
        };
        if answer.poll_closed(cx).is_ready() {
            self.close(CloseReason::TransportError);
            return true;
        }
        let mut queued = VecDeque::new();
        self.session.take_for_poll(&mut queued);
        let mut packets: Vec<Packet<'_>> = queued.iter().map(as_packet).collect();
        match self.phase {
            Phase::Open if packets.is_empty() && self.engine.releases_polls() => packets.push(Packet::Noop),
            Phase::Open => {}
            // The client knows that it closed; everyone else has to be told.
            Phase::Closing(CloseReason::ClientClose, _) => packets = vec![Packet::Noop],
            // Clients drop what comes together with the close packet; that goes into the answer of the next poll.
            Phase::Closing(reason, _) if is_graceful(reason) && !packets.is_empty() => {
                self.answer_poll(answer, &packets);
                return true;
            }
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
        let ascii: Vec<Packet<'_>>;
        let packets = if C::TEXT_IS_JSON && self.engine.version() == Version::V3 {
            ascii = packets.iter().map(in_ascii).collect();
            &ascii
        } else {
            packets
        };
        // A script holds text only.
        let base64_only = self.form.base64_only || self.form.jsonp.is_some();
        let payload::Encoded { body, binary } = payload::encode(self.engine.version(), packets, base64_only);
        let payload = match &self.form.jsonp {
            Some(jsonp) => Answer::Payload { body: jsonp.wrap(&body).into(), content_type: SCRIPT },
            None => Answer::Payload { body: body.into(), content_type: if binary { OCTETS } else { TEXT } },
        };
        answer.send(payload).is_ok()
    }

    fn poll_write_websocket(&mut self, cx: &mut Context<'_>) -> bool {
        let Transport::WebSocket(channel) = &mut self.transport else { return false };
        let was_clogged = channel.is_clogged();
        let mut written = if channel.is_idle() { Poll::Ready(Ok(())) } else { channel.poll_write(cx) };
        // Reading was left out for it, and may go on.
        let mut progress = was_clogged && !channel.is_clogged();
        while let Poll::Ready(Ok(())) = written {
            let mut packets = VecDeque::new();
            let mut mark = None;
            if self.wants_frame_ping && self.phase == Phase::Open {
                mark = self.session.take_outgoing_with_ping(PACKETS_PER_WRITE, &mut packets, clock::now());
                self.wants_frame_ping = mark.is_none();
            } else {
                self.session.take_outgoing(PACKETS_PER_WRITE, &mut packets);
            }
            if packets.is_empty() && mark.is_none() {
                break;
            }
            progress = true;
            channel.queue(self.engine.version(), packets.into_iter());
            if let Some(mark) = mark {
                channel.queue_frame(ping_frame(&mark.to_be_bytes()));
            }
            written = channel.poll_write(cx);
        }
        match (written, self.phase) {
            (Poll::Ready(Err(_)), Phase::Open) => {
                self.close(CloseReason::TransportError);
                return true;
            }
            (Poll::Ready(Err(_)), _) | (Poll::Ready(Ok(())), Phase::Closing(CloseReason::TransportError, _)) => {
                self.phase = Phase::Done;
            }
            (Poll::Ready(Ok(())), Phase::Closing(reason, due)) => {
                let code = self.close_code.or(websocket_code(reason));
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

/// Says good-bye to a WebSocket that did not become the transport, as far as that is possible without waiting.
pub(super) fn discard(channel: &mut Channel) {
    channel.queue_frame(close_frame(None));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    if channel.poll_write(&mut cx).is_ready() {
        // Whether the peer has taken it makes no difference: the stream is dropped next.
        let _gone = channel.poll_shutdown(&mut cx);
    }
}

fn is_graceful(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::ServerClose | CloseReason::Flood | CloseReason::Shutdown)
}

/// Engine.IO errors end in a close frame without a code, as with the official server; limits of our own say which.
fn websocket_code(reason: CloseReason) -> Option<u16> {
    match reason {
        CloseReason::TooLarge => Some(1009),
        CloseReason::SlowConsumer | CloseReason::Flood => Some(1008),
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
        Outgoing::Binary(binary) => Packet::Binary(binary.data().as_ref().into()),
    }
}

/// A packet of JSON with escapes in place of characters beyond ASCII. Polling clients 1.x expect those encoded twice, clients 2.x
/// once, and nothing tells the two apart.
fn in_ascii<'a>(packet: &'a Packet<'_>) -> Packet<'a> {
    let Packet::Text(text) = packet else { return packet.clone() };
    if text.is_ascii() {
        return Packet::Text(text.as_ref().into());
    }
    let mut escaped = String::with_capacity(text.len().saturating_mul(2));
    for c in text.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    Packet::Text(escaped.into())
}
