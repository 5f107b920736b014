//! Sessions whose connection was cut: they stand in their rooms and keep what is addressed to them until their client comes back.
//!
//! At a stop in order they go into the store as [`SavedSession`]s, and the next process has them in their rooms before it lets anybody
//! in, so that for a client a restart is a cut like any other.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    recovery::{Recovery, Wanted},
    ring::{Kept, Numbered, Ring, Subject, Tracked},
};
use crate::{
    clock::{self, Instant, Timestamp},
    ids::{Sid, SocketId},
    transport::{Outgoing, TextWriter},
};

/// Most sessions of one namespace that wait for their clients; the oldest goes first.
const MAX_PARKED: usize = 10_000;
/// Most bytes that all of them keep together. A session that would need more is given up: its client begins anew.
const MAX_PARKED_BYTES: usize = 64 * 1024 * 1024;

/// A session that waits for its client.
#[derive(Debug)]
pub(super) struct ParkedSession {
    pub(super) id: SocketId,
    pub(super) secret: Sid,
    pub(super) user: Option<Arc<str>>,
    /// What the middleware wants to look at when the client comes back.
    pub(super) binding: Option<String>,
    pub(super) until: Instant,
    /// Done when the application has been told that the socket is gone.
    farewell: Once,
    rooms: Mutex<HashSet<Arc<str>>>,
    ring: Mutex<Ring>,
    /// Bytes of all parked sessions of the namespace.
    total: Arc<AtomicUsize>,
}

impl ParkedSession {
    /// Keeps an event for the client.
    pub(super) fn keep(&self, event: &Arc<Numbered>) {
        let mut ring = self.ring();
        let before = ring.bytes();
        ring.keep(event);
        self.account(&mut ring, before);
    }

    /// Notes something tracked that the client misses.
    pub(super) fn miss(&self, (key, seq): Tracked) {
        self.ring().miss(key, seq);
    }

    /// Does not send what tells of `subject`.
    pub(super) fn withdraw(&self, subject: Subject) {
        let mut ring = self.ring();
        let before = ring.bytes();
        ring.withdraw(subject);
        self.account(&mut ring, before);
    }

    /// Calls what tells the application that the socket is gone. To be called in any case, soon.
    pub(super) fn bid_farewell(&self, tell: impl FnOnce()) {
        self.farewell.call_once(tell);
    }

    /// Waits, for a moment, until the application has been told: only then may it hear of a socket with the same id.
    pub(super) fn wait_for_farewell(&self) {
        self.farewell.wait_force();
    }

    pub(super) fn is_in(&self, room: &str) -> bool {
        self.rooms().contains(room)
    }

    /// The rooms it is in. Changed under the namespace's lock only.
    pub(super) fn rooms(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the ring out, for the socket that goes on with it.
    pub(super) fn take_ring(&self, limits: Recovery) -> Ring {
        let ring = std::mem::replace(&mut *self.ring(), Ring::new(limits));
        self.total.fetch_sub(ring.bytes(), Ordering::Relaxed);
        ring
    }

    /// The ring held `before` bytes until now.
    fn account(&self, ring: &mut Ring, before: usize) {
        let now = ring.bytes();
        if now <= before {
            self.total.fetch_sub(before.saturating_sub(now), Ordering::Relaxed);
            return;
        }
        let more = now.saturating_sub(before);
        if self.total.fetch_add(more, Ordering::Relaxed).saturating_add(more) > MAX_PARKED_BYTES {
            ring.give_up();
            self.total.fetch_sub(now, Ordering::Relaxed);
        }
    }
}

impl Drop for ParkedSession {
    fn drop(&mut self) {
        let bytes = self.ring().bytes();
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The parked sessions of one namespace.
#[derive(Default)]
pub(super) struct Parked {
    sessions: HashMap<SocketId, Arc<ParkedSession>>,
    rooms: HashMap<Arc<str>, Vec<Arc<ParkedSession>>>,
    /// In the order in which they end. Those that are gone or were parked again meanwhile are passed over.
    ends: VecDeque<(Instant, SocketId)>,
    total: Arc<AtomicUsize>,
}

/// What is parked.
pub(super) struct Parking {
    pub(super) id: SocketId,
    pub(super) secret: Sid,
    pub(super) user: Option<Arc<str>>,
    pub(super) binding: Option<String>,
    pub(super) until: Instant,
    pub(super) rooms: HashSet<Arc<str>>,
    pub(super) ring: Ring,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub(super) fn insert(&mut self, parking: Parking) -> Arc<ParkedSession> {
        let Parking { id, secret, user, binding, until, rooms, ring } = parking;
        let session = Arc::new(ParkedSession {
            id: id.clone(),
            secret,
            user,
            binding,
            until,
            farewell: Once::new(),
            rooms: Mutex::default(),
            ring: Mutex::new(ring),
            total: Arc::clone(&self.total),
        });
        session.account(&mut session.ring(), 0);
        let rooms: Vec<&str> = rooms.iter().map(|room| &**room).collect();
        self.join(&session, &rooms);
        self.sessions.insert(id.clone(), Arc::clone(&session));
        self.ends.push_back((until, id));
        while self.sessions.len() > MAX_PARKED {
            self.end_first();
        }
        if self.ends.len() > MAX_PARKED.saturating_mul(2) {
            // Clients that are cut off and come back all the time.
            let sessions = &self.sessions;
            self.ends.retain(|(until, id)| sessions.get(id).is_some_and(|session| session.until == *until));
        }
        session
    }

    /// Ends those that have waited for too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(until, _)| *until <= now) {
            self.end_first();
        }
    }

    fn end_first(&mut self) {
        let Some((until, id)) = self.ends.pop_front() else { return };
        if self.sessions.get(&id).is_some_and(|session| session.until == until) {
            self.remove(&id);
        }
    }

    /// The session that a client wants, if the secret is right and it is still time.
    pub(super) fn find(&self, wanted: &Wanted) -> Option<&Arc<ParkedSession>> {
        let session = self.sessions.get(&*wanted.socket_id)?;
        (session.secret.as_str() == wanted.secret && session.until > clock::now()).then_some(session)
    }

    /// Takes a session out of everything.
    pub(super) fn remove(&mut self, id: &SocketId) -> Option<Arc<ParkedSession>> {
        let session = self.sessions.remove(id)?;
        for room in &*session.rooms() {
            self.remove_member(room, &session);
        }
        Some(session)
    }

    /// Ends all sessions of a user.
    pub(super) fn end_user(&mut self, user: &str) {
        let of_user = self.sessions.values().filter(|session| session.user.as_deref() == Some(user));
        let of_user: Vec<SocketId> = of_user.map(|session| session.id.clone()).collect();
        for id in of_user {
            self.remove(&id);
        }
    }

    /// Puts every member of `room` into `others`.
    pub(super) fn join_all(&mut self, room: &str, others: &[&str]) {
        for session in self.rooms.get(room).cloned().unwrap_or_default() {
            self.join(&session, others);
        }
    }

    /// Takes every member of `room` out of `others`.
    pub(super) fn leave_all(&mut self, room: &str, others: &[&str]) {
        for session in self.rooms.get(room).cloned().unwrap_or_default() {
            self.leave(&session, others);
        }
    }

    /// Calls `each` for every addressed session once.
    pub(super) fn for_each(&self, rooms: &[&str], except: &[&str], mut each: impl FnMut(&ParkedSession)) {
        let excepted =
            |session: &ParkedSession| except.iter().any(|room| session.is_in(room) || session.id.as_str() == *room);
        match rooms {
            [] => self.sessions.values().filter(|session| !excepted(session)).for_each(|session| each(session)),
            rooms => {
                let mut seen = HashSet::new();
                for session in rooms.iter().flat_map(|room| self.members(room)) {
                    if seen.insert(&session.id) && !excepted(session) {
                        each(session);
                    }
                }
            }
        }
    }

    /// Whether any of them is in `room`, or is it.
    pub(super) fn is_inhabited(&self, room: &str) -> bool {
        self.rooms.contains_key(room) || self.sessions.contains_key(room)
    }

    /// Puts a group into `others`.
    pub(super) fn join_group(&mut self, rooms: &[&str], except: &[&str], others: &[&str]) {
        for session in self.group(rooms, except) {
            self.join(&session, others);
        }
    }

    /// Takes a group out of `others`.
    pub(super) fn leave_group(&mut self, rooms: &[&str], except: &[&str], others: &[&str]) {
        for session in self.group(rooms, except) {
            self.leave(&session, others);
        }
    }

    /// Ends the sessions of a group.
    pub(super) fn end_group(&mut self, rooms: &[&str], except: &[&str]) {
        for session in self.group(rooms, except) {
            self.remove(&session.id);
        }
    }

    fn group(&self, rooms: &[&str], except: &[&str]) -> Vec<Arc<ParkedSession>> {
        let mut ids = Vec::new();
        if !self.is_empty() {
            self.for_each(rooms, except, |session| ids.push(session.id.clone()));
        }
        ids.iter().filter_map(|id| self.sessions.get(id).cloned()).collect()
    }

    fn members(&self, room: &str) -> &[Arc<ParkedSession>] {
        let members = self.rooms.get(room).map(Vec::as_slice);
        members.or_else(|| self.sessions.get(room).map(std::slice::from_ref)).unwrap_or_default()
    }

    fn leave(&mut self, session: &Arc<ParkedSession>, others: &[&str]) {
        for other in others {
            if session.rooms().remove(*other) {
                self.remove_member(other, session);
            }
        }
    }

    /// All of them, for the store; those that are of no use are left out.
    pub(super) fn saved(&self) -> Vec<SavedSession> {
        let now = clock::now();
        let useful = self.sessions.values().filter(|session| session.until > now && !session.ring().is_useless());
        useful.map(|session| SavedSession::of(session, now)).collect()
    }

    fn join(&mut self, session: &Arc<ParkedSession>, rooms: &[&str]) {
        let mut joined = session.rooms();
        for room in rooms {
            if joined.contains(*room) {
                continue;
            }
            let name: Arc<str> = match self.rooms.get_key_value(*room) {
                Some((name, _)) => Arc::clone(name),
                None => Arc::from(*room),
            };
            self.rooms.entry(Arc::clone(&name)).or_default().push(Arc::clone(session));
            joined.insert(name);
        }
    }

    fn remove_member(&mut self, room: &str, session: &Arc<ParkedSession>) {
        let Some(members) = self.rooms.get_mut(room) else { return };
        members.retain(|member| !Arc::ptr_eq(member, session));
        if members.is_empty() {
            self.rooms.remove(room);
        }
    }
}

/// A session that waits for its client while the server is not running. It is stored as it is: a change needs a new version of the
/// record that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSession {
    socket_id: String,
    secret: String,
    user: Option<String>,
    binding: Option<String>,
    until: Timestamp,
    rooms: Vec<String>,
    passed: Option<u64>,
    sent: Vec<SavedEvent>,
    missed: Vec<Tracked>,
}

/// An event that waits for its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedEvent {
    offset: u64,
    tracked: Option<Tracked>,
    subject: Option<Subject>,
    /// The packet with its type digit; empty when it is not sent again.
    text: String,
    attachments: Vec<Vec<u8>>,
}

impl SavedSession {
    /// When it is too late.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// About how large its record is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rooms = self.rooms.iter().map(|room| room.len().saturating_add(9));
        let sent = self.sent.iter().map(|sent| {
            let attachments = sent.attachments.iter().map(|data| data.len().saturating_add(9));
            attachments.fold(sent.text.len().saturating_add(64), usize::saturating_add)
        });
        rooms.chain(sent).fold(512, usize::saturating_add).saturating_add(self.missed.len().saturating_mul(21))
    }

    fn of(session: &ParkedSession, now: Instant) -> Self {
        let ring = session.ring();
        let mut rooms: Vec<String> = session.rooms().iter().map(ToString::to_string).collect();
        rooms.sort_unstable();
        Self {
            socket_id: session.id.as_str().to_owned(),
            secret: session.secret.as_str().to_owned(),
            user: session.user.as_deref().map(str::to_owned),
            binding: session.binding.clone(),
            until: Timestamp::now().after(session.until.saturating_duration_since(now)),
            rooms,
            passed: ring.passed(),
            sent: ring.kept().map(|kept| SavedEvent::of(&kept)).collect(),
            missed: ring.missed().collect(),
        }
    }

    /// The highest offset in it.
    pub(super) fn last_offset(&self) -> u64 {
        self.sent.iter().map(|sent| sent.offset).chain(self.passed).max().unwrap_or_default()
    }

    pub(super) fn into_parking(self, limits: Recovery) -> Parking {
        let left = self.until.as_millis().saturating_sub(Timestamp::now().as_millis());
        let left = std::time::Duration::from_millis(u64::try_from(left).unwrap_or_default());
        Parking {
            id: SocketId::from_text(&self.socket_id),
            secret: Sid::from_text(&self.secret),
            user: self.user.map(Arc::from),
            binding: self.binding,
            // A clock that was set must not make it wait for longer than any.
            until: clock::now() + left.min(limits.window),
            rooms: self.rooms.into_iter().map(Arc::from).collect(),
            ring: Ring::restored(limits, self.passed, self.sent.into_iter().map(SavedEvent::into_kept), self.missed),
        }
    }
}

impl SavedEvent {
    fn of(kept: &Kept) -> Self {
        let (mut text, mut attachments) = (String::new(), Vec::new());
        for packet in kept.event.iter().flat_map(|event| &event.packets) {
            match packet {
                Outgoing::Text(header) => header.packet().clone_into(&mut text),
                Outgoing::Binary(binary) => attachments.push(binary.data().to_vec()),
            }
        }
        let subject = kept.event.as_ref().and_then(|event| event.subject);
        Self { offset: kept.offset, tracked: kept.tracked, subject, text, attachments }
    }

    fn into_kept(self) -> Kept {
        let Self { offset, tracked, subject, text, attachments } = self;
        let event = (!text.is_empty()).then(|| {
            let mut writer = TextWriter::with_capacity(text.len());
            writer.buffer().extend_from_slice(text.as_bytes());
            let attachments = attachments.into_iter().map(|data| Outgoing::binary(Bytes::from(data)));
            let packets = std::iter::once(Outgoing::Text(writer.finish())).chain(attachments).collect();
            Arc::new(Numbered { offset, packets, tracked, subject })
        });
        Kept { offset, tracked, event }
    }
}
