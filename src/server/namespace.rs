//! One namespace: its sockets, its rooms, and how to address them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{Broadcast, Socket};
use crate::{cluster::Adapter, ids::SocketId};

/// The sockets and rooms of one namespace.
pub struct Namespace {
    name: Arc<str>,
    index: RwLock<Index>,
    adapter: Arc<dyn Adapter>,
}

#[derive(Default)]
struct Index {
    sockets: HashMap<SocketId, Arc<Socket>>,
    /// Members in the order of joining. A room without members does not exist.
    rooms: HashMap<Arc<str>, Vec<Arc<Socket>>>,
}

impl Namespace {
    /// An empty namespace; `name` begins with a slash.
    #[must_use]
    pub fn new(name: &str, adapter: Arc<dyn Adapter>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), index: RwLock::default(), adapter })
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
    }

    /// Takes every member of `room` out of `others`.
    pub fn leave_all(&self, room: &str, others: &[&str]) {
        let mut index = self.write();
        for socket in index.rooms.get(room).cloned().unwrap_or_default() {
            index.leave(&socket, others);
        }
    }

    /// Adds a socket that has just connected.
    pub(super) fn insert(&self, socket: &Arc<Socket>) {
        self.write().sockets.insert(socket.id().clone(), Arc::clone(socket));
    }

    /// Removes a socket from the namespace and from all its rooms.
    pub(super) fn remove(&self, socket: &Arc<Socket>) {
        let mut index = self.write();
        index.sockets.remove(socket.id());
        let rooms = std::mem::take(&mut *socket.rooms());
        for room in &rooms {
            index.remove_member(room, socket);
        }
    }

    /// Calls `each` for every addressed socket once.
    pub(super) fn for_each(&self, rooms: &[&str], except: &[&str], mut each: impl FnMut(&Socket)) {
        let index = self.read();
        let excepted = |socket: &Socket| !except.is_empty() && except.iter().any(|room| socket.is_in(room));
        match rooms {
            [] => index.sockets.values().filter(|socket| !excepted(socket)).for_each(|socket| each(socket)),
            [room] => {
                let members = index.rooms.get(*room).map(Vec::as_slice).unwrap_or_default();
                members.iter().filter(|socket| !excepted(socket)).for_each(|socket| each(socket));
            }
            many => {
                let mut seen = HashSet::new();
                let members = many.iter().filter_map(|room| index.rooms.get(*room)).flatten();
                for socket in members {
                    if seen.insert(socket.id()) && !excepted(socket) {
                        each(socket);
                    }
                }
            }
        }
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
