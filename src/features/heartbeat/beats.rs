//! Beats of one client: how often they come, and how many did not.

use std::time::Duration;

use crate::clock::{Instant, Timestamp};

/// The shortest interval that counts: a client that beats faster misses nothing by beating slower.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The beats of one socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beats {
    last: Option<(Instant, Timestamp)>,
    /// How often the client beats: the time between its last two beats that followed each other in time.
    interval: Option<Duration>,
    total: u64,
    missed: u64,
}

/// What has become of them by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) total: u64,
    pub(super) missed: u64,
    pub(super) consecutive: u64,
    pub(super) last: Option<Timestamp>,
}

impl Beats {
    /// The client has beaten.
    pub(super) fn beat(&mut self, now: Instant) {
        let missing = self.missing(now);
        self.missed = self.missed.saturating_add(missing);
        if let Some((last, _)) = self.last.filter(|_| missing == 0) {
            self.interval = Some(now.saturating_duration_since(last).max(MIN_INTERVAL));
        }
        self.last = Some((now, Timestamp::now()));
        self.total = self.total.saturating_add(1);
    }

    /// What is known by now, what is missing included.
    pub(super) fn count(&self, now: Instant) -> Count {
        let consecutive = self.missing(now);
        Count {
            total: self.total,
            missed: self.missed.saturating_add(consecutive),
            consecutive,
            last: self.last.map(|(_, at)| at),
        }
    }

    /// Beats that should have come since the last one. The first one is missed once two intervals are over.
    fn missing(&self, now: Instant) -> u64 {
        let (Some((last, _)), Some(interval)) = (self.last, self.interval) else { return 0 };
        let intervals = now.saturating_duration_since(last).as_millis() / interval.as_millis().max(1);
        u64::try_from(intervals).unwrap_or(u64::MAX).saturating_sub(1)
    }
}
