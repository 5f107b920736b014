//! P30 to P34: who may what, at the moment of use; and what nobody learns.

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::{api_key, group};
use crate::support::{
    client::Client,
    command::Sandbox,
    http::{self, Answer},
    packets::Packets,
    process::Server,
    token::{self, SECRET, in_seconds, signed},
};

const NAMESPACES: [&str; 3] = ["/", "/messages", "/notifications"];
/// Looks like an id, and is none of anything.
const ABSENT: &str = "0123456789abcdef01234567";

/// Every route that is declared: method, path, and who may use it.
async fn routes(server: &Server) -> Vec<(String, String, &'static str)> {
    let document = http::request(server.address, "GET", "/openapi.json", &[], b"").await.json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let security = operation["security"].as_array().expect("a list");
            let has = |scheme: &str| security.iter().any(|one| one.get(scheme).is_some());
            let access = if has("bearer") {
                "user"
            } else if has("apiKey") {
                "backend"
            } else {
                "anyone"
            };
            routes.push((method.to_uppercase(), path.clone(), access));
        }
    }
    assert!(routes.len() > 40, "{} routes", routes.len());
    routes
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [headers, &[("Content-Type", "application/json")]].concat();
    http::request(server.address, method, path, &headers, b"{}").await
}

#[tokio::test(flavor = "multi_thread")]
async fn p30_every_route_asks_for_its_own_credentials_and_takes_no_others() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let server = Server::start(&sandbox).await;
    let bearer = format!("Bearer {}", token::of("ann"));
    let expired = signed(Algorithm::HS256, &json!({"id": "ann", "exp": in_seconds(-60)}), SECRET);
    let expired = format!("Bearer {expired}");
    for (method, path, access) in routes(&server).await {
        let path = path.replace("{id}", ABSENT);
        let wrong: &[(&str, &str)] = match access {
            "user" => &[("X-Api-Key", &key), ("Authorization", &expired)],
            "backend" => &[("Authorization", &bearer), ("X-Api-Key", SECRET)],
            _ => continue,
        };
        for headers in [&[][..], wrong, &wrong[..1], &wrong[1..]] {
            let answer = ask(&server, &method, &path, headers).await;
            assert_eq!(answer.status, 401, "{method} {path} with {headers:?}: {answer:?}");
        }
        let right = if access == "user" { ("Authorization", bearer.as_str()) } else { ("X-Api-Key", key.as_str()) };
        assert_ne!(ask(&server, &method, &path, &[right]).await.status, 401, "{method} {path}");
    }
}

/// A namespace is joined with its own token: another one on the same connection opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn p30_an_event_is_served_only_in_a_namespace_that_was_joined() {
    let sandbox = Sandbox::new();
    let (server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    let event = format!(r#"["message:send",{{"conversationId":"{id}","content":"smuggled"}}]"#);
    for joined in ["", "/messages,", "/notifications,"] {
        for other in ["", "/messages,", "/notifications,"].into_iter().filter(|other| *other != joined) {
            let mut packets = Packets::join(server.address, joined, &token::of("ann")).await;
            packets.send(&format!("42{other}1{event}")).await;
            let answered = packets.closed().await.packets;
            assert!(!answered.iter().any(|packet| packet.starts_with("43")), "{joined} {other}: {answered:?}");
        }
    }
    // In the namespace of notifications there is no such event, whoever asks.
    let auth = json!({"token": token::of("ann")});
    let ann = Client::join(server.address, "/notifications", auth).await.expect("admitted");
    for name in ["message:send", "message:edit", "get-missed-messages", "conversation:create", "user:typing"] {
        ann.refused("unknown_event", name, json!({"conversationId": id, "content": "a"})).await;
    }
    assert_eq!(clients[1].missed(json!({}), 100).await.expect("an ack").0.len(), 0);
}

/// What somebody may do in a conversation is decided anew for every event: on live sockets, too.
#[tokio::test(flavor = "multi_thread")]
async fn p30_who_is_removed_hears_and_does_nothing_more_on_live_sockets() {
    let sandbox = Sandbox::new();
    let (server, clients, id) = group(&sandbox, &["ann", "ben", "cem"]).await;
    let (ann, cem) = (&clients[0], &clients[2]);
    let auth = json!({"token": token::of("cem")});
    let mut second = Client::join(server.address, "/messages", auth).await.expect("admitted");
    let own = cem.ok("message:send", json!({"conversationId": id, "content": "mine"})).await;
    second.event("message:new").await;
    ann.ok("conversation:remove-members", json!({"conversationId": id, "members": ["cem"]})).await;
    // From the ack on.
    ann.ok("message:send", json!({"conversationId": id, "content": "among ourselves"})).await;
    for (event, payload) in [
        ("message:send", json!({"conversationId": id, "content": "a"})),
        ("message:edit", json!({"messageId": own["id"], "content": "a"})),
        ("message:delete", json!({"messageId": own["id"]})),
        ("message:react", json!({"messageId": own["id"], "emoji": "👍"})),
        ("message:lock", json!({"messageId": own["id"]})),
        ("message:read", json!({"conversationId": id, "upToSeq": 1})),
        ("get-missed-messages", json!({"conversationId": id})),
        ("join-conversation", json!({"conversationId": id})),
        ("conversation:view", json!({"conversationId": id})),
        ("user:typing", json!({"conversationId": id})),
    ] {
        for client in [cem, &second] {
            client.refused("not_found", event, payload.clone()).await;
        }
    }
    let path = format!("/api/messages/conversation/{id}");
    let answer = http::call(server.address, &token::of("cem"), "GET", &path, &Value::Null).await;
    assert_eq!(answer.refusal(), (404, "not_found".to_owned()));
    drop(clients);
    server.kill().await;
    for event in second.closed().await {
        assert!(!event.payload.to_string().contains("among ourselves"), "{event:?}");
    }
}

/// With the default leeway, which is the longest that the promise allows.
#[tokio::test(flavor = "multi_thread")]
async fn p31_a_connection_ends_within_five_seconds_of_its_token() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let ends = in_seconds(2);
    let token = signed(Algorithm::HS256, &json!({"id": "ann", "exp": ends}), SECRET);
    let mut clients = Vec::new();
    for namespace in NAMESPACES {
        clients.push(Client::join(server.address, namespace, json!({"token": token})).await.expect("admitted"));
    }
    let closed = futures_util::future::join_all(clients.into_iter().map(Client::closed)).await;
    let late = hobnob::clock::Timestamp::now().as_millis() - ends * 1000;
    // The event itself has to travel.
    assert!((0..5500).contains(&late), "{late} ms after the end");
    for events in closed {
        assert!(events.iter().any(|event| event.name == "auth:expired"), "{events:?}");
    }
    // The connection ends a moment before the token is refused, so that nobody outlives it.
    while Client::join(server.address, "/", json!({"token": token})).await.is_ok() {
        let late = hobnob::clock::Timestamp::now().as_millis() - ends * 1000;
        assert!(late < 5500, "let in {late} ms after the end");
    }
}

/// Ids of something that eve may not see, by kind, and what stands for nothing in its place.
struct Foreign {
    conversation: String,
    message: String,
    reaction: String,
    notification: String,
}

impl Foreign {
    async fn make(server: &Server, key: &str, ann: &Client) -> Self {
        let conversation = ann.group(&["ben"]).await;
        let sent = ann.ok("message:send", json!({"conversationId": conversation, "content": "private"})).await;
        let reacted = ann.ok("message:react", json!({"messageId": sent["id"], "emoji": "👍"})).await;
        assert_eq!(reacted["ok"], true);
        let page = format!("/api/reactions/messages/{}", sent["id"].as_str().expect("an id"));
        let page = http::call(server.address, &token::of("ann"), "GET", &page, &Value::Null).await.json();
        let headers = [("X-Api-Key", key), ("Content-Type", "application/json")];
        let wish = json!({"userId": "ann", "type": "system", "title": "private"}).to_string();
        let path = "/api/server/notifications";
        let made = http::request(server.address, "POST", path, &headers, wish.as_bytes()).await.json();
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        Self {
            conversation,
            message: text(&sent["id"]),
            reaction: text(&page["reactions"][0]["id"]),
            notification: text(&made["notification"]["id"]),
        }
    }

    /// What a route's `{id}` is.
    fn of(&self, path: &str) -> &str {
        match path {
            path if path.starts_with("/api/conversations/") || path.contains("/conversation/") => &self.conversation,
            path if path.contains("/messages/") => &self.message,
            path if path.starts_with("/api/reactions/") => &self.reaction,
            path if path.starts_with("/api/notifications/") => &self.notification,
            path if path.starts_with("/api/users/") => "ann",
            other => panic!("{other} has an id of an unknown kind"),
        }
    }
}

/// A body with which a route would do something, if the object were one's own.
fn body(method: &str, path: &str, own: &str) -> Value {
    match (method, path) {
        (_, "/api/conversations/{id}/members") => json!({"members": ["eve"]}),
        ("PUT", "/api/messages/{id}") => json!({"content": "a"}),
        ("POST", "/api/messages/{id}/forward") => json!({"conversationIds": [own]}),
        ("POST", "/api/reactions/messages/{id}") => json!({"emoji": "👍"}),
        _ => Value::Null,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p32_over_rest_what_is_foreign_answers_like_what_is_absent() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let server = Server::start(&sandbox).await;
    let (ann, eve) = (Client::connect(server.address, "ann").await, Client::connect(server.address, "eve").await);
    let foreign = Foreign::make(&server, &key, &ann).await;
    let own = eve.group(&["dot"]).await;
    let eve = token::of("eve");
    let with_id = |(_, path, access): &(String, String, &str)| *access == "user" && path.contains("{id}");
    let mut seen = 0;
    for (method, path, _) in routes(&server).await.into_iter().filter(with_id) {
        let body = body(&method, &path, &own);
        let absent = if path.starts_with("/api/users/") { "nobody-at-all" } else { ABSENT };
        let mut answers = Vec::new();
        for id in [foreign.of(&path), absent] {
            let answer = http::call(server.address, &eve, &method, &path.replace("{id}", id), &body).await;
            answers.push((answer.status, answer.body));
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
        assert_eq!(answers[0].0, 404, "{method} {path}: {answers:?}");
        seen += 1;
    }
    assert!(seen > 15, "{seen} routes");
    // Where the id stands in the body.
    for (path, wish) in [
        ("/api/messages", |id: &Foreign, _: &str| json!({"conversationId": id.conversation, "content": "a"})),
        (
            "/api/messages",
            |id: &Foreign, own: &str| json!({"conversationId": own, "content": "a", "replyTo": id.message}),
        ),
        ("/api/messages/delivered", |id: &Foreign, _: &str| json!({"messageIds": [id.message]})),
    ] as [(&str, fn(&Foreign, &str) -> Value); 3]
    {
        let absent = || ABSENT.to_owned();
        let absent = Foreign { conversation: absent(), message: absent(), reaction: absent(), notification: absent() };
        let mut answers = Vec::new();
        for id in [&foreign, &absent] {
            let answer = http::call(server.address, &eve, "POST", path, &wish(id, &own)).await;
            answers.push((answer.status, answer.body));
        }
        assert_eq!(answers[0], answers[1], "{path}");
        assert!(answers[0].0 >= 400, "{path}: {answers:?}");
    }
}

/// Every event with an id, and with which payload it would do something if the object were one's own.
fn events(conversation: &str, message: &str, notification: &str, own: &str) -> Vec<(&'static str, Value)> {
    let (c, m) = (conversation, message);
    vec![
        ("conversation:add-members", json!({"conversationId": c, "members": ["eve"]})),
        ("conversation:leave", json!({"conversationId": c})),
        ("conversation:remove-members", json!({"conversationId": c, "members": ["ann"]})),
        ("conversation:rename", json!({"conversationId": c, "name": "mine"})),
        ("conversation:view", json!({"conversationId": c})),
        ("get-missed-messages", json!({"conversationId": c})),
        ("sync-messages", json!({"conversationId": c})),
        ("join-conversation", json!({"conversationId": c})),
        ("message:delete", json!({"messageId": m})),
        ("message:delivered", json!({"messageId": m})),
        ("message:delivered", json!({"messageIds": [m]})),
        ("message:delivered", json!({"conversationId": c, "upToSeq": 1})),
        ("message:edit", json!({"messageId": m, "content": "a"})),
        ("message:forward", json!({"messageId": m, "conversationIds": [own]})),
        ("message:lock", json!({"messageId": m})),
        ("message:pin", json!({"messageId": m})),
        ("message:react", json!({"messageId": m, "emoji": "👍"})),
        ("message:read", json!({"messageId": m})),
        ("message:read", json!({"conversationId": c, "upToSeq": 1})),
        ("message:send", json!({"conversationId": c, "content": "a"})),
        ("message:send", json!({"conversationId": own, "content": "a", "replyTo": m})),
        ("message:unlock", json!({"messageId": m})),
        ("message:unpin", json!({"messageId": m})),
        ("send-message", json!({"conversationId": c, "content": "a"})),
        ("send-message", json!({"groupId": c, "content": "a"})),
        ("typing:stop", json!({"conversationId": c})),
        ("typing:stop", json!({"groupId": c})),
        ("user:typing", json!({"conversationId": c})),
        ("user:typing", json!({"groupId": c})),
        ("user:typing", json!({"to": c})),
        ("notification:read", json!({"notificationId": notification})),
        ("notification:delete", json!({"notificationId": notification})),
    ]
}

/// The properties of a schema of the document, those of what it is made of included.
fn properties(document: &Value, schema: &Value) -> Map<String, Value> {
    let target = schema["$ref"].as_str().and_then(|path| document.pointer(path.trim_start_matches('#')));
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let mut all = target.map(|target| properties(document, target)).unwrap_or_default();
    all.extend(parts.flat_map(|part| properties(document, part)));
    all.extend(schema["properties"].as_object().cloned().unwrap_or_default());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn p32_over_sockets_what_is_foreign_answers_like_what_is_absent() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let server = Server::start(&sandbox).await;
    let (ann, eve) = (Client::connect(server.address, "ann").await, Client::connect(server.address, "eve").await);
    let foreign = Foreign::make(&server, &key, &ann).await;
    let own = eve.group(&["dot"]).await;
    let there = events(&foreign.conversation, &foreign.message, &foreign.notification, &own);
    let nowhere = events(ABSENT, ABSENT, ABSENT, &own);
    for ((event, there), (_, nowhere)) in there.iter().zip(&nowhere) {
        let one = eve.call(event, there).await.expect("an ack");
        let other = eve.call(event, nowhere).await.expect("an ack");
        let (one_text, other_text) = (one.to_string().replace(&foreign.conversation, ABSENT), other.to_string());
        let alike = one_text == other_text;
        assert!(alike && one["ok"] == false, "{event} {there}: {one} {other}");
    }
    let statuses = eve.ok("status:get", json!({"userIds": ["ann", "nobody-at-all"]})).await;
    assert_eq!(statuses["statuses"], json!({}));
    assert_eq!(ann.missed(json!({}), 100).await.expect("an ack").0.len(), 1, "something has come in");
    // Nobody adds an event without a row above.
    let document = http::request(server.address, "GET", "/asyncapi.json", &[], b"").await.json();
    for message in document["components"]["messages"].as_object().expect("messages") {
        let (Some(name), payload) = (message.0.strip_prefix("receive."), &message.1["payload"]) else { continue };
        let with_id = |field: &String| {
            ["conversationId", "messageId", "notificationId", "messageIds", "groupId"].contains(&field.as_str())
        };
        if properties(&document, payload).keys().any(with_id) {
            let name = name.replace('.', ":");
            assert!(
                there.iter().any(|(event, _)| *event == name || event.replace('.', ":") == name),
                "{name} is not tried"
            );
        }
    }
}

/// Whatever a client says of who it is, when it was and what number it had.
#[tokio::test(flavor = "multi_thread")]
async fn p33_the_sender_is_the_user_of_the_token_whatever_the_payload_says() {
    let sandbox = Sandbox::new();
    let (server, mut clients, id) = group(&sandbox, &["ann", "ben"]).await;
    let lies = json!({
        "conversationId": id, "content": "really from ann", "clientId": "k", "_id": ABSENT, "id": ABSENT, "seq": 77, "rev": 9,
        "changeSeq": 77, "sender": {"_id": "ben", "id": "ben", "username": "ben"}, "senderId": "ben", "from": "ben", "userId": "ben",
        "createdAt": "2001-01-01T00:00:00.000Z", "timestamp": 0, "status": "read", "deliveredTo": 5, "readBy": 5, "deleted": true,
        "edited": true, "reactions": [{"emoji": "x"}], "isPinned": true,
    });
    let mut over_rest = lies.clone();
    over_rest["clientId"] = json!("another");
    let answer = http::call(server.address, &token::of("ann"), "POST", "/api/messages", &over_rest).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    clients[0].ok("message:send", lies).await;
    for seq in 1..=2 {
        let message = clients[1].event("message:new").await;
        assert_eq!((&message["senderId"], &message["seq"], &message["rev"]), (&json!("ann"), &json!(seq), &json!(1)));
        assert!(message["id"] != ABSENT && message["_id"] == message["id"], "{message}");
        assert!(message["createdAt"].as_str().is_some_and(|date| date > "2020"), "{message}");
        let untouched = [&message["edited"], &message["deleted"], &message["isPinned"]];
        assert_eq!(untouched, [&json!(false); 3], "{message}");
        assert_eq!((&message["status"], &message["reactions"]), (&json!("sent"), &json!([])), "{message}");
    }
    // A receipt in the name of somebody else, from the past: it is the caller's, and of now.
    let wish =
        json!({"conversationId": id, "upToSeq": 2, "readBy": "ann", "userId": "ann", "readAt": "2001-01-01T00:00:00Z"});
    clients[1].ok("message:read", wish).await;
    let read = clients[0].event("message:read").await;
    assert_eq!(read["readBy"], "ben", "{read}");
    assert!(read["readAt"].as_str().is_some_and(|date| date > "2020"), "{read}");
    let typing = json!({"conversationId": id, "from": "ann", "userId": "ann"});
    clients[1].ok("user:typing", typing).await;
    assert_eq!(clients[0].event("user:typing").await["userId"], "ben");
    // Nor does a receipt go beyond what there is.
    let ack =
        clients[1].call("message:delivered", &json!({"conversationId": id, "upToSeq": 1000})).await.expect("an ack");
    let size = http::call(server.address, &token::of("ben"), "GET", "/api/queue/size", &Value::Null).await.json();
    clients[0].ok("message:send", json!({"conversationId": id, "content": "third"})).await;
    assert_eq!(clients[1].event("message:new").await["seq"], 3, "{ack} {size}");
}

/// Nothing that a stranger sends is written down, nobody becomes a user, and an event before CONNECT ends the session.
#[tokio::test(flavor = "multi_thread")]
async fn p34_nothing_before_authentication_touches_the_store() {
    let sandbox = Sandbox::new();
    let (server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    drop(clients);
    let stored = async || {
        let text = http::request(server.address, "GET", "/metrics", &[], b"").await.body;
        let count =
            |line: &&str| line.starts_with("hobnob_commits_total") || line.starts_with("hobnob_messages_stored");
        text.lines().filter(count).map(str::to_owned).collect::<Vec<_>>()
    };
    // What the users before have left behind is written by now.
    let before = super::at_rest(stored).await;
    let forged = format!("{}x", token::of("mallory"));
    let expired = signed(Algorithm::HS256, &json!({"id": "mallory", "exp": in_seconds(-60)}), SECRET);
    for bad in ["", "rubbish", &forged, &expired] {
        for namespace in NAMESPACES {
            assert!(Client::join(server.address, namespace, json!({"token": bad})).await.is_err());
        }
        for (method, path, access) in routes(&server).await {
            if access != "anyone" {
                let bearer = format!("Bearer {bad}");
                let headers = [("Authorization", bearer.as_str()), ("X-Api-Key", bad)];
                ask(&server, &method, &path.replace("{id}", &id), &headers).await;
            }
        }
    }
    for packet in [
        format!(r#"421["message:send",{{"conversationId":"{id}","content":"a"}}]"#),
        format!(r#"42/messages,1["message:send",{{"conversationId":"{id}","content":"a"}}]"#),
        r#"421["notifications:list",{}]"#.to_owned(),
    ] {
        let mut stranger = Packets::open(server.address).await;
        stranger.send(&packet).await;
        assert!(stranger.closed().await.packets.is_empty(), "{packet} was answered");
    }
    assert_eq!(stored().await, before);
    let known = sandbox.run(&["user", "ls", "--data-dir", crate::support::process::DATA]).succeeded();
    assert!(!known.contains("mallory"), "{known}");
}
