//! P13: what a connection costs, measured from outside. The numbers are those of `docs/limits.md`.

use std::{fs, net::SocketAddr};

use serde_json::{Value, json};

use super::time_passes;
use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    process::Server,
    raw::{Raw, TEXT, allow_many_files, head},
    token,
};

const KIB: u64 = 1024;
/// Before a client has shown who it is.
const STRANGER: u64 = 64 * KIB;
/// Somebody who is signed in and does nothing.
const IDLE: u64 = 100 * KIB;
/// One message in, what waits to go out, and everything else.
const BUSY: u64 = (1024 + 1024 + 64) * KIB;

/// Connections of strangers.
const STRANGERS: u64 = 1000;
/// What a stranger may send at once.
const LARGEST: usize = 16_384;

/// Nothing ends by itself while it is measured.
const PATIENT: &[(&str, &str)] = &[
    ("HOBNOB_SOCKETIO__CONNECT_TIMEOUT_MS", "600000"),
    ("HOBNOB_SERVER__HEADER_TIMEOUT_MS", "300000"),
    ("SOCKET_PING_INTERVAL", "600000"),
    ("SOCKET_PING_TIMEOUT", "600000"),
];

/// Resident memory.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("told");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * KIB
}

/// The memory of the server once it does not grow any more.
async fn settled(server: &Server) -> u64 {
    let mut last = resident(server);
    loop {
        time_passes(0.3).await;
        let next = resident(server);
        if next <= last {
            return next;
        }
        last = next;
    }
}

/// What each of `count` connections costs a server that has had no others.
async fn cost(what: &str, count: u64, limit: u64, open: impl AsyncFn(SocketAddr, u64) -> Raw) {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, PATIENT).await;
    let address = server.address;
    let ann = Client::connect(address, "ann").await;
    let id = ann.group(&["ben"]).await;
    for n in 0..120 {
        ann.ok("message:send", json!({"conversationId": id, "content": format!("{n} {}", "x".repeat(4900))})).await;
    }
    // What the first connections cost for all: threads, tables.
    for n in 0..20 {
        drop(open(address, n).await);
    }
    let before = settled(&server).await;
    let mut connections = Vec::new();
    for n in 0..count {
        connections.push(open(address, 20 + n).await);
    }
    let each = settled(&server).await.saturating_sub(before) / count;
    eprintln!("{what}: {each} bytes each");
    assert!(each <= limit, "{what}: {each} bytes each, at most {limit} are promised");
    // All of them are still there: none was cut instead of being kept.
    for connection in &mut connections {
        assert!(connection.is_open(), "{what}: somebody was cut");
    }
    ann.ok("heartbeat", json!({})).await;
    server.calm_log();
}

/// Connects and sends these bytes.
async fn begun(address: SocketAddr, bytes: &[u8]) -> Raw {
    let mut raw = Raw::connect(address).await;
    raw.send(bytes).await;
    raw
}

/// Connects and opens a WebSocket.
async fn opened(address: SocketAddr) -> Raw {
    Raw::connect(address).await.open(None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_a_stranger_costs_no_more_than_promised_with_http() {
    allow_many_files();
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(16_000));
    let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(95));
    cost("nothing", STRANGERS, STRANGER, async |address, _| begun(address, b"").await).await;
    cost("half a large header", STRANGERS, STRANGER, async |address, _| begun(address, large.as_bytes()).await).await;
    cost("many headers", STRANGERS, STRANGER, async |address, _| begun(address, many.as_bytes()).await).await;
    cost("half a POST", STRANGERS, STRANGER, async |address, _| {
        let opened = http::request(address, "GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await;
        let handshake: Value = serde_json::from_str(&opened.body[1..]).expect("a handshake");
        let sid = handshake["sid"].as_str().expect("a sid");
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGEST}\r\n\r\n");
        begun(address, &[head.as_bytes(), &[b'x'; LARGEST - 100]].concat()).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_a_stranger_costs_no_more_than_promised_with_a_websocket() {
    allow_many_files();
    cost("a WebSocket", STRANGERS, STRANGER, async |address, _| opened(address).await).await;
    cost("half a frame", STRANGERS, STRANGER, async |address, _| {
        let mut raw = opened(address).await;
        raw.send(&[head(TEXT, LARGEST as u64), vec![b'x'; LARGEST - 100]].concat()).await;
        raw
    })
    .await;
    cost("fragments", STRANGERS, STRANGER, async |address, _| {
        let mut raw = opened(address).await;
        for n in 0..LARGEST / 1000 {
            raw.send(&[head(u8::from(n == 0), 1000), vec![b'x'; 1000]].concat()).await;
        }
        raw
    })
    .await;
    cost("attachments", STRANGERS, STRANGER, async |address, _| {
        let mut raw = opened(address).await;
        raw.say(r#"4510-["x",{"_placeholder":true,"num":0}]"#).await;
        for _ in 0..9 {
            raw.send(&[head(0x82, LARGEST as u64 / 10), vec![0; LARGEST / 10]].concat()).await;
        }
        raw
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_who_is_signed_in_costs_no_more_than_promised_idle_or_with_full_queues() {
    allow_many_files();
    let signed_in = async |address, user: &str| Raw::narrow(address).await.open(Some(&token::of(user))).await;
    cost("an idle user", 2000, IDLE, async |address, n| signed_in(address, &format!("user{n}")).await).await;
    cost("a backlog", 100, BUSY, async |address, _| signed_in(address, "ben").await).await;
    cost("half a message", 100, BUSY, async |address, _| {
        let mut raw = signed_in(address, "eve").await;
        raw.send(&[head(TEXT, 999_000), vec![b'x'; 990_000]].concat()).await;
        raw
    })
    .await;
    // Nobody reads, there is a backlog, half a megabyte was asked for, and a message has come in half.
    cost("full queues", 100, BUSY, async |address, _| {
        let mut raw = signed_in(address, "ben").await;
        raw.say(r#"421["get-missed-messages",{"cursors":{},"limit":110}]"#).await;
        raw.send(&[head(TEXT, 999_000), vec![b'x'; 500_000]].concat()).await;
        raw
    })
    .await;
}
