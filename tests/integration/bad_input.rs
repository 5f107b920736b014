//! What no client should send, whatever the event: each is a clear refusal with its code, and nobody else is disturbed. What is wrong
//! with the payload of a single event or route is in `cases`.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{client::Client, command::Sandbox, http, packets::Packets, process::Server, token};

/// Two users in a conversation, who go on talking whatever others do.
struct Bystanders {
    ann: Client,
    ben: Client,
    id: String,
}

impl Bystanders {
    async fn of(server: &Server) -> Self {
        let ann = Client::connect(server.address, "ann").await;
        let ben = Client::connect(server.address, "ben").await;
        let id = ann.group(&["ben"]).await;
        Self { ann, ben, id }
    }

    /// A message from one to the other.
    async fn talk(&mut self) {
        let sent = self.ann.ok("message:send", json!({"conversationId": self.id, "content": "hello"})).await;
        assert_eq!(self.ben.event("message:new").await["id"], sent["id"]);
    }
}

#[tokio::test]
async fn a_malformed_packet_closes_its_session_and_no_other() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let mut bystanders = Bystanders::of(&server).await;
    let deep = format!("42[\"message:send\",{}1{}]", "[".repeat(100), "]".repeat(100));
    let long = format!("42[\"{}\"]", "x".repeat(200));
    let packets = [
        "",
        "9",
        "4",
        "4x",
        "42",
        "42[",
        "42{}",
        "42[]",
        "42[1",
        "42[null]",
        "42[\"connect\"]",
        "42[\"disconnect\"]",
        "42[\"a\",]",
        "42[\"a\"]x",
        "42999999999999999999[\"a\"]",
        "42/nowhere,[\"a\"]",
        "43[]",
        "43",
        "45[\"a\"]",
        "4511-[\"a\"]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":9}]",
        "40/messages,{",
        "44{}",
        "0{}",
        deep.as_str(),
        long.as_str(),
    ];
    for packet in packets {
        let mut bad = Packets::join(server.address, "", &token::of("eve")).await;
        bad.send(packet).await;
        // Whoever is still in the session gets an answer to this.
        bad.send("42[\"message:send\"]").await;
        let closed = bad.closed().await;
        let answered = closed.packets.iter().any(|packet| packet.contains("request-failed"));
        assert!(!answered, "{packet:?} was survived: {closed:?}");
        bystanders.talk().await;
    }
    for message in [Message::binary(vec![0xff]), Message::binary(vec![]), Message::binary(b"42[\"a\"]".to_vec())] {
        let mut bad = Packets::join(server.address, "", &token::of("eve")).await;
        bad.send_message(message).await;
        assert_eq!(bad.closed().await.packets.len(), 1, "session:ready and no more");
        bystanders.talk().await;
    }
}

#[tokio::test]
async fn an_unknown_event_is_refused_by_ack_or_event_and_the_socket_stays() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    for namespace in ["/", "/messages", "/notifications"] {
        let auth = json!({"token": token::of("ann")});
        let mut ann = Client::join(server.address, namespace, auth).await.expect("admitted");
        for name in ["nope", "message:new", "__proto__", "mess\u{202e}age", ""] {
            let ack = ann.refused("unknown_event", name, json!({})).await;
            assert!(ack["error"].as_str().is_some_and(|error| error.contains(namespace)), "{ack}");
            ann.emit(name, &Value::Null);
            let told = ann.event("request-failed").await;
            assert_eq!((&told["event"], &told["code"]), (&json!(name), &json!("unknown_event")));
        }
    }
}

/// P32: what a user may not see answers as what does not exist, to the letter.
#[tokio::test]
async fn what_is_too_large_is_refused_as_such_on_every_way_in() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let mut bystanders = Bystanders::of(&server).await;
    let ann = token::of("ann");
    let fill = |bytes: usize| format!("42[\"x\",\"{}\"]", "a".repeat(bytes - 10));

    let mut signed_in = Packets::join(server.address, "", &ann).await;
    signed_in.send(&fill(1_000_000)).await;
    assert!(signed_in.until("42[\"request-failed\"").await.contains("unknown_event"));
    signed_in.send(&fill(1_000_001)).await;
    assert_eq!(signed_in.closed().await.code, Some(1009));

    let mut stranger = Packets::open(server.address).await;
    stranger.send(&fill(65_537)).await;
    assert_eq!(stranger.closed().await.code, Some(1009));

    let opened = http::request(server.address, "GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await;
    let sid: Value = serde_json::from_str(&opened.body[1..]).expect("a handshake");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={}", sid["sid"].as_str().expect("a sid"));
    let refused = http::request(server.address, "POST", &path, &[], fill(65_537).as_bytes()).await;
    assert_eq!(refused.status, 413);
    let poll = async || http::request(server.address, "GET", &path, &[], b"").await;
    let mut gone = poll().await;
    // A poll that comes while the session is ending is told so, with the close packet.
    while gone.body == "1" {
        gone = poll().await;
    }
    assert_eq!(gone.status, 400, "the session has ended: {gone:?}");

    let large = json!({"conversationId": bystanders.id, "content": "a", "data": "a".repeat(65_536)});
    let refused = http::call(server.address, &ann, "POST", "/api/messages", &large).await;
    assert_eq!(refused.refusal(), (413, "too_large".to_owned()));
    bystanders.talk().await;
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_not_found() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    for path in ["/nowhere", "/api", "/api/nowhere", "/api/messages/", "/api/messages/a/b/c", "/%F0"] {
        let answer = http::call(server.address, &token::of("ann"), "GET", path, &Value::Null).await;
        assert_eq!(answer.refusal(), (404, "not_found".to_owned()), "{path}");
    }
}
