//! Connection state recovery (Socket.IO 4.6): what is kept of a socket so that its client can go on where it was cut off.
//!
//! The CONNECT answer tells the client a secret, `pid`, and every event that is neither volatile nor wants an ack carries a number
//! as its last argument, the offset. A client that comes back names both. Whether the same session goes on is decided after its
//! token was looked at, and only for the user it belongs to (the official server does neither).
//!
//! While a socket is connected it keeps what it was sent and is not proved to have arrived ([`Ring`]). When its session ends in a way
//! that the client may not have wanted, the ring moves to a parked session (`parked.rs`), which stands in its rooms and
//! takes what is addressed to them, and comes back with the client. The application knows nothing of parked sessions: it was told
//! that the socket is gone, and is told of a new one under the old id.
//!
//! An offset is the number of a broadcast within its namespace, so that a broadcast is encoded once for all. Two broadcasts at the same
//! time may reach a socket in the other order, so offsets are looked up, never compared: the order of the ring is that of
//! the wire.
//!
//! Spec: Socket.IO, "Connection state recovery".

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    ids::{Sid, SocketId},
    protocol::engineio::CloseReason,
    transport::Outgoing,
};

/// Packets, attachments included, that are kept for one socket. What was pushed out is gone: a client that had not got that far
/// begins anew.
const MAX_PACKETS: usize = 256;
/// The same in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// For how long a session can be taken up again, and how much is kept for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How long after its end. Zero: never, and nothing is kept.
    pub window: Duration,
    packets: usize,
    bytes: usize,
}

impl Recovery {
    /// Recovery within `window`, for sessions of which so much may wait to be sent: what is kept goes into half of that, since it is
    /// sent again in one go.
    #[must_use]
    pub fn new(window: Duration, outbox_packets: usize, outbox_bytes: usize) -> Self {
        Self { window, packets: MAX_PACKETS.min(outbox_packets / 2), bytes: MAX_BYTES.min(outbox_bytes / 2) }
    }

    /// Whether sessions can be taken up again at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.window.is_zero()
    }
}

/// Whether a session that ended so may be taken up again: not what somebody has decided, the client's DISCONNECT included.
pub(super) fn is_recoverable(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ClientClose | CloseReason::TransportError | CloseReason::PingTimeout | CloseReason::Shutdown => {
            true
        }
        // A slow consumer would get in one go what it has not taken piece by piece.
        CloseReason::SlowConsumer
        | CloseReason::ParseError
        | CloseReason::Overlap
        | CloseReason::TooLarge
        | CloseReason::ConnectTimeout
        | CloseReason::Flood
        | CloseReason::ServerClose => false,
    }
}

/// A session that a client wants back.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) socket_id: String,
    pub(super) secret: String,
    pub(super) offset: u64,
}

impl Wanted {
    /// Reads it from the auth object of a CONNECT packet. Fields of the same names that mean something else to the app are
    /// no mistake.
    pub(super) fn from_auth(auth: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Auth {
            #[serde(default)]
            pid: Value,
            #[serde(default)]
            offset: Value,
        }
        let auth: Auth = serde_json::from_str(auth).ok()?;
        let (socket_id, secret) = auth.pid.as_str()?.split_once('.')?;
        let offset = auth.offset.as_str()?.parse().ok()?;
        Some(Self { socket_id: socket_id.to_owned(), secret: secret.to_owned(), offset })
    }
}

/// The name under which a client may have its session back.
pub(super) fn pid(socket_id: &SocketId, secret: &Sid) -> String {
    format!("{}.{}", socket_id.as_str(), secret.as_str())
}

/// The key and the number of what is tracked.
pub(super) type Tracked = ([u8; 12], u64);

/// An event with its offset, encoded once for all that get it.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) offset: u64,
    /// Header and attachments.
    pub(super) packets: Vec<Outgoing>,
    pub(super) tracked: Option<Tracked>,
}

impl Numbered {
    fn bytes(&self) -> usize {
        self.packets.iter().fold(0, |sum, packet| packet.len().saturating_add(sum))
    }
}

/// An event that was sent to one socket.
#[derive(Debug)]
struct Sent {
    event: Arc<Numbered>,
    /// Its last packet's number in the session; [`NOT_SENT`] when it is in none.
    number: u64,
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
    /// The offset before the first one here: whoever is that far has missed what is here and nothing else.
    passed: Option<u64>,
    /// Something is missing for good.
    broken: bool,
}

impl Ring {
    pub(super) fn new(limits: Recovery) -> Self {
        Self { limits, sent: VecDeque::new(), packets: 0, bytes: 0, passed: None, broken: false }
    }

    /// A ring as it was put into the store.
    pub(super) fn restored(limits: Recovery, passed: Option<u64>, events: impl IntoIterator<Item = Numbered>) -> Self {
        let mut ring = Self { passed, ..Self::new(limits) };
        events.into_iter().for_each(|event| ring.keep(Arc::new(event)));
        ring
    }

    /// Keeps an event that no session carries.
    pub(super) fn keep(&mut self, event: Arc<Numbered>) {
        self.push(event, NOT_SENT);
    }

    /// Keeps an event whose last packet has this number. The oldest ones make room.
    fn push(&mut self, event: Arc<Numbered>, number: u64) {
        if self.broken {
            return;
        }
        self.packets = self.packets.saturating_add(event.packets.len());
        self.bytes = self.bytes.saturating_add(event.bytes());
        self.sent.push_back(Sent { event, number });
        while self.packets > self.limits.packets || self.bytes > self.limits.bytes {
            if self.pop().is_none() {
                return;
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

    /// Forgets everything up to `offset`, which the client has, and gives what of it was tracked. `None`, and nothing is changed, when
    /// there is no such offset.
    pub(super) fn resume(&mut self, offset: u64) -> Option<Vec<Tracked>> {
        let count = match self.sent.iter().position(|sent| sent.event.offset == offset) {
            Some(position) => position.saturating_add(1),
            None if self.passed == Some(offset) => 0,
            None => return None,
        };
        Some((0..count).filter_map(|_| self.pop()?.tracked).collect())
    }

    /// Takes everything out, to be sent again.
    fn take_all(&mut self) -> Vec<Arc<Numbered>> {
        (self.packets, self.bytes) = (0, 0);
        std::mem::take(&mut self.sent).into_iter().map(|sent| sent.event).collect()
    }

    /// Forgets everything: nobody can go on from here.
    pub(super) fn give_up(&mut self) {
        self.take_all();
        self.passed = None;
        self.broken = true;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn passed(&self) -> Option<u64> {
        self.passed
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Numbered> {
        self.sent.iter().map(|sent| &*sent.event)
    }

    /// True when nobody can go on from here: there is no offset that a client could name.
    pub(super) fn is_useless(&self) -> bool {
        self.passed.is_none() && self.sent.is_empty()
    }

    fn pop(&mut self) -> Option<Arc<Numbered>> {
        let event = self.sent.pop_front()?.event;
        self.packets = self.packets.saturating_sub(event.packets.len());
        self.bytes = self.bytes.saturating_sub(event.bytes());
        self.passed = Some(event.offset);
        Some(event)
    }
}

/// What makes a socket recoverable.
#[derive(Debug)]
pub(super) struct Recoverable {
    pub(super) secret: Sid,
    /// The offset that the client came back with.
    pub(super) resumed_at: Option<u64>,
    /// `None` once it has moved to a parked session.
    ring: Mutex<Option<Ring>>,
}

impl Recoverable {
    /// For a new session.
    pub(super) fn fresh(limits: Recovery) -> Self {
        Self { secret: Sid::fresh(), resumed_at: None, ring: Mutex::new(Some(Ring::new(limits))) }
    }

    /// For one that is taken up again from `offset` on.
    pub(super) fn resumed(secret: Sid, ring: Ring, offset: u64) -> Self {
        Self { secret, resumed_at: Some(offset), ring: Mutex::new(Some(ring)) }
    }

    /// Sends an event and keeps it. In one step, so that the ring has the order of the wire. `send` gives the number of the last packet.
    pub(super) fn push(&self, event: &Arc<Numbered>, send: impl FnOnce() -> u64) {
        let mut ring = self.ring();
        let number = send();
        if let Some(ring) = ring.as_mut() {
            ring.push(Arc::clone(event), number);
        }
    }

    /// Everything up to this packet of the session has arrived.
    pub(super) fn prove(&self, number: u64) {
        if let Some(ring) = self.ring().as_mut() {
            ring.prove(number);
        }
    }

    /// Takes out what is to be sent again, at the beginning of a resumed session.
    pub(super) fn missed(&self) -> Vec<Arc<Numbered>> {
        self.ring().as_mut().map(Ring::take_all).unwrap_or_default()
    }

    /// Takes the ring out. Nothing is kept any more.
    pub(super) fn take_ring(&self) -> Option<Ring> {
        self.ring().take()
    }

    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Recovery = Recovery { window: Duration::from_secs(1), packets: 3, bytes: 100 };

    /// Keeps an event of so many bytes, which the session carries under the number of its offset.
    fn push(ring: &mut Ring, offset: u64, bytes: usize) {
        let packets = vec![Outgoing::binary(vec![0; bytes].into())];
        ring.push(Arc::new(Numbered { offset, packets, tracked: Some(([7; 12], offset * 10)) }), offset);
    }

    fn ring_of(offsets: &[u64]) -> Ring {
        let mut ring = Ring::new(LIMITS);
        for offset in offsets {
            push(&mut ring, *offset, 10);
        }
        ring
    }

    fn offsets(ring: &Ring) -> Vec<u64> {
        ring.events().map(|event| event.offset).collect()
    }

    #[test]
    fn resuming_confirms_what_came_up_to_the_offset_and_keeps_the_rest_in_the_order_of_the_wire() {
        let mut ring = ring_of(&[2, 1, 3]);
        assert_eq!(ring.resume(1), Some(vec![([7; 12], 20), ([7; 12], 10)]));
        assert_eq!(offsets(&ring), [3]);
        assert_eq!(ring.resume(1), Some(vec![]), "cut again before anything came");
    }

    #[test]
    fn an_offset_that_was_pushed_out_cannot_be_resumed() {
        let mut ring = ring_of(&[1, 2, 3, 4, 5]);
        assert_eq!(ring.resume(1), None);
        assert_eq!(ring.resume(99), None);
        assert_eq!(offsets(&ring), [3, 4, 5]);
        assert_eq!(ring.resume(2), Some(vec![]), "whoever has the last one that went has missed nothing else");
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
        assert_eq!(ring.resume(3), Some(vec![]));
    }

    #[test]
    fn nothing_can_be_resumed_once_it_was_given_up() {
        let mut ring = ring_of(&[1, 2]);
        ring.give_up();
        push(&mut ring, 3, 10);
        assert!(ring.is_useless());
        assert_eq!(ring.resume(2), None);
    }

    #[test]
    fn a_wish_is_read_from_the_auth_object_and_nothing_else_is_taken_for_one() {
        let wanted = Wanted::from_auth(r#"{"pid":"s.p","offset":"12","token":"t"}"#).expect("a wish");
        assert_eq!((&*wanted.socket_id, &*wanted.secret, wanted.offset), ("s", "p", 12));
        for auth in [
            "{}",
            r#"{"pid":"s.p"}"#,
            r#"{"offset":"12"}"#,
            r#"{"pid":"s.p","offset":12}"#,
            r#"{"pid":["s.p"],"offset":"12"}"#,
            r#"{"pid":"sp","offset":"12"}"#,
            r#"{"pid":"s.p","offset":"x"}"#,
            r#"{"pid":"s.p","offset":"99999999999999999999999"}"#,
        ] {
            assert!(Wanted::from_auth(auth).is_none(), "{auth}");
        }
    }
}
