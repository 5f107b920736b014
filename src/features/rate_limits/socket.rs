//! What sockets have to do with rate limits.

use std::{sync::Arc, time::Duration};

use super::{
    Limit, RateLimits,
    events::RateLimitExceeded,
    limits::{EXCEEDED, Exceeded, whole_millis, whole_seconds},
};
use crate::{
    clock::{self, Instant},
    features::auth::{SignedIn, SocketListener},
    protocol::engineio::CloseReason,
    server::{Event, Refusal, Socket},
};

/// How often a socket hears of refusals by event; each ack tells in any case.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// So many times its limit, within one window, is a flood: its session is closed.
const FLOOD: u32 = 10;

/// What one socket was refused lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offence {
    since: Instant,
    refused: u32,
    told: Option<Instant>,
}

/// What to do about a refusal beside the ack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reaction {
    pub(super) tell: bool,
    pub(super) close: bool,
}

impl Offence {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, refused: 0, told: None }
    }

    /// Counts a refusal by `limit`.
    pub(super) fn refuse(&mut self, limit: Limit, now: Instant) -> Reaction {
        if now.saturating_duration_since(self.since) >= limit.window() {
            (self.since, self.refused) = (now, 0);
        }
        self.refused = self.refused.saturating_add(1);
        let tell = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if tell {
            self.told = Some(now);
        }
        // The events that passed were one limit.
        Reaction { tell, close: self.refused >= limit.times(FLOOD - 1).max }
    }
}

impl SocketListener for RateLimits {
    fn disconnected(&self, socket: &Arc<Socket>, user: &SignedIn, _: &str) {
        self.leave(&user.user, socket.namespace().name());
        self.offences.remove(socket.id());
    }

    fn admit(&self, socket: &Arc<Socket>, user: &SignedIn, name: &str, event: &Event<'_>) -> Result<(), Refusal> {
        let roles = user.roles();
        let Err(Exceeded(verdict)) = self.event(&user.user, &roles, name) else { return Ok(()) };
        let now = clock::now();
        // A small limit of one event must not make a flood of what the user may send otherwise.
        let general = self.general(&roles).filter(|general| general.exceeds(&verdict.limit));
        let mut offence = self.offences.entry(socket.id().clone()).or_insert_with(|| Offence::new(now));
        let Reaction { tell, close } = offence.refuse(general.unwrap_or(verdict.limit), now);
        drop(offence);
        if tell {
            socket.emit(&RateLimitExceeded {
                event: event.name,
                message: EXCEEDED,
                limit: verdict.limit.max,
                window_ms: verdict.limit.window_ms,
                remaining: verdict.remaining,
                retry_after: whole_seconds(verdict.retry_after),
                retry_after_ms: whole_millis(verdict.retry_after),
            });
        }
        if close {
            tracing::info!(user = %user.user, event = name, "a flood of events: the session is closed");
            socket.session().close(CloseReason::Flood);
        }
        Err(Exceeded(verdict).into())
    }
}
