//! The floor: not a server, but the least work any server has to do for the echo fixture. What Hobnob costs
//! beyond it is what Hobnob could still win.
//!
//! One thread, one epoll. What is to be sent is queued and written at the end of an epoll batch, all frames of
//! a connection in one `writev`; a broadcast is encoded once. It knows one path, one handshake key and the
//! exact text of this benchmark's client, checks nothing, and serves nobody else.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, IoSlice, Read, Write},
    mem,
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(usize::MAX);
const FINAL_TEXT: u8 = 0x81;
const FINAL_CLOSE: u8 = 0x88;
const READ_BYTES: usize = 256 * 1024;
/// Frames in one `writev`.
const FRAMES: usize = 64;
/// The connections are pinged in as many groups, one after the other.
const PING_GROUPS: usize = 50;
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The floor of the echo fixture.
#[derive(Debug, Parser)]
struct Arguments {
    /// The port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The time between two pings.
    #[arg(long)]
    ping_interval_ms: u64,
}

/// Bytes to be written: a broadcast that others hold, too, or replies.
enum Chunk {
    Shared(Rc<[u8]>),
    Own(Vec<u8>),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// What a connection has still to be sent. Without memory of its own when empty.
#[derive(Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is written.
    written: usize,
    /// Replies behind the chunks.
    replies: Vec<u8>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.replies.is_empty()
    }

    fn push(&mut self, shared: Rc<[u8]>) {
        self.seal();
        self.chunks.push_back(Chunk::Shared(shared));
    }

    fn seal(&mut self) {
        if !self.replies.is_empty() {
            self.chunks.push_back(Chunk::Own(mem::take(&mut self.replies)));
        }
    }

    /// Writes until the queue is empty or the kernel takes no more.
    fn write_to(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.seal();
        while !self.chunks.is_empty() {
            let mut slices = [IoSlice::new(&[]); FRAMES];
            let filled = slices.iter_mut().zip(&self.chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count();
            slices[0] = IoSlice::new(&self.chunks[0][self.written..]);
            match stream.write_vectored(&slices[..filled]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(rest) = self.chunks.front().and_then(|chunk| self.written.checked_sub(chunk.len())) {
                self.written = rest;
                self.chunks.pop_front();
            }
        }
        self.chunks = VecDeque::new();
        Ok(())
    }
}

/// A connection, or the place of one that has gone.
#[derive(Default)]
struct Connection {
    stream: Option<TcpStream>,
    upgraded: bool,
    closing: bool,
    /// The start of a frame whose rest has not come yet.
    partial: Vec<u8>,
    queue: Queue,
    room: Option<String>,
}

struct Floor {
    poll: Poll,
    open: Vec<u8>,
    connections: Vec<Connection>,
    free: Vec<usize>,
    rooms: HashMap<String, Vec<usize>>,
    dirty: Vec<usize>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let mut listener = TcpListener::bind(address)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let open = format!(
        r#"0{{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":{},"pingTimeout":60000,"maxPayload":1000000}}"#,
        arguments.ping_interval_ms
    );
    let mut floor = Floor {
        poll,
        open: open.into_bytes(),
        connections: Vec::new(),
        free: Vec::new(),
        rooms: HashMap::new(),
        dirty: Vec::new(),
    };
    let tick = Duration::from_millis(arguments.ping_interval_ms) / PING_GROUPS.try_into()?;
    floor.serve(&listener, tick)
}

impl Floor {
    fn serve(&mut self, listener: &TcpListener, tick: Duration) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        let mut next_tick = Instant::now() + tick;
        for group in (0..PING_GROUPS).cycle() {
            while let Some(left) = next_tick.checked_duration_since(Instant::now()) {
                match self.poll.poll(&mut events, Some(left)) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    other => other?,
                }
                for event in &events {
                    let Token(id) = event.token();
                    if event.token() == LISTENER {
                        self.accept(listener)?;
                        continue;
                    }
                    if event.is_writable() && !self.connections[id].queue.is_empty() {
                        self.dirty.push(id);
                    }
                    if event.is_readable() || event.is_error() {
                        self.receive(id, &mut buffer, event.is_read_closed())?;
                    }
                }
                self.flush();
            }
            self.ping(group);
            next_tick += tick;
        }
        Ok(())
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let id = self.free.pop().unwrap_or(self.connections.len());
            self.poll.registry().register(&mut stream, Token(id), Interest::READABLE | Interest::WRITABLE)?;
            let connection = Connection { stream: Some(stream), ..Connection::default() };
            match self.connections.get_mut(id) {
                Some(place) => *place = connection,
                None => self.connections.push(connection),
            }
        }
    }

    fn receive(&mut self, id: usize, buffer: &mut [u8], ended: bool) -> Result<()> {
        while let Some(stream) = &mut self.connections[id].stream {
            match stream.read(buffer) {
                Ok(0) => self.close(id),
                Ok(count) => {
                    self.feed(id, &mut buffer[..count])?;
                    if count < buffer.len() && !ended {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => self.close(id),
            }
        }
        Ok(())
    }

    fn feed(&mut self, id: usize, data: &mut [u8]) -> Result<()> {
        let mut partial = mem::take(&mut self.connections[id].partial);
        if partial.is_empty() {
            let taken = self.take_frames(id, data)?;
            partial.extend_from_slice(&data[taken..]);
        } else {
            partial.extend_from_slice(data);
            let taken = self.take_frames(id, &mut partial)?;
            partial.drain(..taken);
        }
        self.connections[id].partial = partial;
        Ok(())
    }

    /// Handles the whole frames at the front of `data` and says how long they were.
    fn take_frames(&mut self, id: usize, data: &mut [u8]) -> Result<usize> {
        if !self.connections[id].upgraded {
            return Ok(self.upgrade(id, data));
        }
        let mut taken = 0;
        while let Some((header, end)) = frame_bounds(&data[taken..]) {
            let (head, payload) = data[taken..taken + end].split_at_mut(header);
            unmask(payload, &head[header - 4..]);
            match head[0] & 0x0f {
                1 => self.on_text(id, payload)?,
                8 => {
                    push_frame(self.reply(id), FINAL_CLOSE, &[payload]);
                    self.connections[id].closing = true;
                }
                _ => {}
            }
            taken += end;
        }
        Ok(taken)
    }

    fn upgrade(&mut self, id: usize, request: &[u8]) -> usize {
        if !request.ends_with(b"\r\n\r\n") {
            return 0;
        }
        self.connections[id].upgraded = true;
        let open = mem::take(&mut self.open);
        self.reply(id).extend_from_slice(UPGRADED);
        push_frame(self.reply(id), FINAL_TEXT, &[&open]);
        self.open = open;
        request.len()
    }

    fn on_text(&mut self, id: usize, text: &[u8]) -> Result<()> {
        let Some(event) = text.strip_prefix(b"42") else {
            if text.starts_with(b"40") {
                push_frame(self.reply(id), FINAL_TEXT, &[br#"40{"sid":"AAAAAAAAAAAAAAAAAAAA"}"#]);
                push_frame(self.reply(id), FINAL_TEXT, &[br#"42["auth",{}]"#]);
            }
            return Ok(());
        };
        let digits = event.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (ack, event) = event.split_at(digits);
        if let Some(argument) = event.strip_prefix(br#"["echo","#) {
            push_frame(self.reply(id), FINAL_TEXT, &[b"43", ack, b"[", argument]);
            return Ok(());
        }
        if let Some(room) = event.strip_prefix(br#"["join",""#) {
            let room = String::from_utf8(room[..room.len() - 2].to_vec())?;
            self.rooms.entry(room.clone()).or_default().push(id);
            self.connections[id].room = Some(room);
        } else if let Some(rest) = event.strip_prefix(br#"["say",{"room":""#) {
            let end = rest.iter().position(|&byte| byte == b'"').context("say without a room")?;
            let data = rest[end..].strip_prefix(br#"","data":"#).context("say without data")?;
            self.say(str::from_utf8(&rest[..end])?, &data[..data.len() - 2]);
        }
        push_frame(self.reply(id), FINAL_TEXT, &[b"43", ack, b"[]"]);
        Ok(())
    }

    fn say(&mut self, room: &str, data: &[u8]) {
        let mut encoded = Vec::new();
        push_frame(&mut encoded, FINAL_TEXT, &[br#"42["said","#, data, b"]"]);
        let encoded: Rc<[u8]> = encoded.into();
        for &member in self.rooms.get(room).into_iter().flatten() {
            let queue = &mut self.connections[member].queue;
            if queue.is_empty() {
                self.dirty.push(member);
            }
            queue.push(Rc::clone(&encoded));
        }
    }

    fn ping(&mut self, group: usize) {
        for id in (group..self.connections.len()).step_by(PING_GROUPS) {
            if self.connections[id].upgraded {
                push_frame(self.reply(id), FINAL_TEXT, &[b"2"]);
            }
        }
        self.flush();
    }

    /// Where replies to `id` are appended.
    fn reply(&mut self, id: usize) -> &mut Vec<u8> {
        let queue = &mut self.connections[id].queue;
        if queue.is_empty() {
            self.dirty.push(id);
        }
        &mut queue.replies
    }

    fn flush(&mut self) {
        while let Some(id) = self.dirty.pop() {
            let connection = &mut self.connections[id];
            let Some(stream) = &mut connection.stream else { continue };
            let outcome = connection.queue.write_to(stream);
            if outcome.is_err() || (connection.closing && connection.queue.is_empty()) {
                self.close(id);
            }
        }
    }

    fn close(&mut self, id: usize) {
        let connection = mem::take(&mut self.connections[id]);
        if let Some(room) = connection.room.and_then(|room| self.rooms.get_mut(&room)) {
            room.retain(|&member| member != id);
        }
        self.free.push(id);
    }
}

/// The length of the header and of the whole frame at the front of `data`, once all of it is there.
fn frame_bounds(data: &[u8]) -> Option<(usize, usize)> {
    let (header, length) = match data.get(1)? & 0x7f {
        126 => (8, usize::from(u16::from_be_bytes(*data.get(2..)?.first_chunk()?))),
        127 => (14, usize::try_from(u64::from_be_bytes(*data.get(2..)?.first_chunk()?)).ok()?),
        length => (6, usize::from(length)),
    };
    (data.len() >= header + length).then_some((header, header + length))
}

fn unmask(payload: &mut [u8], key: &[u8]) {
    let &[a, b, c, d] = key else { return };
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

fn push_frame(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(first);
    if let Ok(length @ 0..126) = u8::try_from(length) {
        out.push(length);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}
