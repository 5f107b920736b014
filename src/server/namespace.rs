//! One namespace: its sockets, its rooms, and how to address them.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{
    Broadcast, Middleware, Recovery, SavedSession, Socket, encode,
    parked::{Parked, ParkedSession, Parking},
    recovery::{Recoverable, Wanted},
    ring::{Numbered, Resumed, Subject, Tracked},
};
use crate::{
    clock::{self, Instant},
    cluster::{Adapter, Change, Group, LocalSockets},
    ids::SocketId,
};

/// The sockets and rooms of one namespace.
pub struct Namespace {
    name: Arc<str>,
    index: RwLock<Index>,
    adapter: Arc<dyn Adapter>,
    /// The last offset that was given to an event.
    offsets: AtomicU64,
    /// What serves it, once it is part of a server. That knows the namespace, in its turn.
    middleware: OnceLock<Weak<dyn Middleware>>,
}

/// Who gets a broadcast.
pub(super) enum Receiver<'a> {
    /// A socket.
    Live(&'a Arc<Socket>),
    /// A session whose client may come back.
    Parked(&'a ParkedSession),
}

#[derive(Default)]
struct Index {
    sockets: HashMap<SocketId, Arc<Socket>>,
    /// Members in the order of joining. A room without members does not exist.
    rooms: HashMap<Arc<str>, Vec<Arc<Socket>>>,
    parked: Parked,
}

impl Namespace {
    /// An empty namespace; `name` begins with a slash.
    #[must_use]
    pub fn new(name: &str, adapter: Arc<dyn Adapter>) -> Arc<Self> {
        let namespace = Arc::new(Self {
            name: name.into(),
            index: RwLock::default(),
            adapter,
            offsets: AtomicU64::new(0),
            middleware: OnceLock::new(),
        });
        let sockets: Weak<Self> = Arc::downgrade(&namespace);
        namespace.adapter.attach(&namespace.name, sockets as Weak<dyn LocalSockets>);
        namespace
    }

    /// The name, with its slash.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Starts a broadcast to the members of `room`.
    pub fn to<'a>(&'a self, room: &'a str) -> Broadcast<'a> {
        Broadcast::new(self).to(room)
    }

    /// Starts a broadcast to all sockets of the namespace.
    pub fn all(&self) -> Broadcast<'_> {
        Broadcast::new(self)
    }

    /// The socket with this id, if it is connected here.
    #[must_use]
    pub fn socket(&self, id: &SocketId) -> Option<Arc<Socket>> {
        self.read().sockets.get(id).cloned()
    }

    /// How many sockets are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().sockets.len()
    }

    /// True without any socket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All sockets, as of now.
    #[must_use]
    pub fn sockets(&self) -> Vec<Arc<Socket>> {
        self.read().sockets.values().cloned().collect()
    }

    /// True when `room` has a member here.
    #[must_use]
    pub fn has_room(&self, room: &str) -> bool {
        self.read().rooms.contains_key(room)
    }

    /// The members of `room`, as of now.
    #[must_use]
    pub fn members(&self, room: &str) -> Vec<Arc<Socket>> {
        self.read().rooms.get(room).cloned().unwrap_or_default()
    }

    /// Puts `socket` into `rooms`; those it is in already stay as they are.
    pub fn join(&self, socket: &Arc<Socket>, rooms: &[&str]) {
        let mut index = self.write();
        // A socket that has left the namespace must not come back as a ghost in a room.
        if !index.sockets.contains_key(socket.id()) {
            return;
        }
        index.join(socket, rooms);
    }

    /// Takes `socket` out of `rooms`.
    pub fn leave(&self, socket: &Arc<Socket>, rooms: &[&str]) {
        self.write().leave(socket, rooms);
    }

    /// Puts every member of `room` into `others`.
    pub fn join_all(&self, room: &str, others: &[&str]) {
        let mut index = self.write();
        for socket in index.rooms.get(room).cloned().unwrap_or_default() {
            index.join(&socket, others);
        }
        index.parked.join_all(room, others);
    }

    /// Takes every member of `room` out of `others`.
    pub fn leave_all(&self, room: &str, others: &[&str]) {
        let mut index = self.write();
        for socket in index.rooms.get(room).cloned().unwrap_or_default() {
            index.leave(&socket, others);
        }
        index.parked.leave_all(room, others);
    }

    /// Ends the sessions of a user whose connections were cut: their clients do not get them back.
    pub fn end_parked(&self, user: &str) {
        if !self.read().parked.is_empty() {
            self.write().parked.end_user(user);
        }
    }

    /// Ends the sessions whose clients have not come back in time.
    pub fn sweep_parked(&self) {
        if !self.read().parked.is_empty() {
            self.write().parked.sweep(clock::now());
        }
    }

    /// The sessions whose connections were cut, for the store.
    #[must_use]
    pub fn saved_sessions(&self) -> Vec<SavedSession> {
        self.read().parked.saved()
    }

    /// Brings sessions from the store back, so that what is sent from now on reaches them.
    pub fn restore_sessions(&self, sessions: Vec<SavedSession>, recovery: Recovery) {
        let mut index = self.write();
        for session in sessions {
            // An offset stands for one event within everything that a client can name.
            self.offsets.fetch_max(session.last_offset(), Ordering::Relaxed);
            index.parked.insert(session.into_parking(recovery)).bid_farewell(|| {});
        }
    }

    /// Adds a socket that has just connected.
    pub(super) fn insert(&self, socket: &Arc<Socket>) {
        self.write().sockets.insert(socket.id().clone(), Arc::clone(socket));
    }

    /// Removes a socket from the namespace and from all its rooms.
    pub(super) fn remove(&self, socket: &Arc<Socket>) {
        self.write().remove(socket);
    }

    /// Removes a socket and keeps its session until then. In one step: what is sent is sent to one of both. Whoever calls it
    /// [bids it farewell](ParkedSession::bid_farewell).
    pub(super) fn park(
        &self,
        socket: &Arc<Socket>,
        binding: Option<String>,
        until: Instant,
    ) -> Option<Arc<ParkedSession>> {
        let mut index = self.write();
        index.parked.sweep(clock::now());
        let rooms = index.remove(socket);
        let (secret, ring) = socket.take_ring()?;
        let user = socket.user().map(Arc::from);
        Some(index.parked.insert(Parking { id: socket.id().clone(), secret, user, binding, until, rooms, ring }))
    }

    /// The socket whose session a client wants although it is still connected.
    pub(super) fn find_live(&self, wanted: &Wanted) -> Option<Arc<Socket>> {
        self.read().sockets.get(&*wanted.socket_id).filter(|socket| socket.has_secret(&wanted.secret)).cloned()
    }

    /// Takes up the session that a client wants: the socket that `make` makes stands in the rooms in place of the session. In one step.
    /// Gives what of the tracked events has arrived and what was missed, too; the keys of the latter are held back.
    ///
    /// A session that `may` not be taken up stays where it is, for whom it belongs to; one that does not know the client's offset
    /// is of no more use to anybody.
    pub(super) fn take_up(
        &self,
        wanted: &Wanted,
        recovery: Recovery,
        may: impl FnOnce(&ParkedSession) -> bool,
        make: impl FnOnce(SocketId, Recoverable) -> Arc<Socket>,
    ) -> Option<(Arc<Socket>, Resumed)> {
        let mut index = self.write();
        let session = Arc::clone(index.parked.find(wanted)?);
        if !may(&session) {
            return None;
        }
        index.parked.remove(&session.id);
        let mut ring = session.take_ring(recovery);
        let resumed = ring.resume(wanted.offset)?;
        let recoverable = Recoverable::resumed(session.secret.clone(), ring, wanted.offset);
        let socket = make(session.id.clone(), recoverable);
        if !resumed.missed.is_empty() {
            socket.hold_all();
            socket.hold(resumed.missed.iter().map(|(key, _)| *key).collect());
        }
        index.sockets.insert(socket.id().clone(), Arc::clone(&socket));
        let rooms = std::mem::take(&mut *session.rooms());
        let rooms: Vec<&str> = rooms.iter().map(|room| &**room).collect();
        index.join(&socket, &rooms);
        drop(index);
        session.wait_for_farewell();
        Some((socket, resumed))
    }

    /// Encodes an event with the next offset.
    pub(super) fn number(
        &self,
        name: &str,
        args: &[&str],
        attachments: &[Bytes],
        (tracked, subject): (Option<Tracked>, Option<Subject>),
    ) -> Arc<Numbered> {
        let offset = self.offsets.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let packets = encode::numbered_event(&self.name, offset, name, args, attachments);
        Arc::new(Numbered { offset, packets, tracked, subject })
    }

    /// Keeps what was emitted [about](super::Broadcast::about) `subject` from those in `room` who were cut off and have not had it.
    pub fn withdraw(&self, room: &str, subject: [u8; 12]) {
        self.for_each(&[room], &[], |receiver| match receiver {
            Receiver::Live(socket) => socket.withdraw(subject),
            Receiver::Parked(session) => session.withdraw(subject),
        });
    }

    /// Calls `each` for every addressed socket once, and for every session that stands in for one.
    pub(super) fn for_each(&self, rooms: &[&str], except: &[&str], mut each: impl FnMut(Receiver<'_>)) {
        let index = self.read();
        index.for_each(rooms, except, |socket| each(Receiver::Live(socket)));
        if !index.parked.is_empty() {
            index.parked.for_each(rooms, except, |session| each(Receiver::Parked(session)));
        }
    }

    /// The sockets of a group, as of now.
    pub(super) fn group(&self, to: &Group<'_>) -> Vec<Arc<Socket>> {
        let mut sockets = Vec::new();
        self.read().for_each(to.rooms, to.except, |socket| sockets.push(Arc::clone(socket)));
        sockets
    }

    /// Whether anybody is in `room`, or is it: a socket's id is a room, too. Sessions that wait for their clients count.
    pub(super) fn is_inhabited_here(&self, room: &str) -> bool {
        let index = self.read();
        index.rooms.contains_key(room) || index.sockets.contains_key(room) || index.parked.is_inhabited(room)
    }

    /// All rooms, ids of sockets among them.
    pub(super) fn all_rooms(&self) -> Vec<String> {
        let index = self.read();
        let ids = index.sockets.keys().map(|id| id.as_str().to_owned());
        index.rooms.keys().map(ToString::to_string).chain(ids).collect()
    }

    /// Changes the sockets of a group on this node, and the sessions that stand in for some.
    pub(super) fn change(&self, to: &Group<'_>, change: Change<'_>) {
        let sockets = self.group(to);
        let mut index = self.write();
        match change {
            Change::Join(rooms) => {
                // One that has left meanwhile must not come back as a ghost.
                for socket in &sockets {
                    if index.sockets.contains_key(socket.id()) {
                        index.join(socket, rooms);
                    }
                }
                index.parked.join_group(to.rooms, to.except, rooms);
            }
            Change::Leave(rooms) => {
                for socket in &sockets {
                    index.leave(socket, rooms);
                }
                index.parked.leave_group(to.rooms, to.except, rooms);
            }
            Change::Disconnect { close } => {
                index.parked.end_group(to.rooms, to.except);
                drop(index);
                for socket in sockets {
                    if close { socket.close_session() } else { socket.disconnect() }
                }
            }
        }
    }

    pub(super) fn set_middleware(&self, middleware: &Arc<dyn Middleware>) {
        self.middleware.get_or_init(|| Arc::downgrade(middleware));
    }

    pub(super) fn middleware(&self) -> Option<Arc<dyn Middleware>> {
        self.middleware.get().and_then(Weak::upgrade)
    }

    pub(super) fn adapter(&self) -> &dyn Adapter {
        &*self.adapter
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Index {
    /// Calls `each` for every addressed socket once.
    fn for_each(&self, rooms: &[&str], except: &[&str], mut each: impl FnMut(&Arc<Socket>)) {
        let excepted = |socket: &Socket| {
            !except.is_empty() && except.iter().any(|room| socket.is_in(room) || socket.id().as_str() == *room)
        };
        match rooms {
            [] => self.sockets.values().filter(|socket| !excepted(socket)).for_each(each),
            [room] => self.members(room).iter().filter(|socket| !excepted(socket)).for_each(each),
            many => {
                let mut seen = HashSet::new();
                for socket in many.iter().flat_map(|room| self.members(room)) {
                    if seen.insert(socket.id()) && !excepted(socket) {
                        each(socket);
                    }
                }
            }
        }
    }

    /// The members of a room; a socket's id is one, too.
    fn members(&self, room: &str) -> &[Arc<Socket>] {
        let members = self.rooms.get(room).map(Vec::as_slice);
        members.or_else(|| self.sockets.get(room).map(std::slice::from_ref)).unwrap_or_default()
    }

    /// Removes a socket, and gives the rooms that it was in.
    fn remove(&mut self, socket: &Arc<Socket>) -> HashSet<Arc<str>> {
        self.sockets.remove(socket.id());
        let rooms = std::mem::take(&mut *socket.rooms());
        for room in &rooms {
            self.remove_member(room, socket);
        }
        rooms
    }

    fn join(&mut self, socket: &Arc<Socket>, rooms: &[&str]) {
        let mut joined = socket.rooms();
        for room in rooms {
            if joined.contains(*room) {
                continue;
            }
            let name = match self.rooms.get_key_value(*room) {
                Some((name, _)) => Arc::clone(name),
                None => Arc::from(*room),
            };
            self.rooms.entry(Arc::clone(&name)).or_default().push(Arc::clone(socket));
            joined.insert(name);
        }
    }

    fn leave(&mut self, socket: &Arc<Socket>, rooms: &[&str]) {
        for room in rooms {
            if socket.rooms().remove(*room) {
                self.remove_member(room, socket);
            }
        }
    }

    fn remove_member(&mut self, room: &str, socket: &Arc<Socket>) {
        let Some(members) = self.rooms.get_mut(room) else { return };
        if let Some(position) = members.iter().position(|member| Arc::ptr_eq(member, socket)) {
            members.swap_remove(position);
        }
        if members.is_empty() {
            self.rooms.remove(room);
        }
    }
}
