//! What waits to be sent to one session: shared, ready-made packets in a bounded queue.

use std::collections::VecDeque;

use super::Outgoing;

/// How much may wait for one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutboxLimits {
    pub(super) packets: usize,
    pub(super) bytes: usize,
}

/// What is left of the limits while the process is short of memory, as a share.
const SCARCE_SHARE: usize = 8;

impl OutboxLimits {
    /// The limits while the process is short of memory: those who read slowly are cut off sooner, the others notice nothing.
    pub(super) fn when_memory_is_scarce(self) -> Self {
        Self { packets: self.packets / SCARCE_SHARE, bytes: self.bytes / SCARCE_SHARE }
    }
}

/// The queue of one session. It holds no memory while empty.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// Bytes that were taken to be written and may not be yet: they are in memory as those that wait.
    in_hand: usize,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It waits to be written.
    Yes,
    /// It was volatile and the reader is slow: dropped.
    Dropped,
    /// The queue is full: the session has to be closed.
    Overflow,
}

impl Outbox {
    /// Appends packets that belong together (a header and its attachments): all or none.
    ///
    /// A volatile one is dropped as soon as the queue is half full, so that ephemeral events go before anything else does. An
    /// empty queue takes one message of any size: the limit is for what a slow reader lets pile up.
    pub(super) fn push(&mut self, packets: &[Outgoing], volatile: bool, limits: OutboxLimits) -> Queued {
        let bytes = packets.iter().fold(self.bytes, |sum, packet| sum.saturating_add(packet.len()));
        let count = self.queue.len().saturating_add(packets.len());
        let held = bytes.saturating_add(self.in_hand);
        if volatile && (held > limits.bytes / 2 || count > limits.packets / 2) {
            return Queued::Dropped;
        }
        if !self.queue.is_empty() && (held > limits.bytes || count > limits.packets) {
            return Queued::Overflow;
        }
        self.queue.extend(packets.iter().cloned());
        self.bytes = bytes;
        Queued::Yes
    }

    /// Appends one small packet, whatever the limits say.
    pub(super) fn force(&mut self, packet: Outgoing) {
        self.bytes = self.bytes.saturating_add(packet.len());
        self.queue.push_back(packet);
    }

    /// True when nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True when so much waits that the session should answer less: reading from its client pauses.
    pub(super) fn is_half_full(&self, limits: OutboxLimits) -> bool {
        self.bytes.saturating_add(self.in_hand) > limits.bytes / 2 || self.queue.len() > limits.packets / 2
    }

    /// Takes up to `packets` from the front; gives the memory back once empty.
    pub(super) fn take(&mut self, packets: usize, into: &mut VecDeque<Outgoing>) {
        if self.queue.len() <= packets && into.is_empty() {
            std::mem::swap(&mut self.queue, into);
            self.queue = VecDeque::new();
            self.bytes = 0;
            return;
        }
        for packet in self.queue.drain(..packets.min(self.queue.len())) {
            self.bytes = self.bytes.saturating_sub(packet.len());
            into.push_back(packet);
        }
    }

    /// The same for a connection that has written all it took before, and has this in hand from now on.
    pub(super) fn take_in_hand(&mut self, packets: usize, into: &mut VecDeque<Outgoing>) {
        self.take(packets, into);
        self.in_hand = into.iter().fold(0, |sum, packet| packet.len().saturating_add(sum));
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OutboxLimits = OutboxLimits { packets: 4, bytes: 100 };

    fn packet(bytes: usize) -> Outgoing {
        Outgoing::binary(vec![0; bytes].into())
    }

    #[test]
    fn volatile_packets_go_first_and_then_the_queue_overflows() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&[packet(40)], false, LIMITS), Queued::Yes);
        assert_eq!(outbox.push(&[packet(40)], true, LIMITS), Queued::Dropped);
        assert_eq!(outbox.push(&[packet(40)], false, LIMITS), Queued::Yes);
        assert_eq!(outbox.push(&[packet(40)], false, LIMITS), Queued::Overflow);
    }

    #[test]
    fn a_header_is_never_queued_without_its_attachments() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&[packet(1), packet(1), packet(1)], false, LIMITS), Queued::Yes);
        assert_eq!(outbox.push(&[packet(1), packet(1)], false, LIMITS), Queued::Overflow);
        let mut taken = VecDeque::new();
        outbox.take(9, &mut taken);
        assert_eq!(taken.len(), 3);
    }

    #[test]
    fn what_is_being_written_counts_until_more_is_taken() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&[packet(60)], false, LIMITS), Queued::Yes);
        outbox.take_in_hand(9, &mut VecDeque::new());
        assert!(outbox.is_half_full(LIMITS));
        assert_eq!(outbox.push(&[packet(1)], true, LIMITS), Queued::Dropped);
        assert_eq!(outbox.push(&[packet(30)], false, LIMITS), Queued::Yes);
        assert_eq!(outbox.push(&[packet(30)], false, LIMITS), Queued::Overflow);
        outbox.take_in_hand(9, &mut VecDeque::new());
        outbox.take_in_hand(9, &mut VecDeque::new());
        assert!(!outbox.is_half_full(LIMITS));
    }

    #[test]
    fn an_empty_queue_takes_one_message_of_any_size() {
        assert_eq!(Outbox::default().push(&[packet(500)], false, LIMITS), Queued::Yes);
    }
}
