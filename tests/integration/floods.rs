//! P38: thousands of inputs that nobody should send, made from a seed. The process lives, and others are served all the while.

use std::net::SocketAddr;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{client::Client, command::Sandbox, http, packets::Packets, process::Server, token};

/// Inputs between two looks at whether others are still served.
const BATCH: usize = 100;

const EVENTS: &[(&str, &[&str])] = &[
    (
        "message:send",
        &["conversationId", "to", "content", "clientId", "mentions", "replyTo", "data", "expiresAt", "type"],
    ),
    ("send-message", &["groupId", "recipientId", "content", "mediaUrl", "mediaSize"]),
    ("message:edit", &["messageId", "content", "rev"]),
    ("message:delete", &["messageId"]),
    ("get-missed-messages", &["lastSyncDate", "cursors", "cursor", "conversationId", "limit"]),
    ("sync-messages", &["since", "conversationId", "limit"]),
    ("conversation:create", &["type", "participants", "name"]),
    ("conversation:add-members", &["conversationId", "members"]),
    ("conversation:remove-members", &["conversationId", "members"]),
    ("conversation:leave", &["conversationId"]),
    ("conversation:rename", &["conversationId", "name"]),
    ("join-conversation", &["conversationId"]),
    ("nope", &["x"]),
];

/// A server, and two users who talk to each other after every batch.
struct Target {
    server: Server,
    ann: Client,
    ben: Client,
    id: String,
    done: usize,
    _sandbox: Sandbox,
}

impl Target {
    async fn start() -> Self {
        let sandbox = Sandbox::new();
        let server = Server::start(&sandbox).await;
        let ann = Client::connect(server.address, "ann").await;
        let ben = Client::connect(server.address, "ben").await;
        let id = ann.group(&["ben", "eve"]).await;
        Self { server, ann, ben, id, done: 0, _sandbox: sandbox }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Called after every input.
    async fn survived(&mut self, input: impl FnOnce() -> String) {
        self.done += 1;
        if !self.done.is_multiple_of(BATCH) {
            return;
        }
        let content = format!("after {}", self.done);
        let sent = self.ann.ok("message:send", json!({"conversationId": self.id, "content": content})).await;
        while self.ben.event("message:new").await["id"] != sent["id"] {}
        let ready = http::request(self.address(), "GET", "/readyz", &[], b"").await;
        assert_eq!(ready.status, 200, "after {}: {ready:?}", input());
        self.server.calm_log();
    }

    async fn end(mut self, at_least: usize) {
        assert!(self.done >= at_least, "only {} inputs", self.done);
        self.server.terminate();
        let (status, log) = self.server.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

/// A value that is seldom right.
fn odd_value(random: &mut StdRng, id: &str) -> Value {
    match random.random_range(0..18) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(""),
        6 => json!("x".repeat(random.random_range(0..10_000))),
        7 => json!("\u{0}\u{202e}\u{2028}🦀"),
        8 => json!("__proto__"),
        9 => json!({"$ne": null}),
        10 => json!([]),
        11 => json!([[[[[[[[[[1]]]]]]]]]]),
        12 => json!({"a": {"b": {"c": [1, "2", null]}}}),
        13 => json!(id),
        14 => json!([id, "ann", 7]),
        15 => json!("ffffffffffffffffffffffff"),
        16 => json!({(id): u64::MAX, "x": -1}),
        _ => json!("../../etc/passwd%00"),
    }
}

/// Bytes of a text moved, doubled, dropped or replaced.
fn mutated(random: &mut StdRng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(1..6) {
        let place = random.random_range(0..=chars.len());
        let other = *['"', '[', ']', '{', '}', ',', '-', '/', '4', '5', '9', '\\', '\u{1e}', 'é', '\0', 'b']
            .get(random.random_range(0..16))
            .expect("one of them");
        match random.random_range(0..4) {
            0 => chars.insert(place, other),
            1 if place < chars.len() => drop(chars.remove(place)),
            2 if place < chars.len() => chars[place] = other,
            _ => chars.truncate(place.max(1)),
        }
    }
    chars.into_iter().collect()
}

#[tokio::test]
async fn p38_payloads_of_wrong_types_are_answered_and_end_nothing() {
    let mut target = Target::start().await;
    let mut random = StdRng::seed_from_u64(1);
    let eve = Client::connect(target.address(), "eve").await;
    for round in 0..1500 {
        let (event, fields) = EVENTS[round % EVENTS.len()];
        // The conversation of the others is left alone, or they could not talk any more.
        let id = if event.starts_with("conversation:") { "0123456789abcdef01234567" } else { &target.id.clone() };
        let mut payload = match event {
            "message:send" => json!({"conversationId": id, "content": "a"}),
            "get-missed-messages" => json!({"cursors": {}, "limit": 1}),
            _ => json!({}),
        };
        for _ in 0..random.random_range(1..4) {
            let field = fields[random.random_range(0..fields.len())];
            payload[field] = odd_value(&mut random, id);
        }
        let payload = if random.random_ratio(1, 10) { odd_value(&mut random, id) } else { payload };
        let ack = eve.call(event, &payload).await.unwrap_or_else(|| panic!("{event} {payload} ended the connection"));
        assert!(ack["ok"] == true || ack["code"].is_string(), "{event} {payload}: {ack}");
        assert_ne!(ack["code"], "internal", "{event} {payload}: {ack}");
        target.survived(|| format!("{event} {payload}")).await;
    }
    target.end(1500).await;
}

#[tokio::test]
async fn p38_malformed_packets_over_websocket_end_at_most_their_session() {
    let mut target = Target::start().await;
    let mut random = StdRng::seed_from_u64(2);
    let good = [
        format!(r#"421["message:send",{{"conversationId":"{}","content":"a","data":{{"x":[1,2]}}}}]"#, target.id),
        r#"42["get-missed-messages",{"cursors":{}}]"#.to_owned(),
        r#"452-7["message:send",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#.to_owned(),
        format!(r#"40/messages,{{"token":"{}"}}"#, token::of("eve")),
        "43/messages,12[]".to_owned(),
        "41".to_owned(),
        "2probe".to_owned(),
        "0{\"sid\":\"x\"}".to_owned(),
        "b4AAEC".to_owned(),
    ];
    let mut session: Option<Packets> = None;
    for n in 0..1500 {
        let mut packets = match session.take() {
            Some(packets) => packets,
            None => Packets::join(target.address(), "", &token::of("eve")).await,
        };
        let packet = match random.random_range(0..10) {
            0 => format!(
                "42[\"x\",{}{}]",
                "[".repeat(random.random_range(1..3000)),
                "]".repeat(random.random_range(1..3000))
            ),
            1 => format!("42{}[\"x\"]", "9".repeat(random.random_range(1..200))),
            2 => format!("45{}-[\"x\"]", random.random_range(0..u64::MAX)),
            _ => mutated(&mut random, &good[n % good.len()]),
        };
        packets.send(&packet).await;
        if random.random_ratio(1, 8) {
            let bytes: Vec<u8> = (0..random.random_range(0..64)).map(|_| random.random()).collect();
            packets.send_message(Message::binary(bytes)).await;
        }
        // Either this is answered, or the session has ended.
        packets.send(&format!("428{n:04}[\"probe\"]")).await;
        session = answered(packets, &format!("438{n:04}[")).await;
        target.survived(|| packet).await;
    }
    target.end(1500).await;
}

async fn answered(mut packets: Packets, start: &str) -> Option<Packets> {
    loop {
        if packets.next().await?.starts_with(start) {
            return Some(packets);
        }
    }
}

#[tokio::test]
async fn p38_malformed_bodies_over_polling_end_at_most_their_session() {
    const PATH: &str = "/socket.io/?transport=polling&EIO=";
    let mut target = Target::start().await;
    let mut random = StdRng::seed_from_u64(3);
    let connect = format!("40{{\"token\":\"{}\"}}", token::of("eve"));
    for n in 0..600 {
        let version = 3 + n % 2;
        let path = format!("{PATH}{version}");
        let opened = http::request(target.address(), "GET", &path, &[], b"").await;
        let start = opened.body.find("\"sid\":\"").expect("a handshake") + 7;
        let sid = opened.body[start..].split('"').next().expect("a sid");
        let body = match random.random_range(0..6) {
            0 => format!(
                "{connect}\u{1e}{}",
                mutated(&mut random, "42[\"message:send\",{\"to\":\"ben\"}]\u{1e}3\u{1e}b4AAEC")
            ),
            1 => "\u{1e}".repeat(random.random_range(1..5000)),
            2 => format!("{}:42[\"a\"]", "9".repeat(random.random_range(1..30))),
            3 => mutated(&mut random, "8:42[\"é\"]1:22:41"),
            4 => format!("{connect}{}", "\u{1e}40/x,".repeat(random.random_range(1..200))),
            _ => mutated(&mut random, &connect),
        };
        let kind = ["text/plain", "application/octet-stream"][random.random_range(0..2)];
        let sid = if random.random_ratio(1, 10) {
            mutated(&mut random, "0123456789").replace(|c: char| !c.is_ascii_digit(), "%")
        } else {
            sid.to_owned()
        };
        let answer = http::request(
            target.address(),
            "POST",
            &format!("{path}&sid={sid}"),
            &[("Content-Type", kind)],
            body.as_bytes(),
        )
        .await;
        assert!([200, 400, 413].contains(&answer.status), "{body:?}: {answer:?}");
        target.survived(|| body).await;
    }
    target.end(600).await;
}

#[tokio::test]
async fn p38_malformed_http_requests_end_at_most_their_connection() {
    let mut target = Target::start().await;
    let mut random = StdRng::seed_from_u64(4);
    let eve = token::of("eve");
    let good = [
        format!("POST /api/messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {eve}\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{{\"to\":\"ben\",\"content\":\"ab\"}}"),
        format!("GET /api/messages/conversation/{}?after=1&limit=2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {eve}\r\n\r\n", target.id),
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_owned(),
        "POST /api/messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(),
    ];
    for n in 0..600 {
        let request = match random.random_range(0..8) {
            0 => format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(random.random_range(1..40_000))),
            1 => format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(random.random_range(1..500))),
            2 => (0..random.random_range(1..500)).map(|_| char::from(random.random_range(0..128_u8))).collect(),
            _ => mutated(&mut random, &good[n % good.len()]),
        };
        // Half a request waits for its other half: closing our side is the end of it.
        let answer = http::send_and_close(target.address(), request.as_bytes()).await;
        let status = answer.map(|answer| answer.status);
        assert!(status.is_none_or(|status| status == 101 || (200..500).contains(&status)), "{request:?}: {status:?}");
        target.survived(|| request).await;
    }
    target.end(600).await;
}
