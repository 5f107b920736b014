//! What was sent to a socket and may not have arrived, for [recovery](super::recovery).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::recovery::Recovery;
use crate::transport::Outgoing;

/// The key and the number of what is tracked.
pub(super) type Tracked = ([u8; 12], u64);

/// What an event tells of: an id of the application.
pub(super) type Subject = [u8; 12];

/// An event with its offset, encoded once for all that get it.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) offset: u64,
    /// Header and attachments.
    pub(super) packets: Vec<Outgoing>,
    pub(super) tracked: Option<Tracked>,
    /// What it tells of, if that may be withdrawn.
    pub(super) subject: Option<Subject>,
}

impl Numbered {
    fn bytes(&self) -> usize {
        self.packets.iter().fold(0, |sum, packet| packet.len().saturating_add(sum))
    }
}

/// An event that was sent to one socket.
#[derive(Debug)]
pub(super) struct Sent {
    offset: u64,
    tracked: Option<Tracked>,
    /// What is sent again; `None` when a log has it or it was withdrawn.
    event: Option<Arc<Numbered>>,
    /// Its last packet's number in the session; [`NOT_SENT`] when it is in none.
    number: u64,
}

impl Sent {
    pub(super) fn of(event: &Arc<Numbered>, number: u64) -> Self {
        let (offset, tracked) = (event.offset, event.tracked);
        Self { offset, tracked, event: tracked.is_none().then(|| Arc::clone(event)), number }
    }

    fn packets(&self) -> usize {
        self.event.as_ref().map_or(1, |event| event.packets.len())
    }

    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |event| event.bytes())
    }
}

/// What a client that comes back with an offset has got and what not, as far as it is tracked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resumed {
    /// It has these.
    pub(super) arrived: Vec<Tracked>,
    /// It has missed these and all that follow them under the same keys.
    pub(super) missed: Vec<Tracked>,
}

/// The number of what no session has carried.
const NOT_SENT: u64 = u64::MAX;

/// What was sent to a socket last and may not have arrived, in the order of the wire. Without anything it holds no memory.
#[derive(Debug)]
pub(super) struct Ring {
    limits: Recovery,
    sent: VecDeque<Sent>,
    packets: usize,
    bytes: usize,
    /// The first of each key that was not sent at all.
    missed: BTreeMap<[u8; 12], u64>,
    /// The offset before the first one here: whoever is that far has missed what is here and nothing else.
    passed: Option<u64>,
    /// Something is missing for good.
    broken: bool,
}

impl Ring {
    pub(super) fn new(limits: Recovery) -> Self {
        Self {
            limits,
            sent: VecDeque::new(),
            packets: 0,
            bytes: 0,
            missed: BTreeMap::new(),
            passed: None,
            broken: false,
        }
    }

    /// A ring as it was put into the store.
    pub(super) fn restored(
        limits: Recovery,
        passed: Option<u64>,
        kept: impl IntoIterator<Item = Kept>,
        missed: impl IntoIterator<Item = Tracked>,
    ) -> Self {
        let mut ring = Self { passed, missed: missed.into_iter().collect(), ..Self::new(limits) };
        for Kept { offset, tracked, event } in kept {
            ring.push(Sent { offset, tracked, event, number: NOT_SENT });
        }
        ring
    }

    /// Keeps an event that no session carries.
    pub(super) fn keep(&mut self, event: &Arc<Numbered>) {
        match event.tracked {
            Some((key, seq)) => self.miss(key, seq),
            None => self.push(Sent::of(event, NOT_SENT)),
        }
    }

    /// Notes something tracked that no session carries.
    pub(super) fn miss(&mut self, key: [u8; 12], seq: u64) {
        if !self.broken {
            self.missed.entry(key).or_insert(seq);
        }
    }

    /// Keeps an event. The oldest ones make room.
    pub(super) fn push(&mut self, sent: Sent) {
        if self.broken {
            return;
        }
        self.packets = self.packets.saturating_add(sent.packets());
        self.bytes = self.bytes.saturating_add(sent.bytes());
        self.sent.push_back(sent);
        while self.packets > self.limits.packets || self.bytes > self.limits.bytes {
            if self.pop().is_none() {
                return;
            }
        }
    }

    /// Does not send again what tells of `subject`.
    pub(super) fn withdraw(&mut self, subject: Subject) {
        for sent in &mut self.sent {
            if let Some(event) = sent.event.take_if(|event| event.subject == Some(subject)) {
                self.packets = self.packets.saturating_sub(event.packets.len()).saturating_add(1);
                self.bytes = self.bytes.saturating_sub(event.bytes());
            }
        }
    }

    /// Forgets what is proved to have arrived: everything up to this packet of the session.
    pub(super) fn prove(&mut self, number: u64) {
        while self.sent.front().is_some_and(|sent| sent.number <= number) {
            self.pop();
        }
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
    }

    /// Forgets everything up to `offset`, which the client has, and all that is tracked. `None`, and nothing is changed, when there is no
    /// such offset.
    pub(super) fn resume(&mut self, offset: u64) -> Option<Resumed> {
        let count = match self.sent.iter().position(|sent| sent.offset == offset) {
            Some(position) => position.saturating_add(1),
            None if self.passed == Some(offset) => 0,
            None => return None,
        };
        let arrived = (0..count).filter_map(|_| self.pop()?.tracked).collect();
        let mut missed = std::mem::take(&mut self.missed);
        // In the order of their log, so the first one is the least.
        for (key, seq) in self.sent.iter().filter_map(|sent| sent.tracked).rev() {
            missed.insert(key, seq);
        }
        Some(Resumed { arrived, missed: missed.into_iter().collect() })
    }

    /// Takes everything out that is to be sent again.
    pub(super) fn take_all(&mut self) -> Vec<Arc<Numbered>> {
        (self.packets, self.bytes) = (0, 0);
        std::mem::take(&mut self.sent).into_iter().filter_map(|sent| sent.event).collect()
    }

    /// Forgets everything: nobody can go on from here.
    pub(super) fn give_up(&mut self) {
        self.take_all();
        self.missed.clear();
        self.passed = None;
        self.broken = true;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn passed(&self) -> Option<u64> {
        self.passed
    }

    pub(super) fn kept(&self) -> impl Iterator<Item = Kept> {
        self.sent.iter().map(|sent| Kept { offset: sent.offset, tracked: sent.tracked, event: sent.event.clone() })
    }

    pub(super) fn missed(&self) -> impl Iterator<Item = Tracked> {
        self.missed.iter().map(|(key, seq)| (*key, *seq))
    }

    /// True when nobody can go on from here: there is no offset that a client could name.
    pub(super) fn is_useless(&self) -> bool {
        self.passed.is_none() && self.sent.is_empty()
    }

    fn pop(&mut self) -> Option<Sent> {
        let sent = self.sent.pop_front()?;
        self.packets = self.packets.saturating_sub(sent.packets());
        self.bytes = self.bytes.saturating_sub(sent.bytes());
        self.passed = Some(sent.offset);
        Some(sent)
    }
}

/// What a ring has of an event.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) offset: u64,
    pub(super) tracked: Option<Tracked>,
    /// What is sent again, if anything.
    pub(super) event: Option<Arc<Numbered>>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Recovery = Recovery { window: Duration::from_secs(1), packets: 3, bytes: 100 };

    fn event(offset: u64, bytes: usize, tracked: Option<Tracked>) -> Arc<Numbered> {
        let packets = vec![Outgoing::binary(vec![0; bytes].into())];
        Arc::new(Numbered { offset, packets, tracked, subject: Some([1; 12]) })
    }

    /// Keeps an event of so many bytes, which the session carries under the number of its offset.
    fn push(ring: &mut Ring, offset: u64, bytes: usize) {
        ring.push(Sent::of(&event(offset, bytes, None), offset));
    }

    fn ring_of(offsets: &[u64]) -> Ring {
        let mut ring = Ring::new(LIMITS);
        for offset in offsets {
            push(&mut ring, *offset, 10);
        }
        ring
    }

    /// A ring of what is tracked by these keys and numbers, at the offsets 1, 2, ...
    fn ring_of_tracked(tracked: &[Tracked]) -> Ring {
        let mut ring = Ring::new(LIMITS);
        for (offset, tracked) in (1..).zip(tracked) {
            ring.push(Sent::of(&event(offset, 10, Some(*tracked)), offset));
        }
        ring
    }

    fn offsets(ring: &Ring) -> Vec<u64> {
        ring.sent.iter().map(|sent| sent.offset).collect()
    }

    const A: [u8; 12] = [7; 12];
    const B: [u8; 12] = [8; 12];

    #[test]
    fn resuming_confirms_what_came_up_to_the_offset_and_names_what_did_not() {
        let mut ring = ring_of_tracked(&[(A, 20), (A, 21), (B, 5)]);
        ring.keep(&event(4, 10, Some((A, 22))));
        ring.keep(&event(5, 10, Some((B, 6))));
        ring.keep(&event(6, 10, Some((B, 7))));
        let resumed = Resumed { arrived: vec![(A, 20), (A, 21)], missed: vec![(A, 22), (B, 5)] };
        assert_eq!(ring.resume(2), Some(resumed));
    }

    #[test]
    fn what_is_tracked_is_not_kept() {
        let mut ring = ring_of_tracked(&[(A, 1)]);
        ring.keep(&event(2, 10, Some((A, 2))));
        push(&mut ring, 3, 10);
        assert_eq!(ring.bytes(), 10);
        let again: Vec<u64> = ring.take_all().iter().map(|event| event.offset).collect();
        assert_eq!(again, [3]);
    }

    #[test]
    fn resuming_keeps_the_rest_in_the_order_of_the_wire() {
        let mut ring = ring_of(&[2, 1, 3]);
        assert_eq!(ring.resume(1), Some(Resumed::default()));
        assert_eq!(offsets(&ring), [3]);
        assert_eq!(ring.resume(1), Some(Resumed::default()), "cut again before anything came");
    }

    #[test]
    fn what_was_withdrawn_is_not_sent_again_and_can_still_be_resumed_at() {
        let mut ring = ring_of(&[1, 2]);
        ring.withdraw([2; 12]);
        assert_eq!(ring.bytes(), 20);
        ring.withdraw([1; 12]);
        assert_eq!((offsets(&ring), ring.bytes(), ring.packets), (vec![1, 2], 0, 2));
        assert!(ring.resume(1).is_some());
        assert!(ring.take_all().is_empty());
    }

    #[test]
    fn an_offset_that_was_pushed_out_cannot_be_resumed() {
        let mut ring = ring_of(&[1, 2, 3, 4, 5]);
        assert_eq!(ring.resume(1), None);
        assert_eq!(ring.resume(99), None);
        assert_eq!(offsets(&ring), [3, 4, 5]);
        assert_eq!(
            ring.resume(2),
            Some(Resumed::default()),
            "whoever has the last one that went has missed nothing else"
        );
    }

    #[test]
    fn bytes_push_out_as_packets_do() {
        let mut ring = ring_of(&[1, 2]);
        push(&mut ring, 3, 95);
        assert_eq!((offsets(&ring), ring.bytes()), (vec![3], 95));
        push(&mut ring, 4, 101);
        assert_eq!((offsets(&ring), ring.bytes(), ring.passed()), (vec![], 0, Some(4)));
    }

    #[test]
    fn what_has_arrived_is_forgotten() {
        let mut ring = ring_of(&[1, 2, 3]);
        ring.prove(2);
        assert_eq!((offsets(&ring), ring.passed()), (vec![3], Some(2)));
        ring.prove(3);
        assert_eq!((ring.sent.capacity(), ring.bytes(), ring.packets), (0, 0, 0));
        assert_eq!(ring.resume(3), Some(Resumed::default()));
    }

    #[test]
    fn nothing_can_be_resumed_once_it_was_given_up() {
        let mut ring = ring_of(&[1, 2]);
        ring.give_up();
        push(&mut ring, 3, 10);
        assert!(ring.is_useless());
        assert_eq!(ring.resume(2), None);
    }
}
