//! Broadcasts: addressed step by step, encoded once, queued by reference to each receiver.

use bytes::Bytes;

use super::{Namespace, ServerEvent, encode, namespace::Receiver, socket::Delivery};
use crate::{
    cluster::{Change, Group, Published},
    ids::SocketId,
    telemetry::SOCKET_EVENTS,
};

/// An event on its way to many sockets of one namespace.
#[derive(Clone, Debug)]
#[must_use = "a broadcast does nothing until something is emitted"]
pub struct Broadcast<'a> {
    namespace: &'a Namespace,
    rooms: Vec<&'a str>,
    except: Vec<&'a str>,
    except_socket: Option<&'a SocketId>,
    volatile: bool,
    local: bool,
    from_log: bool,
    tracked: Option<([u8; 12], u64)>,
    subject: Option<[u8; 12]>,
}

impl<'a> Broadcast<'a> {
    pub(super) fn new(namespace: &'a Namespace) -> Self {
        Self {
            namespace,
            rooms: Vec::new(),
            except: Vec::new(),
            except_socket: None,
            volatile: false,
            local: false,
            from_log: false,
            tracked: None,
            subject: None,
        }
    }

    /// Adds the members of `room`; a socket in several addressed rooms gets the event once.
    pub fn to(mut self, room: &'a str) -> Self {
        self.rooms.push(room);
        self
    }

    /// Leaves out the members of `room`.
    pub fn except(mut self, room: &'a str) -> Self {
        self.except.push(room);
        self
    }

    /// Leaves out one socket.
    pub fn except_socket(mut self, id: &'a SocketId) -> Self {
        self.except_socket = Some(id);
        self
    }

    /// Lets the event be dropped for receivers that read too slowly.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// [`Middleware::confirmed`](super::Middleware::confirmed) hears, for each receiver, of `key` and `seq` once it has the event. What is
    /// tracked comes from the log.
    pub fn tracked(mut self, key: [u8; 12], seq: u64) -> Self {
        self.tracked = Some((key, seq));
        self.from_log()
    }

    /// The nodes of the cluster tell this event themselves, from the log that they share: for others alone it goes out.
    pub fn from_log(mut self) -> Self {
        self.from_log = true;
        self
    }

    /// It tells of `subject`: once that is [withdrawn](Namespace::withdraw), a client that was cut off and has not had the event does not get
    /// it any more.
    pub fn about(mut self, subject: [u8; 12]) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Stays on this node.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Sends a typed event.
    pub fn emit<E: ServerEvent>(&self, event: &E) {
        match serde_json::to_string(event) {
            Ok(json) => {
                self.emit_raw(E::NAME, &[&json], &[]);
            }
            Err(error) => tracing::error!(%error, event = E::NAME, "an event could not be written as JSON"),
        }
    }

    /// Sends an event whose arguments are JSON texts, with the attachments of their placeholders.
    ///
    /// Returns after queueing how many sockets of this node it was queued for; nothing waits for receivers. Sessions whose connection was
    /// cut are not counted: they get it if they come back.
    pub fn emit_raw(&self, name: &str, args: &[&str], attachments: &[Bytes]) -> usize {
        tracing::info!(
            target: SOCKET_EVENTS, eventName = name, namespace = &**self.namespace.name(), rooms = ?self.rooms,
            "Socket event emitted"
        );
        let (volatile, tracked) = (self.volatile, self.tracked);
        // Encoded for the first receiver of each kind; without one there is nothing to encode.
        let (mut plain, mut numbered) = (None, None);
        let plainly = || encode::event(self.namespace.name(), None, name, args, attachments);
        let with_offset = || self.namespace.number(name, args, attachments, (tracked, self.subject));
        let mut receivers = 0;
        self.namespace.for_each(&self.rooms, &self.except, |receiver| match receiver {
            Receiver::Live(socket) => {
                if self.except_socket == Some(socket.id()) || tracked.is_some_and(|(key, _)| socket.holds(key)) {
                    return;
                }
                receivers += 1;
                if socket.is_recoverable() && !volatile {
                    socket.deliver_numbered(numbered.get_or_insert_with(with_offset));
                } else {
                    let packets = plain.get_or_insert_with(plainly);
                    socket.deliver(packets, Delivery { volatile, tracked });
                }
            }
            Receiver::Parked(session) => {
                if volatile || self.except_socket == Some(&session.id) {
                    return;
                }
                match tracked {
                    Some(tracked) => session.miss(tracked),
                    None => session.keep(numbered.get_or_insert_with(with_offset)),
                }
            }
        });
        if !self.local {
            self.namespace.adapter().publish(&Published {
                namespace: self.namespace.name(),
                to: self.group(),
                event: name,
                args,
                attachments,
                volatile: self.volatile,
                from_log: self.from_log,
            });
        }
        receivers
    }

    /// Puts all that are addressed into `rooms`, on all nodes.
    pub fn join(&self, rooms: &[&str]) {
        self.change(Change::Join(rooms));
    }

    /// Takes all that are addressed out of `rooms`, on all nodes.
    pub fn leave(&self, rooms: &[&str]) {
        self.change(Change::Leave(rooms));
    }

    /// Disconnects all that are addressed from the namespace, on all nodes; with `close` their whole sessions end.
    pub fn disconnect(&self, close: bool) {
        self.change(Change::Disconnect { close });
    }

    fn change(&self, change: Change<'_>) {
        let group = self.group();
        self.namespace.change(&group, change);
        if !self.local {
            self.namespace.adapter().change(self.namespace.name(), &group, change);
        }
    }

    fn group(&self) -> Group<'_> {
        Group { rooms: &self.rooms, except: &self.except }
    }
}
