//! `echo` with ack over HTTP long-polling: an ack is a POST with the event and a GET that brings the answer.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::TEXT;
use crate::{
    measure::{self, Metric, Repeat, Row, Tally, Target, Windows},
    net::{Handler, Net, Outbox, Rig},
    packet::{self, Packet},
    peers::Peer,
    server::Server,
};

const CLIENTS: usize = 64;
/// Connections of a client: one waits in a GET, the other posts.
const POLL: usize = 0;
const POST: usize = 1;
const CONNECTIONS: usize = 2;
/// Between the packets of a payload.
const SEPARATOR: u8 = 0x1e;
const METRIC: Metric = Metric::new("echo by polling, 64 × 1 in flight", "µs/ack", "acks").held_to(&[
    Target::Times(1.0, Peer::Socketioxide),
    Target::Times(0.15, Peer::Node),
    Target::Times(1.15, Peer::Floor),
]);

pub(crate) fn run(server: &Server, windows: Windows) -> Result<Vec<Row>> {
    let mut net = Net::new(server.address(), CLIENTS * CONNECTIONS)?;
    let mut load = Polling::new(&server.address().to_string());
    for id in 0..CLIENTS * CONNECTIONS {
        net.outbox().connect(id);
    }
    net.complete(&mut load, "connect", |load| load.clients.iter().all(|client| client.connected && !client.posting))?;
    Ok(vec![measure::repeat(METRIC, server, &mut net, &mut load, windows)?])
}

#[derive(Debug, Clone)]
struct Client {
    /// The Engine.IO session, once there is one.
    sid: String,
    connected: bool,
    /// Whether a POST waits for its response.
    posting: bool,
    /// The ack id of the event under way, if one is.
    awaited: Option<u64>,
    next: u64,
    sent: Instant,
}

#[derive(Debug)]
struct Polling {
    host: String,
    /// What a server has to acknowledge with.
    answer: String,
    clients: Vec<Client>,
    running: bool,
    tally: Tally,
}

impl Polling {
    fn new(host: &str) -> Self {
        let client = Client {
            sid: String::new(),
            connected: false,
            posting: false,
            awaited: None,
            next: 0,
            sent: Instant::now(),
        };
        Self {
            host: host.to_owned(),
            answer: format!(r#"[{{"text":"{TEXT}"}}]"#),
            clients: vec![client; CLIENTS],
            running: false,
            tally: Tally::new(),
        }
    }

    fn poll(&self, client: usize, out: &mut Outbox) {
        let Self { host, clients, .. } = self;
        let sid = &clients[client].sid;
        let session = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
        let request =
            format!("GET /socket.io/?EIO=4&transport=polling{session} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
        out.of(client * CONNECTIONS + POLL).extend_from_slice(request.as_bytes());
    }

    fn post(&mut self, client: usize, payload: &str, out: &mut Outbox) {
        self.clients[client].posting = true;
        let (host, sid, length) = (&self.host, &self.clients[client].sid, payload.len());
        let request = format!(
            "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\
             Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{payload}"
        );
        out.of(client * CONNECTIONS + POST).extend_from_slice(request.as_bytes());
    }

    /// Sends the next event, if the last one is answered and posted.
    fn advance(&mut self, client: usize, now: Instant, out: &mut Outbox) {
        let Client { posting, awaited, next, sent, .. } = &mut self.clients[client];
        if self.running && !*posting && awaited.is_none() {
            let event = format!(r#"42{next}["echo",{{"text":"{TEXT}"}}]"#);
            *awaited = Some(*next);
            *next += 1;
            *sent = now;
            self.post(client, &event, out);
        }
    }

    fn on_polled(&mut self, client: usize, body: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        if self.clients[client].sid.is_empty() {
            let open = body.strip_prefix(b"0").context("a session that does not start with an open packet")?;
            let open: serde_json::Value = serde_json::from_slice(open)?;
            open["sid"].as_str().context("an open packet without sid")?.clone_into(&mut self.clients[client].sid);
            self.post(client, "40", out);
        } else {
            body.split(|&byte| byte == SEPARATOR).try_for_each(|packet| self.on_packet(client, packet, now))?;
            self.advance(client, now, out);
        }
        self.poll(client, out);
        Ok(())
    }

    fn on_packet(&mut self, client: usize, packet: &[u8], now: Instant) -> Result<()> {
        let client = &mut self.clients[client];
        match packet {
            [b'4', b'0', ..] => client.connected = true,
            [b'4', packet @ ..] => match packet::parse(packet)? {
                Packet::Ack(id, arguments) => {
                    ensure!(client.awaited.take() == Some(id), "ack {id} was not due");
                    ensure!(arguments == self.answer.as_bytes(), "not an echo: {}", String::from_utf8_lossy(arguments));
                    self.tally.count(now - client.sent);
                }
                Packet::Event(event) if packet::is_greeting(event) => {}
                Packet::Event(event) => bail!("unexpected event {}", String::from_utf8_lossy(event)),
            },
            // A ping, which comes later than the run is long, or nothing.
            [b'2' | b'6'] => {}
            other => bail!("unexpected packet {}", String::from_utf8_lossy(other)),
        }
        Ok(())
    }
}

impl Handler for Polling {
    fn on_connect(&mut self, id: usize, out: &mut Outbox) {
        if id % CONNECTIONS == POLL {
            self.poll(id / CONNECTIONS, out);
        }
    }

    fn on_data(&mut self, id: usize, data: &[u8], out: &mut Outbox) -> Result<usize> {
        let Some((body, length)) = parse_response(data)? else { return Ok(0) };
        let (client, now) = (id / CONNECTIONS, Instant::now());
        if id % CONNECTIONS == POLL {
            self.on_polled(client, body, now, out)?;
        } else {
            ensure!(body == b"ok", "a POST answered with {}", String::from_utf8_lossy(body));
            self.clients[client].posting = false;
            self.advance(client, now, out);
        }
        Ok(length)
    }

    fn on_closed(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        bail!("closed by the server")
    }
}

impl Repeat for Polling {
    fn start(&mut self, out: &mut Outbox) {
        self.running = true;
        let now = Instant::now();
        (0..CLIENTS).for_each(|client| self.advance(client, now, out));
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn is_settled(&self) -> bool {
        self.clients.iter().all(|client| client.awaited.is_none() && !client.posting)
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

/// The body of the response at the front of `data` and the length of all of it, once it is there.
fn parse_response(data: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some(end) = data.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&data[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "refused: {head}");
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let (_, length) = headers
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("a response without Content-Length")?;
    let start = end + 4;
    let stop = start + length.parse::<usize>()?;
    Ok(data.get(start..stop).map(|body| (body, stop)))
}
