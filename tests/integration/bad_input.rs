//! What clients should not send: each is a clear refusal with its code, and nobody else is disturbed.

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

#[tokio::test]
async fn a_wrong_type_is_refused_and_its_field_named() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ben"]).await;
    for (event, payload, expected) in [
        ("message:send", json!("text"), "payload: expected an object"),
        ("message:send", json!([1]), "payload: expected an object"),
        ("message:send", json!({}), "content: required"),
        ("message:send", json!({"content": "a"}), "conversationId: required"),
        ("message:send", json!({"conversationId": id, "content": 5}), "content: expected a string"),
        ("message:send", json!({"conversationId": 5, "content": "a"}), "conversationId: expected a string"),
        ("message:send", json!({"conversationId": "x", "content": "a"}), "conversationId: expected 24 hex digits"),
        ("message:send", json!({"conversationId": id, "to": "ben", "content": "a"}), "to: "),
        ("message:send", json!({"conversationId": id, "content": "a", "clientId": ""}), "clientId: expected 1 to 128"),
        ("message:send", json!({"conversationId": id, "content": "a", "clientId": {}}), "clientId: expected "),
        ("message:send", json!({"conversationId": id, "content": "a", "mentions": [7]}), "mentions[0]: expected "),
        ("message:send", json!({"conversationId": id, "content": "a", "type": "system"}), "type: expected "),
        ("message:send", json!({"conversationId": id, "content": "a", "replyTo": id}), "replyTo: expected a message"),
        ("message:send", json!({"to": "", "content": "a"}), "to: expected 1 to 128 bytes"),
        ("message:send", json!({"to": "a\u{202e}b", "content": "a"}), "to: contains "),
        ("message:send", json!({"to": "ann", "content": "a"}), "participants: expected somebody else"),
        ("send-message", json!({"conversationId": id, "content": null}), "content: required"),
        ("message:edit", json!({"content": "a"}), "messageId: required"),
        ("message:edit", json!({"messageId": id, "content": "a", "rev": -1}), "rev: expected "),
        ("message:delete", json!({"messageId": true}), "messageId: expected "),
        ("get-missed-messages", json!({"cursors": []}), "cursors: expected a map"),
        ("get-missed-messages", json!({"cursors": {"x": 1}}), "cursors"),
        ("get-missed-messages", json!({"cursors": {(id.as_str()): 99}}), "cursors."),
        ("get-missed-messages", json!({"cursor": "?"}), "cursor: expected the nextCursor"),
        ("get-missed-messages", json!({"lastSyncDate": "yesterday"}), "lastSyncDate: expected "),
        ("sync-messages", json!({"limit": "many"}), "limit: expected "),
        ("join-conversation", json!({}), "conversationId: required"),
        ("conversation:create", json!({"type": "party", "participants": []}), "type: "),
        ("conversation:create", json!({"type": "direct", "participants": []}), "participants: expected one user"),
        ("conversation:create", json!({"type": "group", "participants": "ben"}), "participants: expected "),
        ("conversation:add-members", json!({"conversationId": id}), "members: required"),
        ("conversation:remove-members", json!({"conversationId": id, "members": [null]}), "members[0]: expected "),
        ("conversation:rename", json!({"conversationId": id, "name": " "}), "name: expected 1 to 100 characters"),
        ("conversation:leave", json!({"conversationId": [id]}), "conversationId: expected "),
    ] {
        let ack = ann.refused("invalid_payload", event, payload.clone()).await;
        let error = ack["error"].as_str().expect("a sentence");
        assert!(error.starts_with(expected), "{event} {payload}: {error}");
        assert!(error.starts_with(ack["field"].as_str().expect("a field")), "{ack}");
    }
}

/// P32: what a user may not see answers as what does not exist, to the letter.
#[tokio::test]
async fn p32_what_is_foreign_is_answered_like_what_is_absent() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let ann = Client::connect(server.address, "ann").await;
    let foreign = ann.group(&["ben"]).await;
    let message = ann.ok("message:send", json!({"conversationId": foreign, "content": "private"})).await;
    let message = message["id"].as_str().expect("an id").to_owned();
    let absent = "0123456789abcdef01234567";
    let eve = Client::connect(server.address, "eve").await;
    let for_conversation = |id: &str| {
        [
            ("message:send", json!({"conversationId": id, "content": "a"})),
            ("get-missed-messages", json!({"conversationId": id})),
            ("join-conversation", json!({"conversationId": id})),
            ("conversation:add-members", json!({"conversationId": id, "members": ["eve"]})),
            ("conversation:remove-members", json!({"conversationId": id, "members": ["ann"]})),
            ("conversation:rename", json!({"conversationId": id, "name": "mine"})),
            ("conversation:leave", json!({"conversationId": id})),
        ]
    };
    let for_message = |id: &str| {
        [("message:edit", json!({"messageId": id, "content": "a"})), ("message:delete", json!({"messageId": id}))]
    };
    let there = for_conversation(&foreign).into_iter().chain(for_message(&message));
    let nowhere = for_conversation(absent).into_iter().chain(for_message(absent));
    for ((event, there), (_, nowhere)) in there.zip(nowhere) {
        let answer = eve.refused("not_found", event, there).await;
        assert_eq!(answer, eve.refused("not_found", event, nowhere).await, "{event}");
    }
    let eve = token::of("eve");
    let members = json!({"members": ["eve"]});
    for (method, path, body, id) in [
        ("GET", "/api/conversations/", Value::Null, &foreign),
        ("POST", "/api/conversations/{}/members", members.clone(), &foreign),
        ("DELETE", "/api/conversations/{}/members", members, &foreign),
        ("GET", "/api/messages/conversation/", Value::Null, &foreign),
        ("PUT", "/api/messages/", json!({"content": "a"}), &message),
        ("DELETE", "/api/messages/", Value::Null, &message),
    ] {
        let path = |id: &str| if path.contains("{}") { path.replace("{}", id) } else { format!("{path}{id}") };
        let mut answers = Vec::new();
        for id in [id, absent, "not-an-id", "%00", "0123456789abcdef0123456%F0", "..%2f..%2fetc", "🦀"] {
            let path = path(id).replace('🦀', "%F0%9F%A6%80");
            let answer = http::call(server.address, &eve, method, &path, &body).await;
            answers.push((answer.status, answer.body));
        }
        assert_eq!(answers[0].0, 404, "{method} {}", path(id));
        assert!(answers[..3].iter().all(|answer| *answer == answers[0]), "{method} {}: {answers:?}", path(id));
        assert!(answers.iter().all(|answer| [400, 404].contains(&answer.0)), "{method} {}: {answers:?}", path(id));
    }
    assert_eq!(ann.missed(json!({}), 500).await.expect("an ack").0.len(), 1, "something has come in");
}

#[tokio::test]
async fn a_text_of_more_than_5000_characters_is_too_long_and_the_limit_is_told() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ben"]).await;
    let of = |count| json!({"conversationId": id, "content": "ü".repeat(count)});
    let sent = ann.ok("message:send", of(5000)).await;
    for length in [5001, 30_000, 400_000] {
        let ack = ann.refused("too_long", "message:send", of(length)).await;
        assert_eq!((&ack["limit"], &ack["field"]), (&json!(5000), &json!("content")));
    }
    let edit = json!({"messageId": sent["id"], "content": "x".repeat(5001)});
    assert_eq!(ann.refused("too_long", "message:edit", edit).await["limit"], 5000);
    let answer = http::call(server.address, &token::of("ann"), "POST", "/api/messages", &of(5001)).await;
    assert_eq!((answer.refusal(), &answer.json()["limit"]), ((400, "too_long".to_owned()), &json!(5000)));
}

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
    let gone = http::request(server.address, "GET", &path, &[], b"").await;
    assert_eq!(gone.status, 400, "the session has ended: {gone:?}");

    let large = json!({"conversationId": bystanders.id, "content": "a", "data": "a".repeat(65_536)});
    let refused = http::call(server.address, &ann, "POST", "/api/messages", &large).await;
    assert_eq!(refused.refusal(), (413, "too_large".to_owned()));
    bystanders.talk().await;
}

#[tokio::test]
async fn a_rest_body_that_is_no_json_object_is_an_invalid_payload() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let bearer = format!("Bearer {}", token::of("ann"));
    let json = ("Content-Type", "application/json");
    for (kind, body) in [
        (json, &b""[..]),
        (json, b"{"),
        (json, b"[]"),
        (json, b"null"),
        (json, b"\xff\xfe"),
        (json, b"{\"content\":\"a\"}x"),
        (("Content-Type", "text/plain"), b"{\"to\":\"ben\",\"content\":\"a\"}"),
        (("Content-Type", "application/x-www-form-urlencoded"), b"to=ben&content=a"),
    ] {
        let headers = [("Authorization", bearer.as_str()), kind];
        let answer = http::request(server.address, "POST", "/api/messages", &headers, body).await;
        assert_eq!(answer.refusal(), (400, "invalid_payload".to_owned()), "{}", String::from_utf8_lossy(body));
    }
    for path in ["/api/conversations?limit=many", "/api/messages/conversation/0123456789abcdef01234567?after=-1"] {
        let answer = http::call(server.address, &token::of("ann"), "GET", path, &Value::Null).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
    }
    let answer = http::call(server.address, &token::of("ann"), "GET", "/nowhere", &Value::Null).await;
    assert_eq!(answer.refusal(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_query_that_is_no_number_is_an_invalid_payload_that_names_it() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    for path in ["/api/conversations?limit=many", "/api/messages/conversation/0123456789abcdef01234567?limit=many"] {
        let answer = http::call(server.address, &token::of("ann"), "GET", path, &Value::Null).await;
        assert_eq!(answer.refusal(), (400, "invalid_payload".to_owned()), "{path}");
        assert!(answer.body.contains("limit: "), "{}", answer.body);
    }
}
