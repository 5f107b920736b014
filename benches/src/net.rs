//! Sockets: non-blocking TCP connections on one epoll, written once per turn.
//!
//! Owns the bytes in and out and when they move; knows nothing of what they mean. A [`Handler`] parses what
//! arrives and puts what it wants to send into the [`Outbox`], on any connection.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use mio::{Events, Interest, Poll, Token, event::Event, net::TcpStream};

/// What one read takes at most. Larger than any burst of one connection, so that a turn reads it once.
const READ_BYTES: usize = 256 * 1024;

/// No step of a benchmark takes a server longer than this unless something was lost.
const PATIENCE: Duration = Duration::from_secs(30);
const TURN: Duration = Duration::from_millis(100);

/// Reads the bytes of the connections and decides what to answer.
pub(crate) trait Handler {
    /// The connection is being opened: what is put into the outbox now goes first.
    fn on_connect(&mut self, id: usize, out: &mut Outbox);

    /// Takes whole units off the front of `data` and says how many bytes they were; the rest comes again,
    /// with more behind it.
    fn on_data(&mut self, id: usize, data: &[u8], out: &mut Outbox) -> Result<usize>;

    /// The server has closed the connection.
    fn on_closed(&mut self, id: usize, out: &mut Outbox) -> Result<()>;
}

/// Connections that a load works on.
pub(crate) trait Rig<L> {
    /// Where what is to be sent goes.
    fn outbox(&mut self) -> &mut Outbox;

    /// Sends what waits, sleeps until something arrives or `timeout`, and hands it to the load.
    fn turn(&mut self, load: &mut L, timeout: Duration) -> Result<()>;

    /// Lets the load work until `deadline`.
    fn run(&mut self, load: &mut L, deadline: Instant) -> Result<()> {
        drive(self, load, deadline, |_| false).map(drop)
    }

    /// Lets the load work until it is `done`; an error that names the `step` if it takes too long.
    fn complete(&mut self, load: &mut L, step: &str, done: impl Fn(&L) -> bool) -> Result<()> {
        let finished = drive(self, load, Instant::now() + PATIENCE, done).with_context(|| step.to_owned())?;
        ensure!(finished, "{step}: not done after {} s: something was lost", PATIENCE.as_secs());
        Ok(())
    }
}

/// Whether the load was `done` before the deadline.
fn drive<L, R: Rig<L> + ?Sized>(
    rig: &mut R,
    load: &mut L,
    deadline: Instant,
    done: impl Fn(&L) -> bool,
) -> Result<bool> {
    while !done(load) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        rig.turn(load, left.min(TURN))?;
    }
    Ok(true)
}

impl<H: Handler> Rig<H> for Net {
    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn turn(&mut self, load: &mut H, timeout: Duration) -> Result<()> {
        Self::turn(self, timeout, load)
    }
}

/// What waits to be written, by connection, and which connections are to be opened.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pending: Vec<Vec<u8>>,
    dirty: Vec<usize>,
    connect: Vec<usize>,
}

impl Outbox {
    /// The bytes to be sent on `id` at the end of the turn, for appending.
    #[inline]
    pub(crate) fn of(&mut self, id: usize) -> &mut Vec<u8> {
        if self.pending[id].is_empty() {
            self.dirty.push(id);
        }
        &mut self.pending[id]
    }

    /// Opens connection `id`, anew if it is open, at the end of the turn.
    pub(crate) fn connect(&mut self, id: usize) {
        self.connect.push(id);
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// What the handler did not take yet: part of a unit.
    partial: Vec<u8>,
}

/// The connections to one server.
#[derive(Debug)]
pub(crate) struct Net {
    server: SocketAddr,
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    outbox: Outbox,
    buffer: Vec<u8>,
}

impl Net {
    /// Room for `count` connections to `server`, none of them open.
    pub(crate) fn new(server: SocketAddr, count: usize) -> Result<Self> {
        Ok(Self {
            server,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: (0..count).map(|_| None).collect(),
            outbox: Outbox { pending: vec![Vec::new(); count], ..Outbox::default() },
            buffer: vec![0; READ_BYTES],
        })
    }

    /// The outbox, for what is not an answer.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Sends what waits, sleeps until something arrives or `timeout`, and hands it to `handler`.
    pub(crate) fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> Result<()> {
        self.send(handler)?;
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let Token(id) = event.token();
            if event.is_writable() && !self.outbox.pending[id].is_empty() {
                self.outbox.dirty.push(id);
            }
            if event.is_readable() || event.is_error() {
                let slot = &mut self.connections[id];
                receive(id, slot, event, &mut self.buffer, handler, &mut self.outbox)
                    .with_context(|| format!("connection {id}"))?;
            }
        }
        self.send(handler)
    }

    fn send(&mut self, handler: &mut impl Handler) -> Result<()> {
        while let Some(id) = self.outbox.connect.pop() {
            let mut stream = TcpStream::connect(self.server)?;
            stream.set_nodelay(true)?;
            self.poll.registry().register(&mut stream, Token(id), Interest::READABLE | Interest::WRITABLE)?;
            self.connections[id] = Some(Connection { stream, partial: Vec::new() });
            self.outbox.pending[id].clear();
            handler.on_connect(id, &mut self.outbox);
        }
        while let Some(id) = self.outbox.dirty.pop() {
            let pending = &mut self.outbox.pending[id];
            match &mut self.connections[id] {
                Some(connection) => {
                    write(&mut connection.stream, pending).with_context(|| format!("write to connection {id}"))?;
                }
                None => pending.clear(),
            }
        }
        Ok(())
    }
}

/// Writes as much as the kernel takes; the rest waits for the next writable event.
fn write(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Result<()> {
    while !pending.is_empty() {
        match stream.write(pending) {
            Ok(written) => drop(pending.drain(..written)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The server has gone: reading tells the handler.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => pending.clear(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads a connection until it is empty.
fn receive(
    id: usize,
    slot: &mut Option<Connection>,
    event: &Event,
    buffer: &mut [u8],
    handler: &mut impl Handler,
    outbox: &mut Outbox,
) -> Result<()> {
    while let Some(connection) = slot {
        match connection.stream.read(buffer) {
            Ok(0) => return close(id, slot, handler, outbox),
            Ok(count) => {
                feed(id, connection, &buffer[..count], handler, outbox)?;
                // A short read has emptied the socket: the next bytes raise a new event. The end of the
                // stream would not, if this event has already told it.
                if count < buffer.len() && !event.is_read_closed() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return close(id, slot, handler, outbox),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn close(id: usize, slot: &mut Option<Connection>, handler: &mut impl Handler, outbox: &mut Outbox) -> Result<()> {
    *slot = None;
    outbox.pending[id].clear();
    handler.on_closed(id, outbox)
}

fn feed(
    id: usize,
    connection: &mut Connection,
    data: &[u8],
    handler: &mut impl Handler,
    outbox: &mut Outbox,
) -> Result<()> {
    if connection.partial.is_empty() {
        let taken = handler.on_data(id, data, outbox)?;
        connection.partial.extend_from_slice(&data[taken..]);
    } else {
        connection.partial.extend_from_slice(data);
        let taken = handler.on_data(id, &connection.partial, outbox)?;
        connection.partial.drain(..taken);
    }
    Ok(())
}
