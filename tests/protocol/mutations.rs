//! Requests, payloads and packets that are broken at random, against a live server: each gets an end, nothing panics, and nothing
//! is left of it.
//!
//! `HOBNOB_MUTATIONS` sets their number.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    panic,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hobnob::{
    http::{self, Body, Stopper},
    server::Server,
    transport::{Config, Transport},
};
use hyper::{Request, body::Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    namespaces,
    wire::{HANDSHAKE, frame, request, sid, upgrade},
};

/// Enough for a few seconds.
const MUTATIONS: u64 = 10_000;
/// What the process may grow by, other tests of the binary included.
const MOST_MEGABYTES: u64 = 200;
/// Sessions that nobody ended yet. They die of silence, each within a few cases, since every poll that waits lets time pass.
const MOST_SESSIONS: usize = 200;

/// How long a request or a session may last: longer than any deadline of the server.
const LONGEST: Duration = Duration::from_secs(100);

const OCTETS: &str = "Content-Type: application/octet-stream";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// Payloads that are whole, for the session of the same number, and their content type.
const PAYLOADS: &[(usize, &[u8], &[&str])] = &[
    (0, b"40", &[]),
    (0, b"40/custom,{\"token\":\"x\"}\x1e42/custom,7[\"echo\",1]", &[]),
    (0, b"42[\"echo\",{\"a\":[1,\"\\ud83d\\u2028\"]}]\x1e3\x1e6\x1e430[1]", &[]),
    (0, b"452-9[\"echo\",{\"_placeholder\":true,\"num\":1},[{\"_placeholder\":true,\"num\":0}]]\x1ebAQID\x1eb", &[]),
    (1, "6:40/foo13:42[\"echo\",\"é\"]".as_bytes(), &[]),
    (1, "35:451-[\"echo\",{\"_placeholder\":true,\"num\":0}]10:b4AQIDBA==".as_bytes(), &[]),
    (1, b"\x00\x01\x01\xff42[\"echo\"]\x01\x05\xff\x04\x01\x02\x03\x04\x00\x01\xff2", &[OCTETS]),
    (2, b"d=12%3A42%5B%22echo%22%5D1%3A2", &[FORM]),
    (2, b"d=21%3A42%5B%22echo%22%2C%22%5C%5Cn%5Cn%22%5D", &[FORM]),
    (0, b"1", &[]),
    (1, b"1:1", &[]),
];

/// Packets in MessagePack: CONNECT, and an event with everything that there is.
const PACKED: [&[u8]; 2] = [
    b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa5token\xa1x",
    b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\xcc\xc8\xa4data\x9a\xa4echo\xc4\x03\x01\x02\x03\xcb\x3f\xe0\0\0\0\0\0\0\
      \xd3\xff\xff\xff\xff\0\0\0\0\xd7\0\0\0\x01\x8c\0\0\0\0\xd4\0\0\x82\xa1a\xd4\0\0\xa1b\xc7\x02\0\x05\x06\xd9\x02\xc3\xa9\xdc\0\x01\xc0\xc3",
];

/// The queries with which the sessions of the payloads open.
const SESSIONS: [&str; 3] = ["EIO=4&transport=polling", "EIO=3&transport=polling", "EIO=3&transport=polling&j=0&b64=1"];

/// Xorshift: any seed but zero gives the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).expect("small")).expect("small")
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Breaks `bytes` in up to four places, or not at all.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.below(5) {
            if bytes.is_empty() {
                return;
            }
            let (at, to) = (self.below(bytes.len()), self.below(bytes.len()));
            match self.below(7) {
                0 | 1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at] = *self.pick(b"\0\x1e\xff0123456789:/,[]{}\"\\%\r\n "),
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at.min(to)..at.max(to).min(at.min(to) + 16))),
                5 => {
                    let piece = bytes[at.min(to)..at.max(to).min(at.min(to) + 64)].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes.insert(at, *self.pick(b"0123456789bd=&\x04\x1e")),
            }
        }
    }
}

/// A server without a socket: each connection is a pipe, so that a million of them need no ports.
struct Pipes {
    transport: Transport<Server>,
    stopper: Stopper,
    /// How often each status came.
    seen: RefCell<BTreeMap<String, u64>>,
}

impl Pipes {
    fn start() -> Self {
        let stopper = Stopper::default();
        let config = Config {
            ping_interval_ms: 100,
            ping_timeout_ms: 100,
            upgrade_timeout_ms: 100,
            connect_timeout_ms: 1_000,
            max_http_buffer_bytes: 2_000,
            unauthenticated_bytes: 1_000,
            ..Config::default()
        };
        Self { transport: namespaces::transport(config, &stopper), stopper, seen: RefCell::default() }
    }

    /// Writes, and reads until the server closes. The clock stands still while anything happens, and then goes on to the next
    /// deadline: whoever waits for more of a request gives up at once.
    async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let transport = self.transport.clone();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let transport = transport.clone();
            async move { Ok::<_, Infallible>(transport.handle(request, peer).await.map(Body::new)) }
        });
        let stop = self.stopper.stop.clone();
        let serving = http::serve_connection(near, peer, http::Config::default(), service, stop);
        let talk = async {
            let mut answer = Vec::new();
            far.write_all(bytes).await.ok();
            far.read_to_end(&mut answer).await.ok();
            answer
        };
        let talk = async { tokio::join!(serving, talk).1 };
        let answer = tokio::time::timeout(LONGEST, talk).await;
        let answer = answer.unwrap_or_else(|_| panic!("no end of {:?}", String::from_utf8_lossy(bytes)));
        let status = answer.get(9..12).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        *self.seen.borrow_mut().entry(status).or_default() += 1;
        answer
    }

    /// Opens a session and gives its query.
    async fn open(&self, query: &str) -> String {
        let answer = self.exchange(&request("GET", query, &[], b"")).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        format!("{query}&sid={}", sid(&String::from_utf8_lossy(&answer)))
    }

    /// A payload, broken inside or with the request around it, and then a poll, which gets an answer whatever happened.
    async fn payload(&self, random: &mut Random) {
        let (session, body, headers) = random.pick(PAYLOADS);
        let query = self.open(SESSIONS[*session]).await;
        let mut body = body.to_vec();
        random.mutate(&mut body);
        let mut bytes = request("POST", &query, headers, &body);
        if random.below(4) == 0 {
            random.mutate(&mut bytes);
        }
        self.exchange(&bytes).await;
        let answer = self.exchange(&request("GET", &query, &[], b"")).await;
        let answered = [&b"HTTP/1.1 200 "[..], b"HTTP/1.1 400 "].iter().any(|status| answer.starts_with(status));
        assert!(answered, "{:?}", String::from_utf8_lossy(&answer));
    }

    /// The head of a request, broken anywhere.
    async fn head(&self, random: &mut Random) {
        let query = *random.pick(&SESSIONS);
        let method = *random.pick(&["GET", "GET", "POST", "OPTIONS", "HEAD"]);
        let headers = [OCTETS, "Accept-Encoding: gzip", "Origin: http://a", "Expect: 100-continue"];
        let mut bytes = match random.below(3) {
            0 => upgrade(&query.replace("polling", "websocket"), &HANDSHAKE),
            1 => request(method, query, &headers, b"4"),
            _ => request(method, &self.open(query).await, &headers, b"4"),
        };
        random.mutate(&mut bytes);
        self.exchange(&bytes).await;
    }

    /// A WebSocket, of its own or in place of polling, with packets right behind its handshake.
    async fn websocket(&self, random: &mut Random) {
        let (query, packets) = if random.below(2) == 0 {
            let query = SESSIONS[random.below(2)].to_owned();
            (query, &["40", r#"42["echo",1]"#, r#"451-7["echo",{"_placeholder":true,"num":0}]"#][..])
        } else {
            (self.open(SESSIONS[random.below(2)]).await, &["2probe", "5", "40", r#"427["echo"]"#][..])
        };
        let mut frames: Vec<u8> = packets.iter().flat_map(|packet| frame(0x81, packet.as_bytes())).collect();
        frames.extend(frame(0x82, b"\x04attachment"));
        let query = match random.below(6) {
            0 => {
                frames = PACKED.iter().flat_map(|packet| frame(0x82, packet)).collect();
                SESSIONS[0].to_owned()
            }
            1 => {
                let events = PACKED.iter().skip(1).map(|packet| [b"\x04", *packet].concat());
                frames = events.flat_map(|packet| frame(0x82, &packet)).collect();
                frames.extend(frame(0x81, br#"4{"type":0,"nsp":"/custom?token=x"}"#));
                format!("{}&parser=msgpack", SESSIONS[1])
            }
            _ => query,
        };
        frames.extend(frame(0x89, b"ping"));
        random.mutate(&mut frames);
        let mut bytes = upgrade(&query.replace("polling", "websocket"), &HANDSHAKE);
        bytes.extend(frames);
        if random.below(8) == 0 {
            random.mutate(&mut bytes);
        }
        self.exchange(&bytes).await;
    }
}

fn resident_megabytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages / 256)
}

#[tokio::test(start_paused = true)]
async fn mutated_requests_get_an_end_and_leave_nothing_behind() {
    static PANICS: AtomicU64 = AtomicU64::new(0);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let count = env::var("HOBNOB_MUTATIONS").map_or(MUTATIONS, |count| count.parse().expect("a number"));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let server = Pipes::start();
    let mut before = 0;
    for case in 0..count {
        match random.below(8) {
            0..=4 => server.payload(&mut random).await,
            5 => server.head(&mut random).await,
            _ => server.websocket(&mut random).await,
        }
        assert!(server.transport.sessions() < MOST_SESSIONS, "{} sessions in case {case}", server.transport.sessions());
        if case == count / 10 {
            before = resident_megabytes();
        }
    }
    let seen = server.seen.take();
    for status in ["", "101", "200", "400", "405"] {
        // Requests that are not answered, upgraded, taken, refused: all of them are among the mutated.
        assert!(seen.get(status).is_some_and(|seen| *seen > count / 500), "{status:?} in {seen:?}");
    }
    let grown = resident_megabytes().saturating_sub(before);
    assert!(grown < MOST_MEGABYTES, "{grown} MB more than after the first tenth");
    server.stopper.tracker.close();
    let ended = tokio::time::timeout(LONGEST, server.stopper.tracker.wait()).await;
    assert!(ended.is_ok(), "{} sessions are left", server.transport.sessions());
    assert_eq!((server.transport.sessions(), server.transport.application().panics()), (0, 0));
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "of this test or of another one beside it");
}
