//! Socket.IO 5 over Engine.IO 4 over WebSocket: many clients on one thread.
//!
//! Owns the connections up to the point where a client is in namespace `/`, pings and closing handshakes.
//! What a client then says is up to the [`Load`].

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{
    frame::{self, Opcode},
    net::{Handler, Net, Outbox, Rig},
};

/// How many clients connect at the same time.
const RAMP: usize = 64;

/// What the clients do once connected.
pub(crate) trait Load {
    /// Client `id` is in the namespace.
    fn on_ready(&mut self, id: usize, out: &mut Outbox) -> Result<()>;

    /// A Socket.IO packet, without the Engine.IO type before it, read at `now`.
    fn on_packet(&mut self, id: usize, packet: &[u8], now: Instant, out: &mut Outbox) -> Result<()>;

    /// The connection of client `id` has ended.
    fn on_closed(&mut self, id: usize, _out: &mut Outbox) -> Result<()> {
        bail!("the server closed connection {id}")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing, or a connection whose upgrade is not answered yet.
    Upgrading,
    /// Upgraded; the open packet is missing.
    Opening,
    /// CONNECT is sent.
    Connecting,
    Ready,
}

/// Clients of one server.
#[derive(Debug)]
pub(crate) struct Clients {
    net: Net,
    sessions: Sessions,
}

#[derive(Debug)]
struct Sessions {
    states: Vec<State>,
    /// The CONNECT packet of each client: `40`, with its auth object if it has one.
    connects: Vec<String>,
    upgrade: Vec<u8>,
    /// Pings of the server answered so far.
    pings: u64,
}

impl Clients {
    /// Connects as many clients as there are `tokens`, [`RAMP`] at a time; with a token that is not empty
    /// as its auth object.
    pub(crate) fn connect(server: SocketAddr, tokens: &[String], load: &mut impl Load) -> Result<Self> {
        let mut clients = Self::new(server, tokens)?;
        let mut ramp = Ramp { load, ready: 0, started: 0, total: tokens.len() };
        for _ in 0..RAMP {
            ramp.start(clients.net.outbox());
        }
        clients.complete(&mut ramp, "connect", |ramp| ramp.ready == tokens.len())?;
        Ok(clients)
    }

    /// Clients that are not connected: the load says when, with [`Outbox::connect`].
    pub(crate) fn new(server: SocketAddr, tokens: &[String]) -> Result<Self> {
        let connects = tokens.iter().map(|token| connect_packet(token)).collect();
        let sessions =
            Sessions { states: vec![State::Upgrading; tokens.len()], connects, upgrade: upgrade(server), pings: 0 };
        Ok(Self { net: Net::new(server, tokens.len())?, sessions })
    }

    /// Where packets to be sent go.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        self.net.outbox()
    }

    /// How many pings of the server were answered.
    pub(crate) fn pings(&self) -> u64 {
        self.sessions.pings
    }
}

impl<L: Load> Rig<L> for Clients {
    fn outbox(&mut self) -> &mut Outbox {
        self.outbox()
    }

    fn turn(&mut self, load: &mut L, timeout: Duration) -> Result<()> {
        self.net.turn(timeout, &mut Driver { sessions: &mut self.sessions, load })
    }
}

/// The request every client starts with. The key is always the same: nobody checks that it is random.
fn upgrade(server: SocketAddr) -> Vec<u8> {
    format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

fn connect_packet(token: &str) -> String {
    if token.is_empty() { "40".to_owned() } else { format!(r#"40{{"token":"{token}"}}"#) }
}

/// Connects the next client whenever one is ready.
struct Ramp<'a, L> {
    load: &'a mut L,
    ready: usize,
    started: usize,
    total: usize,
}

impl<L> Ramp<'_, L> {
    fn start(&mut self, out: &mut Outbox) {
        if self.started < self.total {
            out.connect(self.started);
            self.started += 1;
        }
    }
}

impl<L: Load> Load for Ramp<'_, L> {
    fn on_ready(&mut self, id: usize, out: &mut Outbox) -> Result<()> {
        self.ready += 1;
        self.start(out);
        self.load.on_ready(id, out)
    }

    fn on_packet(&mut self, id: usize, packet: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        self.load.on_packet(id, packet, now, out)
    }
}

/// One turn: the protocol below, the load above.
struct Driver<'a, L> {
    sessions: &'a mut Sessions,
    load: &'a mut L,
}

impl<L: Load> Handler for Driver<'_, L> {
    fn on_connect(&mut self, id: usize, out: &mut Outbox) {
        self.sessions.states[id] = State::Upgrading;
        out.of(id).extend_from_slice(&self.sessions.upgrade);
    }

    fn on_data(&mut self, id: usize, data: &[u8], out: &mut Outbox) -> Result<usize> {
        let now = Instant::now();
        let mut taken = 0;
        if self.sessions.states[id] == State::Upgrading {
            match response_length(data)? {
                Some(length) => taken = length,
                None => return Ok(0),
            }
            self.sessions.states[id] = State::Opening;
        }
        while let Some(frame) = frame::parse(&data[taken..])? {
            taken += frame.length;
            match frame.opcode {
                Opcode::Text => self.on_text(id, frame.payload, now, out)?,
                Opcode::Ping => frame::push_pong(out.of(id), frame.payload),
                // The end of the connection follows, and it is judged there.
                Opcode::Close | Opcode::Pong => {}
            }
        }
        Ok(taken)
    }

    fn on_closed(&mut self, id: usize, out: &mut Outbox) -> Result<()> {
        self.load.on_closed(id, out)
    }
}

impl<L: Load> Driver<'_, L> {
    #[inline]
    fn on_text(&mut self, id: usize, text: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        let state = &mut self.sessions.states[id];
        match (*state, text) {
            (State::Ready, [b'4', packet @ ..]) => self.load.on_packet(id, packet, now, out)?,
            (State::Opening, [b'0', ..]) => {
                *state = State::Connecting;
                frame::push_text(out.of(id), &[self.sessions.connects[id].as_bytes()]);
            }
            (State::Connecting, [b'4', b'0', ..]) => {
                *state = State::Ready;
                self.load.on_ready(id, out)?;
            }
            (_, [b'2']) => {
                self.sessions.pings += 1;
                frame::push_text(out.of(id), &[b"3"]);
            }
            (_, [b'6']) => {}
            (state, text) => bail!("unexpected in state {state:?}: {}", String::from_utf8_lossy(text)),
        }
        Ok(())
    }
}

/// The length of the answer to the upgrade, once all of it is there.
fn response_length(data: &[u8]) -> Result<Option<usize>> {
    let Some(end) = data.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    ensure!(data.starts_with(b"HTTP/1.1 101"), "no upgrade: {}", String::from_utf8_lossy(&data[..end]));
    Ok(Some(end + 4))
}
