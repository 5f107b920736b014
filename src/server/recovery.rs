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
//! Tracked events are not kept, only that they were sent, since they tell of something that is in a log: what of it the client has
//! missed is told from there (`Middleware::missed`), as it is by then. So the text of a deleted message lies in no ring and reaches nobody
//! who has not had it, and however much was missed takes no memory.
//!
//! An offset is the number of a broadcast within its namespace, so that a broadcast is encoded once for all. Two broadcasts at the same
//! time may reach a socket in the other order, so offsets are looked up, never compared: the order of the ring is that of
//! the wire.
//!
//! Spec: Socket.IO, "Connection state recovery".

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::ring::{Numbered, Ring, Sent, Subject};
use crate::{
    ids::{Sid, SocketId},
    protocol::engineio::CloseReason,
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
    pub(super) packets: usize,
    pub(super) bytes: usize,
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
            ring.push(Sent::of(event, number));
        }
    }

    /// Everything up to this packet of the session has arrived.
    pub(super) fn prove(&self, number: u64) {
        if let Some(ring) = self.ring().as_mut() {
            ring.prove(number);
        }
    }

    /// Does not send again what tells of `subject`.
    pub(super) fn withdraw(&self, subject: Subject) {
        if let Some(ring) = self.ring().as_mut() {
            ring.withdraw(subject);
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
