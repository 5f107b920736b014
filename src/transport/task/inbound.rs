//! What arrives at a session: requests of HTTP, messages of the WebSocket, the candidate's probe, the clock.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{BYTES_PER_TURN, Phase, Post, SessionTask, Transport, outbound::discard};
use crate::{
    clock,
    protocol::engineio::{CloseReason, Packet, Version, jsonp, payload},
    transport::{
        Connection,
        channel::{Continue, ReadEnd},
        session::{Answer, Command},
        websocket::{FrameError, Incoming, pong_frame},
    },
};

/// Most bytes of a message on a candidate: `2probe` and `5`.
const PROBE_BYTES: usize = 64;

/// Pings that are answered one by one when they come with one read.
const MAX_PONGS: usize = 64;

impl<C: Connection> SessionTask<C> {
    pub(super) fn handle_commands(&mut self) -> bool {
        let mut progress = false;
        while let Some(command) = self.session.take_command() {
            progress = true;
            match command {
                Command::Get(answer) => self.handle_get(answer),
                Command::Post { body, binary, answer } => self.handle_post(body, binary, answer),
                Command::Candidate(mut channel) => {
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
            Transport::Polling(waiting @ None) => {
                *waiting = Some(answer);
                let proved = self.session.polled();
                if !proved.is_empty() {
                    self.connection.handle_confirmed(&proved);
                }
                self.connection.handle_proof();
            }
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
        let (payload, binary) = match &self.form.jsonp {
            Some(_) => (jsonp::from_form(&body).map(Bytes::from), false),
            None => (Some(body), binary),
        };
        match (&self.transport, &self.post, self.phase, payload) {
            (Transport::Polling(_), None, Phase::Open, Some(rest)) => {
                self.post = Some(Box::new(Post { rest, binary, answer }));
            }
            (Transport::Polling(_), waiting, Phase::Open, _) => {
                let reason = if waiting.is_some() { CloseReason::Overlap } else { CloseReason::ParseError };
                answer.send(Answer::Refused).ok();
                self.close(reason);
            }
            (Transport::Polling(_) | Transport::WebSocket(_), _, _, _) => {
                answer.send(Answer::Refused).ok();
            }
        }
    }

    /// Handles packets of a POST until it is empty, the handlers are busy, or the turn is over.
    pub(super) fn continue_post(&mut self, budget: &mut usize) -> bool {
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
            (Phase::Open, None) => {
                post.answer.send(Answer::Taken).ok();
            }
            (Phase::Closing(CloseReason::ClientClose, _), _) => self.goodbye = Some(post.answer),
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

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> bool {
        if *budget == 0 || self.phase != Phase::Open || self.is_busy() {
            return false;
        }
        match &self.transport {
            Transport::WebSocket(channel) if !channel.is_clogged() => {}
            Transport::WebSocket(_) | Transport::Polling(_) => return false,
        }
        // The channel leaves its place while its messages are handled, since they may change everything around it.
        let Transport::WebSocket(mut channel) = std::mem::replace(&mut self.transport, Transport::Polling(None)) else {
            return false;
        };
        let max_bytes = self.session.max_message_bytes();
        let mut pongs = Vec::new();
        let read = channel.poll_read(cx, max_bytes, &mut |incoming| {
            *budget = budget.saturating_sub(incoming.len() / BYTES_PER_TURN + 1);
            self.handle_message(&incoming, &mut pongs);
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
                self.close_code = Some(error.close_code());
                self.close(match error {
                    FrameError::TooLarge => CloseReason::TooLarge,
                    FrameError::Protocol | FrameError::Utf8 | FrameError::Deflate => CloseReason::ParseError,
                });
            }
        }
    }

    fn handle_message(&mut self, incoming: &Incoming<'_>, pongs: &mut Vec<Bytes>) {
        let version = self.engine.version();
        let packet = match *incoming {
            Incoming::Text(text) => Packet::decode_text(version, text),
            Incoming::Binary(data) => Packet::decode_binary(version, data),
            Incoming::Ping(data) => {
                // Of many that come at once the last one is answered: RFC 6455, section 5.5.3.
                if pongs.len() >= MAX_PONGS {
                    pongs.pop();
                }
                pongs.push(pong_frame(data));
                return;
            }
            Incoming::Pong(data) => {
                // Version 3 has no ping of the server's, so a frame's stands in for it. Version 4 proves by its own.
                let mark = self.session.ping_mark().map(u64::to_be_bytes);
                if version == Version::V3 && mark.is_some_and(|mark| mark == *data) {
                    self.handle_proof();
                }
                return;
            }
            Incoming::Close(code) => {
                self.close_code = code;
                return self.close(CloseReason::ClientClose);
            }
        };
        match packet {
            Ok(packet) => self.handle_packet(packet),
            Err(_) => self.close(CloseReason::ParseError),
        }
    }

    /// Reads the candidate's probe and upgrade packet. What follows them in the same read stays with the channel.
    pub(super) fn poll_candidate(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut channel) = self.candidate.take() else { return false };
        let version = self.engine.version();
        let engine = &mut self.engine;
        let read = channel.poll_read(cx, PROBE_BYTES, &mut |incoming| {
            match incoming {
                Incoming::Text(text) => match Packet::decode_text(version, text) {
                    Ok(packet) => engine.handle_candidate_packet(&packet),
                    Err(_) => engine.handle_candidate_lost(),
                },
                Incoming::Ping(_) | Incoming::Pong(_) => return Continue::Yes,
                Incoming::Binary(_) | Incoming::Close(_) => engine.handle_candidate_lost(),
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

    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
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
                let proof = self.proof_due.map_or(engine, |due| due.min(engine));
                self.connection.deadline().map_or(proof, |connection| connection.min(proof))
            }
            Phase::Closing(_, due) | Phase::Lingering(due) => due,
            Phase::Done => self.timer.deadline(),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Open => {
                // What the deadline was for follows at the end of this turn.
                self.proof_due.take_if(|due| *due <= now);
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
}
