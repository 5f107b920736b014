//! The state machine of one Engine.IO session: heartbeat, upgrade, close.
//!
//! It is told what arrived and what time it is (`handle_*`), and asked what to do (`poll_output`, `deadline`). Callers drain
//! `poll_output` after every `handle_*`. It owns no queue of messages and no transport: those belong to the layer above.

use std::{
    borrow::Cow,
    collections::VecDeque,
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{Packet, TransportKind, Version};

/// The intervals of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between a pong and the next ping (version 4), between two pings of the client (version 3).
    pub ping_interval: Duration,
    /// How long the other side may take to answer, beyond `ping_interval` in version 3.
    pub ping_timeout: Duration,
    /// How long a WebSocket may take to replace polling.
    pub upgrade_timeout: Duration,
}

/// What the layer above has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Queue this packet to the session's transport, behind what already waits there.
    Send(Packet<'static>),
    /// Write this packet to the candidate WebSocket at once.
    SendToCandidate(Packet<'static>),
    /// The candidate has become the transport: release polls, then write everything queued to it.
    SwitchToCandidate,
    /// The upgrade failed; the session stays on polling.
    CloseCandidate,
    /// The client has answered the ping that was on its way: it has handled everything sent before it.
    Answered,
    /// The session is over.
    Close(CloseReason),
}

/// Why a session ended, in the words clients and logs know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum CloseReason {
    /// The client sent a close packet or a close frame.
    #[error("client close")]
    ClientClose,
    /// The connection broke, or a polling request was aborted.
    #[error("transport error")]
    TransportError,
    /// The client did not show a sign of life in time.
    #[error("ping timeout")]
    PingTimeout,
    /// The client sent something the protocol does not allow.
    #[error("parse error")]
    ParseError,
    /// Two polls at once, or two posts.
    #[error("overlapping requests")]
    Overlap,
    /// A message was larger than allowed.
    #[error("too large")]
    TooLarge,
    /// No namespace was joined in time.
    #[error("connect timeout")]
    ConnectTimeout,
    /// The client read too slowly and its queue was full.
    #[error("slow consumer")]
    SlowConsumer,
    /// The client sent far more events than it may.
    #[error("flood")]
    Flood,
    /// The application ended the session.
    #[error("server close")]
    ServerClose,
    /// The server is going down.
    #[error("server shutting down")]
    Shutdown,
}

/// Where the session stands between its transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Polling,
    /// A WebSocket is there and has not sent its probe; the attempt ends at the instant.
    Candidate(Instant),
    /// The probe was answered; polls are released until the client says `5`.
    Probed(Instant),
    WebSocket,
}

/// What the heartbeat waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heartbeat {
    /// Version 4: the next ping goes out at the instant.
    Quiet(Instant),
    /// A sign of life (version 4: the pong, version 3: the client's ping) is due by the instant.
    Due(Instant),
}

/// One session, from its handshake to its end. See the module documentation for the calling contract.
#[derive(Debug)]
pub struct Session {
    version: Version,
    timing: Timing,
    phase: Phase,
    heartbeat: Heartbeat,
    closed: bool,
    output: VecDeque<Output>,
}

impl Session {
    /// A session that was opened at `now`; its open packet is queued by the caller.
    #[must_use]
    pub fn new(version: Version, transport: TransportKind, timing: Timing, now: Instant) -> Self {
        let phase = match transport {
            TransportKind::Polling => Phase::Polling,
            TransportKind::WebSocket => Phase::WebSocket,
        };
        let mut session =
            Self { version, timing, phase, heartbeat: Heartbeat::Quiet(now), closed: false, output: VecDeque::new() };
        session.restart_heartbeat(now);
        session
    }

    /// The protocol version of the client.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The intervals of the session.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// The transport that carries the session now.
    #[must_use]
    pub fn transport(&self) -> TransportKind {
        match self.phase {
            Phase::Polling | Phase::Candidate(_) | Phase::Probed(_) => TransportKind::Polling,
            Phase::WebSocket => TransportKind::WebSocket,
        }
    }

    /// True while polls have to be answered at once, so that the client can stop polling.
    #[must_use]
    pub fn releases_polls(&self) -> bool {
        matches!(self.phase, Phase::Probed(_))
    }

    /// Takes a packet from the session's transport. A message comes back, for the layer above; everything else is dealt with
    /// here.
    ///
    /// # Errors
    ///
    /// The session is over: the client closed it or broke the protocol. [`Output::Close`] is queued as well.
    ///
    /// Spec: Engine.IO v3 and v4, "Heartbeat", "Packet types".
    pub fn handle_packet<'a>(&mut self, packet: Packet<'a>, now: Instant) -> Result<Option<Packet<'a>>, CloseReason> {
        match (packet, self.version) {
            (message @ (Packet::Text(_) | Packet::Binary(_)), _) => return Ok(Some(message)),
            (Packet::Pong(_), Version::V4) => {
                if matches!(self.heartbeat, Heartbeat::Due(_)) {
                    self.restart_heartbeat(now);
                    self.output.push_back(Output::Answered);
                }
            }
            (Packet::Ping(data), Version::V3) => {
                self.restart_heartbeat(now);
                self.output.push_back(Output::Send(Packet::Pong(Cow::Owned(data.into_owned()))));
            }
            (Packet::Noop, _) => {}
            (Packet::Close, _) => return Err(self.close(CloseReason::ClientClose)),
            (Packet::Ping(_), Version::V4)
            | (Packet::Pong(_), Version::V3)
            | (Packet::Open(_) | Packet::Upgrade, _) => return Err(self.close(CloseReason::ParseError)),
        }
        Ok(None)
    }

    /// Asks whether a WebSocket with this session's id may become its transport. With `false` the caller closes that WebSocket;
    /// the session goes on.
    pub fn handle_candidate(&mut self, now: Instant) -> bool {
        if self.closed || self.phase != Phase::Polling {
            return false;
        }
        self.phase = Phase::Candidate(later(now, self.timing.upgrade_timeout));
        true
    }

    /// Takes a packet from the candidate WebSocket: first the probe, then the upgrade packet. Anything else ends the attempt.
    ///
    /// Spec: Engine.IO v4, "Upgrade".
    pub fn handle_candidate_packet(&mut self, packet: &Packet<'_>) {
        match (self.phase, packet) {
            (Phase::Candidate(deadline), Packet::Ping(data)) if data == "probe" => {
                self.phase = Phase::Probed(deadline);
                self.output.push_back(Output::SendToCandidate(Packet::Pong(Cow::Borrowed("probe"))));
            }
            (Phase::Probed(_), Packet::Upgrade) => {
                self.phase = Phase::WebSocket;
                self.output.push_back(Output::SwitchToCandidate);
            }
            (Phase::Candidate(_) | Phase::Probed(_), _) => self.handle_candidate_lost(),
            (Phase::Polling | Phase::WebSocket, _) => {}
        }
    }

    /// The candidate's connection ended or broke the WebSocket protocol. A later attempt may succeed.
    pub fn handle_candidate_lost(&mut self) {
        if matches!(self.phase, Phase::Candidate(_) | Phase::Probed(_)) {
            self.phase = Phase::Polling;
            self.output.push_back(Output::CloseCandidate);
        }
    }

    /// Sends a ping before it is due, unless one is on its way already. Clients answer any ping, and the next regular one counts from
    /// the answer. Version 3 has no ping of the server's.
    pub fn ping_now(&mut self, now: Instant) {
        if !self.closed && self.version == Version::V4 && matches!(self.heartbeat, Heartbeat::Quiet(_)) {
            self.heartbeat = Heartbeat::Due(later(now, self.timing.ping_timeout));
            self.output.push_back(Output::Send(Packet::Ping(Cow::Borrowed(""))));
        }
    }

    /// Does what is due at `now`: sends a ping, gives up on an upgrade, or ends a session that fell silent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if let Phase::Candidate(deadline) | Phase::Probed(deadline) = self.phase
            && deadline <= now
        {
            self.handle_candidate_lost();
        }
        match self.heartbeat {
            Heartbeat::Quiet(due) if due <= now => {
                // Counted from when the ping was due, so that timers that fire late do not add up; but whoever is called very
                // late (a process that was stopped) still gives the client half of the time.
                let patience = self.timing.ping_timeout;
                self.heartbeat =
                    Heartbeat::Due(later(due, patience).max(later(now, patience.checked_div(2).unwrap_or_default())));
                self.output.push_back(Output::Send(Packet::Ping(Cow::Borrowed(""))));
            }
            Heartbeat::Due(due) if due <= now => {
                self.close(CloseReason::PingTimeout);
            }
            Heartbeat::Quiet(_) | Heartbeat::Due(_) => {}
        }
    }

    /// Ends the session for a reason of the caller's; only the first reason counts. Returns it.
    pub fn close(&mut self, reason: CloseReason) -> CloseReason {
        if !self.closed {
            self.closed = true;
            self.output.push_back(Output::Close(reason));
        }
        reason
    }

    /// The next thing to do, in order; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Session::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let (Heartbeat::Quiet(heartbeat) | Heartbeat::Due(heartbeat)) = self.heartbeat;
        match self.phase {
            Phase::Candidate(upgrade) | Phase::Probed(upgrade) => heartbeat.min(upgrade),
            Phase::Polling | Phase::WebSocket => heartbeat,
        }
    }

    fn restart_heartbeat(&mut self, now: Instant) {
        self.heartbeat = match self.version {
            Version::V4 => Heartbeat::Quiet(later(now, self.timing.ping_interval)),
            Version::V3 => {
                Heartbeat::Due(later(now, self.timing.ping_interval.saturating_add(self.timing.ping_timeout)))
            }
        };
    }
}

/// `now` moved ahead; an interval too long to represent never comes due.
fn later(now: Instant, interval: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(100 * 365 * 24);
    now.checked_add(interval.min(FAR)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_mins(1),
        upgrade_timeout: Duration::from_secs(10),
    };

    fn outputs(session: &mut Session) -> Vec<Output> {
        std::iter::from_fn(|| session.poll_output()).collect()
    }

    fn ping() -> Output {
        Output::Send(Packet::Ping("".into()))
    }

    #[expect(clippy::disallowed_methods, reason = "a state machine without I/O takes any instant")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_early_ping_is_answered_like_any_other_and_only_one_is_on_its_way() {
        let now = start();
        let mut session = Session::new(Version::V4, TransportKind::WebSocket, TIMING, now);
        session.ping_now(now);
        session.ping_now(now);
        assert_eq!(outputs(&mut session), [ping()]);
        let later = now + Duration::from_secs(1);
        session.handle_packet(Packet::Pong("".into()), later).expect("open");
        assert_eq!(outputs(&mut session), [Output::Answered]);
        assert_eq!(session.deadline(), later + TIMING.ping_interval);
        session.handle_packet(Packet::Pong("".into()), later).expect("open");
        assert_eq!(outputs(&mut session), [], "nobody asked");
    }

    #[test]
    fn version_4_pings_after_the_interval_and_closes_without_a_pong() {
        let now = start();
        let mut session = Session::new(Version::V4, TransportKind::WebSocket, TIMING, now);
        assert_eq!(outputs(&mut session), [], "nothing right after the handshake");
        assert_eq!(session.deadline(), now + TIMING.ping_interval);
        let pinged = session.deadline();
        session.handle_timeout(pinged);
        assert_eq!(outputs(&mut session), [ping()]);
        session.handle_timeout(pinged + TIMING.ping_timeout);
        assert_eq!(outputs(&mut session), [Output::Close(CloseReason::PingTimeout)]);
    }

    #[test]
    fn a_late_timer_does_not_postpone_the_timeout_but_leaves_the_client_time_to_answer() {
        let now = start();
        let pinged = now + TIMING.ping_interval;
        let deadline = |late: Duration| {
            let mut session = Session::new(Version::V4, TransportKind::WebSocket, TIMING, now);
            session.handle_timeout(pinged + late);
            session.deadline()
        };
        assert_eq!(deadline(Duration::from_millis(5)), pinged + TIMING.ping_timeout);
        let stopped = Duration::from_mins(10);
        assert_eq!(deadline(stopped), pinged + stopped + TIMING.ping_timeout / 2);
    }

    #[test]
    fn only_a_pong_keeps_a_version_4_session_alive() {
        let now = start();
        let mut session = Session::new(Version::V4, TransportKind::WebSocket, TIMING, now);
        session.handle_timeout(now + TIMING.ping_interval);
        let due = session.deadline();
        session.handle_packet(Packet::Text("4".into()), due).expect("a message is fine");
        assert_eq!(session.deadline(), due);
        session.handle_packet(Packet::Pong("".into()), due).expect("a pong is fine");
        assert_eq!(session.deadline(), due + TIMING.ping_interval);
    }

    #[test]
    fn an_unasked_pong_does_not_postpone_the_next_ping() {
        let now = start();
        let mut session = Session::new(Version::V4, TransportKind::WebSocket, TIMING, now);
        session.handle_packet(Packet::Pong("".into()), now + Duration::from_secs(20)).expect("harmless");
        assert_eq!(session.deadline(), now + TIMING.ping_interval);
    }

    #[test]
    fn a_version_3_client_pings_and_is_answered_with_its_data() {
        let now = start();
        let mut session = Session::new(Version::V3, TransportKind::Polling, TIMING, now);
        assert_eq!(session.deadline(), now + TIMING.ping_interval + TIMING.ping_timeout);
        session.handle_packet(Packet::Ping("x".into()), now).expect("a ping is fine");
        assert_eq!(outputs(&mut session), [Output::Send(Packet::Pong("x".into()))]);
        session.handle_timeout(session.deadline());
        assert_eq!(outputs(&mut session), [Output::Close(CloseReason::PingTimeout)]);
    }

    #[test]
    fn heartbeat_packets_of_the_wrong_direction_close() {
        for (version, packet) in [(Version::V4, Packet::Ping("".into())), (Version::V3, Packet::Pong("".into()))] {
            let mut session = Session::new(version, TransportKind::WebSocket, TIMING, start());
            assert_eq!(session.handle_packet(packet, start()), Err(CloseReason::ParseError));
            assert_eq!(outputs(&mut session), [Output::Close(CloseReason::ParseError)]);
        }
    }

    #[test]
    fn an_upgrade_is_probe_then_five_and_polls_are_released_between() {
        let now = start();
        let mut session = Session::new(Version::V4, TransportKind::Polling, TIMING, now);
        assert!(session.handle_candidate(now));
        assert!(!session.handle_candidate(now), "one candidate at a time");
        assert!(!session.releases_polls());
        session.handle_candidate_packet(&Packet::Ping("probe".into()));
        assert!(session.releases_polls());
        session.handle_candidate_packet(&Packet::Upgrade);
        assert_eq!(session.transport(), TransportKind::WebSocket);
        assert_eq!(
            outputs(&mut session),
            [Output::SendToCandidate(Packet::Pong("probe".into())), Output::SwitchToCandidate]
        );
        assert!(!session.handle_candidate(now), "no second upgrade");
    }

    #[test]
    fn a_failed_upgrade_leaves_the_session_on_polling_and_another_may_follow() {
        let now = start();
        let mut session = Session::new(Version::V4, TransportKind::Polling, TIMING, now);
        assert!(session.handle_candidate(now));
        session.handle_candidate_packet(&Packet::Upgrade);
        assert_eq!(outputs(&mut session), [Output::CloseCandidate]);
        assert!(session.handle_candidate(now));
        assert_eq!(session.deadline(), now + TIMING.upgrade_timeout);
        session.handle_timeout(session.deadline());
        assert_eq!(outputs(&mut session), [Output::CloseCandidate]);
        assert_eq!(session.transport(), TransportKind::Polling);
    }
}
