//! Proof of arrival: which packets the client has, as far as the transport can tell, and how long the way there and back takes.
//!
//! Clients in the field confirm nothing by themselves. But the pong of Engine.IO 4 answers a ping that went out after the packets,
//! and the client library hands the earlier packets on first; the pong of a WebSocket does for Engine.IO 3; and a poll follows
//! the response that carried them. Each proves arrival, in order, with any client.

use std::{collections::VecDeque, time::Duration};

use crate::clock::{Instant, Timestamp};

/// How long what was sent waits for proof before it is asked for, at most. Proof is also asked for when the ping is due anyway.
pub(super) const PROOF_INTERVAL: Duration = Duration::from_secs(5);
/// With so many packets without proof it is asked for at once,
const WINDOW_PACKETS: usize = 256;
/// or with so many bytes: what may come again after a crash.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Receipts that are remembered for one session. Beyond, the oldest is forgotten: it is never confirmed, so its packet comes again.
const MAX_UNCONFIRMED: usize = 4096;

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
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    receipts: VecDeque<(u64, Receipt)>,
    bytes: usize,
    wanted: bool,
}

impl Unconfirmed {
    /// Packets were queued.
    pub(super) fn push(&mut self, packets: usize) {
        self.pushed = self.pushed.saturating_add(packets as u64);
    }

    /// The packets queued last, of so many bytes, have this receipt. True when proof should be asked for at once.
    pub(super) fn track(&mut self, receipt: Receipt, bytes: usize) -> bool {
        let waiting = self.waiting.get_or_insert_default();
        if waiting.receipts.len() >= MAX_UNCONFIRMED {
            waiting.receipts.pop_front();
        }
        waiting.receipts.push_back((self.pushed, receipt));
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        waiting.is_urgent()
    }

    /// Somebody waits for proof of what was queued by now.
    pub(super) fn want(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.wanted = true;
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

    /// A ping was queued behind everything else. Returns its mark.
    pub(super) fn ping(&mut self, now: Instant) -> u64 {
        self.pinged = Some((self.pushed, now));
        self.pushed
    }

    /// The mark of the ping that is on its way.
    pub(super) fn mark(&self) -> Option<u64> {
        self.pinged.map(|(mark, _)| mark)
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

    /// Everything of which it is not known whether it has arrived.
    pub(super) fn take(&mut self) -> Vec<Receipt> {
        let waiting = self.waiting.take().unwrap_or_default();
        waiting.receipts.into_iter().map(|(_, receipt)| receipt).collect()
    }

    /// The same for one socket.
    pub(super) fn take_of(&mut self, socket: u32) -> Vec<Receipt> {
        let Some(waiting) = &mut self.waiting else { return Vec::new() };
        let (own, others) = waiting.receipts.drain(..).partition(|(_, receipt)| receipt.socket == socket);
        waiting.receipts = others;
        let own: VecDeque<_> = own;
        own.into_iter().map(|(_, receipt)| receipt).collect()
    }

    fn prove(&mut self, mark: u64) -> Vec<Receipt> {
        let Some(waiting) = &mut self.waiting else { return Vec::new() };
        let count = waiting.receipts.partition_point(|(number, _)| *number <= mark);
        let proved = waiting.receipts.drain(..count).map(|(_, receipt)| receipt).collect();
        // What is left is new, and little: it counts from here on.
        (waiting.bytes, waiting.wanted) = (0, waiting.wanted && !waiting.receipts.is_empty());
        if waiting.receipts.is_empty() {
            self.waiting = None;
        }
        proved
    }
}

impl Waiting {
    fn is_urgent(&self) -> bool {
        self.wanted || self.receipts.len() >= WINDOW_PACKETS || self.bytes >= WINDOW_BYTES
    }
}

/// Round trips of one session, measured by the server.
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
    /// When the last one ended.
    pub last_at: Timestamp,
}

impl Latency {
    pub(super) fn add(&mut self, round_trip: Duration) {
        let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        self.min = if self.count == 0 { micros } else { self.min.min(micros) };
        self.max = self.max.max(micros);
        self.last = micros;
        self.sum = self.sum.saturating_add(u64::from(micros));
        self.count = self.count.saturating_add(1);
        self.last_at = Timestamp::now();
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

    fn receipt(seq: u64) -> Receipt {
        Receipt { socket: 0, key: [0; 12], seq }
    }

    fn seqs(receipts: &[Receipt]) -> Vec<u64> {
        receipts.iter().map(|receipt| receipt.seq).collect()
    }

    fn send(unconfirmed: &mut Unconfirmed, seq: u64) -> bool {
        unconfirmed.push(1);
        unconfirmed.track(receipt(seq), 10)
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
        assert_eq!(seqs(&unconfirmed.take()), [3]);
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
            assert!(!send(&mut unconfirmed, seq));
        }
        assert_eq!(unconfirmed.needs_proof(), Some(false));
        assert!(send(&mut unconfirmed, 256));
        assert_eq!(unconfirmed.needs_proof(), Some(true));
        unconfirmed.ping(clock::now());
        assert_eq!(unconfirmed.needs_proof(), None, "a ping is on its way");
    }

    #[test]
    fn what_is_not_proved_for_long_is_forgotten_from_the_front() {
        let mut unconfirmed = Unconfirmed::default();
        for seq in 0..=MAX_UNCONFIRMED as u64 {
            send(&mut unconfirmed, seq);
        }
        let left = unconfirmed.take();
        assert_eq!((left.len(), left[0].seq), (MAX_UNCONFIRMED, 1));
    }

    #[test]
    fn round_trips_are_summed_up() {
        let mut latency = Latency::default();
        for millis in [4, 2, 6] {
            latency.add(Duration::from_millis(millis));
        }
        assert_eq!((latency.last, latency.min, latency.max, latency.count), (6000, 2000, 6000, 3));
        assert!((latency.average_ms() - 4.0).abs() < 1e-9);
    }
}
