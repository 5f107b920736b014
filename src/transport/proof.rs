//! Proof of arrival: which packets the client has, as far as the transport can tell, and how long the way there and back takes.
//!
//! Clients in the field confirm nothing by themselves. But the pong of Engine.IO 4 answers a ping that went out after the packets,
//! and the client library hands the earlier packets on first; the pong of a WebSocket does for Engine.IO 3; and a poll follows
//! the response that carried them. Each proves arrival, in order, with any client.

use std::{collections::VecDeque, time::Duration};

use crate::clock::{Instant, Timestamp};

/// How long what was sent waits until proof of it is asked for, at most; the ping interval where that is shorter. The regular ping
/// of version 4 counts, too.
pub(super) const PROOF_INTERVAL: Duration = Duration::from_secs(5);
/// With so many receipts without proof it is asked for at once,
const WINDOW_PACKETS: usize = 256;
/// or with so many bytes since it was asked for last: what may come again after a crash.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Receipts that are remembered for one session, at most. Beyond, the oldest is forgotten and never confirmed by itself. That is
/// harmless: proof of a later one implies it, and without any its packet comes again.
const MAX_UNCONFIRMED: usize = 1024;

/// What the layer above wants to hear of once the client has a packet. The transport does not look inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whose packet it is, among the sockets of the session.
    pub socket: u32,
    /// What the packet belongs to.
    pub key: [u8; 12],
    /// Its number there.
    pub seq: u64,
}

/// What was sent and is not proved to have arrived. Without anything it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    /// Packets of the session, counted from its start.
    pushed: u64,
    /// Everything up to here has arrived once the ping that is on its way is answered.
    pinged: Option<(u64, Instant)>,
    /// Everything up to here has arrived once the client polls again.
    polled: Option<u64>,
    /// Everything up to here has arrived.
    proved: u64,
    waiting: Option<Box<Waiting>>,
    /// The layer above has been told what is left without proof: nothing more is tracked.
    ended: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Each with the number of its last packet.
    receipts: VecDeque<(u64, Receipt)>,
    /// Bytes tracked since the last ping.
    bytes: usize,
    /// Somebody waits for proof of everything up to here.
    wanted: Option<u64>,
}

impl Unconfirmed {
    /// Packets were queued.
    pub(super) fn push(&mut self, packets: usize) {
        self.pushed = self.pushed.saturating_add(packets as u64);
    }

    /// How many packets were queued by now: the number of the last one.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The number of the last packet that has arrived for sure; 0 for none.
    pub(super) fn proved(&self) -> u64 {
        self.proved
    }

    /// The packets queued last, of so many bytes, have this receipt.
    pub(super) fn track(&mut self, receipt: Receipt, bytes: usize) {
        let waiting = self.waiting.get_or_insert_default();
        if waiting.receipts.len() >= MAX_UNCONFIRMED {
            waiting.receipts.pop_front();
        }
        waiting.receipts.push_back((self.pushed, receipt));
        waiting.bytes = waiting.bytes.saturating_add(bytes);
    }

    /// Somebody waits for proof of what was queued by now.
    pub(super) fn want(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.wanted = Some(self.pushed);
        }
    }

    /// Whether anything waits for proof that no ping on its way will bring, and whether that is urgent.
    pub(super) fn needs_proof(&self) -> Option<bool> {
        self.waiting.as_ref().filter(|_| self.pinged.is_none()).map(|waiting| waiting.is_urgent())
    }

    /// True while anything waits for proof.
    pub(super) fn has_any(&self) -> bool {
        self.waiting.is_some()
    }

    /// True once nothing more is tracked.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// A ping goes out behind everything queued by now. Returns its mark. A packet that is queued and not counted here must not be
    /// written before the ping, and none that is counted may be written after it: call it under the lock of the queue.
    pub(super) fn ping(&mut self, now: Instant) -> u64 {
        self.pinged = Some((self.pushed, now));
        if let Some(waiting) = &mut self.waiting {
            waiting.bytes = 0;
        }
        self.pushed
    }

    /// The mark of the ping that is on its way.
    pub(super) fn mark(&self) -> Option<u64> {
        self.pinged.map(|(mark, _)| mark)
    }

    /// Since when a ping is on its way.
    pub(super) fn pinged_at(&self) -> Option<Instant> {
        self.pinged.map(|(_, at)| at)
    }

    /// The ping on its way was answered: what has arrived, and how long that took.
    pub(super) fn answered(&mut self, now: Instant) -> Option<(Vec<Receipt>, Duration)> {
        let (mark, sent) = self.pinged.take()?;
        Some((self.prove(mark), now.saturating_duration_since(sent)))
    }

    /// Everything queued was given to a poll.
    pub(super) fn poll(&mut self) {
        self.polled = Some(self.pushed);
    }

    /// The client polls again: what has arrived.
    pub(super) fn polled(&mut self) -> Vec<Receipt> {
        let Some(mark) = self.polled.take() else { return Vec::new() };
        self.prove(mark)
    }

    /// Everything of which it is not known whether it has arrived. From here on nothing is tracked.
    pub(super) fn end(&mut self) -> Vec<Receipt> {
        self.ended = true;
        let waiting = self.waiting.take().unwrap_or_default();
        waiting.receipts.into_iter().map(|(_, receipt)| receipt).collect()
    }

    /// The same for one socket, without the end.
    pub(super) fn take_of(&mut self, socket: u32) -> Vec<Receipt> {
        let Some(waiting) = &mut self.waiting else { return Vec::new() };
        let (own, others): (VecDeque<_>, _) =
            waiting.receipts.drain(..).partition(|(_, receipt)| receipt.socket == socket);
        waiting.receipts = others;
        self.free();
        own.into_iter().map(|(_, receipt)| receipt).collect()
    }

    fn prove(&mut self, mark: u64) -> Vec<Receipt> {
        self.proved = self.proved.max(mark);
        let Some(waiting) = &mut self.waiting else { return Vec::new() };
        let count = waiting.receipts.partition_point(|(number, _)| *number <= mark);
        let proved = waiting.receipts.drain(..count).map(|(_, receipt)| receipt).collect();
        // Whoever wanted proof of what is newer still waits for it.
        waiting.wanted = waiting.wanted.filter(|wanted| *wanted > mark);
        self.free();
        proved
    }

    fn free(&mut self) {
        self.waiting.take_if(|waiting| waiting.receipts.is_empty());
    }
}

impl Waiting {
    fn is_urgent(&self) -> bool {
        self.wanted.is_some() || self.receipts.len() >= WINDOW_PACKETS || self.bytes >= WINDOW_BYTES
    }
}

/// Round trips of one session, measured by the server: from when a ping is queued until its pong is read, on the monotonic clock.
///
/// What waits in the session's queue before the ping is part of it, as it is for messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// The last one in microseconds.
    pub last: u32,
    /// The shortest one in microseconds.
    pub min: u32,
    /// The longest one in microseconds.
    pub max: u32,
    /// All of them together in microseconds.
    pub sum: u64,
    /// How many there were.
    pub count: u32,
    /// Pings that were not answered within the ping interval, the one on its way included.
    pub missed: u32,
    /// The same since the last one that was answered in time.
    pub consecutive_missed: u32,
    /// When the last one ended.
    pub last_at: Timestamp,
}

impl Latency {
    /// A ping was answered.
    pub(super) fn add(&mut self, round_trip: Duration, ping_interval: Duration) {
        let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        self.min = if self.count == 0 { micros } else { self.min.min(micros) };
        self.max = self.max.max(micros);
        self.last = micros;
        self.sum = self.sum.saturating_add(u64::from(micros));
        self.count = self.count.saturating_add(1);
        self.last_at = Timestamp::now();
        if round_trip > ping_interval {
            self.miss();
        } else {
            self.consecutive_missed = 0;
        }
    }

    /// As it stands while a ping has been on its way for so long.
    pub(super) fn while_waiting(mut self, waiting: Option<Duration>, ping_interval: Duration) -> Self {
        if waiting.is_some_and(|waiting| waiting > ping_interval) {
            self.miss();
        }
        self
    }

    fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
        self.consecutive_missed = self.consecutive_missed.saturating_add(1);
    }

    /// The mean in milliseconds; 0 before the first one.
    #[must_use]
    pub fn average_ms(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a connection's life are far below 2^52")]
        let sum = self.sum as f64;
        sum / f64::from(self.count) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const INTERVAL: Duration = Duration::from_secs(25);

    fn receipt(seq: u64) -> Receipt {
        Receipt { socket: 0, key: [0; 12], seq }
    }

    fn seqs(receipts: &[Receipt]) -> Vec<u64> {
        receipts.iter().map(|receipt| receipt.seq).collect()
    }

    fn send(unconfirmed: &mut Unconfirmed, seq: u64) {
        unconfirmed.push(1);
        unconfirmed.track(receipt(seq), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pong_proves_what_was_queued_before_its_ping_and_nothing_else() {
        let mut unconfirmed = Unconfirmed::default();
        send(&mut unconfirmed, 1);
        send(&mut unconfirmed, 2);
        unconfirmed.push(1);
        unconfirmed.ping(clock::now());
        send(&mut unconfirmed, 3);
        tokio::time::advance(Duration::from_millis(7)).await;
        let (proved, took) = unconfirmed.answered(clock::now()).expect("a ping was on its way");
        assert_eq!((seqs(&proved), took), (vec![1, 2], Duration::from_millis(7)));
        assert_eq!(unconfirmed.answered(clock::now()), None, "nobody asked a second time");
        assert_eq!(seqs(&unconfirmed.end()), [3]);
    }

    #[test]
    fn a_poll_proves_what_the_response_before_it_carried() {
        let mut unconfirmed = Unconfirmed::default();
        send(&mut unconfirmed, 1);
        unconfirmed.poll();
        send(&mut unconfirmed, 2);
        assert_eq!(seqs(&unconfirmed.polled()), [1]);
        assert_eq!(seqs(&unconfirmed.polled()), [0; 0], "no response in between");
    }

    #[test]
    fn proof_is_urgent_at_the_end_of_the_window_or_on_request() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.want();
        assert_eq!(unconfirmed.needs_proof(), None, "there is nothing to prove");
        for seq in 1..WINDOW_PACKETS as u64 {
            send(&mut unconfirmed, seq);
        }
        assert_eq!(unconfirmed.needs_proof(), Some(false));
        send(&mut unconfirmed, 256);
        assert_eq!(unconfirmed.needs_proof(), Some(true));
        unconfirmed.ping(clock::now());
        assert_eq!(unconfirmed.needs_proof(), None, "a ping is on its way");
    }

    #[test]
    fn bytes_count_against_the_window_until_a_ping_covers_them() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.push(1);
        unconfirmed.track(receipt(1), WINDOW_BYTES);
        assert_eq!(unconfirmed.needs_proof(), Some(true));
        unconfirmed.ping(clock::now());
        unconfirmed.push(1);
        unconfirmed.track(receipt(2), WINDOW_BYTES - 1);
        unconfirmed.answered(clock::now());
        assert_eq!(unconfirmed.needs_proof(), Some(false), "what came behind the ping fits in");
        send(&mut unconfirmed, 3);
        assert_eq!(unconfirmed.needs_proof(), Some(true));
    }

    /// Otherwise a busy session would be pinged once per round trip after a single request.
    #[test]
    fn a_request_for_proof_is_met_by_the_first_ping_behind_it() {
        let mut unconfirmed = Unconfirmed::default();
        send(&mut unconfirmed, 1);
        unconfirmed.want();
        unconfirmed.ping(clock::now());
        send(&mut unconfirmed, 2);
        unconfirmed.answered(clock::now());
        assert_eq!(unconfirmed.needs_proof(), Some(false), "the newer one can wait");
        unconfirmed.ping(clock::now());
        send(&mut unconfirmed, 3);
        unconfirmed.want();
        unconfirmed.answered(clock::now());
        assert_eq!(unconfirmed.needs_proof(), Some(true), "the ping was before the request");
    }

    #[test]
    fn what_is_not_proved_for_long_is_forgotten_from_the_front() {
        let mut unconfirmed = Unconfirmed::default();
        for seq in 0..=MAX_UNCONFIRMED as u64 {
            send(&mut unconfirmed, seq);
        }
        let left = unconfirmed.end();
        assert_eq!((left.len(), left[0].seq), (MAX_UNCONFIRMED, 1));
    }

    #[test]
    fn nothing_is_held_once_the_receipts_of_a_socket_were_taken_back() {
        let mut unconfirmed = Unconfirmed::default();
        send(&mut unconfirmed, 1);
        assert_eq!(seqs(&unconfirmed.take_of(7)), [0; 0]);
        assert!(unconfirmed.has_any());
        assert_eq!(seqs(&unconfirmed.take_of(0)), [1]);
        assert!(!unconfirmed.has_any());
    }

    #[test]
    fn round_trips_are_summed_up() {
        let mut latency = Latency::default();
        for millis in [4, 2, 6] {
            latency.add(Duration::from_millis(millis), INTERVAL);
        }
        assert_eq!((latency.last, latency.min, latency.max, latency.count), (6000, 2000, 6000, 3));
        assert_eq!((latency.missed, latency.consecutive_missed), (0, 0));
        assert!((latency.average_ms() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_pong_that_takes_longer_than_the_ping_interval_counts_as_missed() {
        let (in_time, late) = (Some(INTERVAL), Some(INTERVAL + Duration::from_millis(1)));
        let missed = |latency: Latency| (latency.missed, latency.consecutive_missed);
        let mut latency = Latency::default();
        assert_eq!(missed(latency.while_waiting(None, INTERVAL)), (0, 0));
        assert_eq!(missed(latency.while_waiting(in_time, INTERVAL)), (0, 0));
        assert_eq!(missed(latency.while_waiting(late, INTERVAL)), (1, 1), "while it is on its way already");
        for _ in 0..2 {
            latency.add(INTERVAL * 2, INTERVAL);
        }
        assert_eq!((missed(latency), latency.count), ((2, 2), 2));
        latency.add(INTERVAL, INTERVAL);
        assert_eq!(missed(latency), (2, 0));
    }
}
