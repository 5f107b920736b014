//! P1, P3, P4, P5: what an ack means, what a repeat does, and the one order that everybody sees. The others in the modules below.

mod access;
mod delivery;
mod disk;
mod edges;
mod limits;
mod memory;
mod overload;
mod telling;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    packets::Packets,
    process::{Server, api_key},
    token, within,
};

/// What `look` sees once it sees the same for longer than anything is written behind.
async fn at_rest<T: PartialEq>(look: impl AsyncFn() -> T) -> T {
    let mut seen = look().await;
    let mut since = hobnob::clock::now();
    while hobnob::clock::now().saturating_duration_since(since) < std::time::Duration::from_millis(1500) {
        let next = look().await;
        if next != seen {
            (seen, since) = (next, hobnob::clock::now());
        }
    }
    seen
}

async fn metrics(server: &Server) -> String {
    http::request(server.address, "GET", "/metrics", &[], b"").await.body
}

/// Waits until `/readyz` has this status, and gives its body.
async fn within_ready(server: &Server, expected: u16) -> Value {
    let ready = async {
        loop {
            let answer = http::request(server.address, "GET", "/readyz", &[], b"").await;
            if answer.status == expected {
                return answer.json();
            }
            time_passes(0.05).await;
        }
    };
    within("readiness", Box::pin(ready)).await
}

/// Seconds of processor time that the server has used.
fn cpu_seconds(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// Lets time pass where that is what is looked at: what the server does in it when it should do nothing.
async fn time_passes(seconds: f64) {
    let never = std::future::pending::<()>();
    tokio::time::timeout(std::time::Duration::from_secs_f64(seconds), never).await.unwrap_or_default();
}

/// A server with a group of these users, who are all connected.
async fn group(sandbox: &Sandbox, users: &[&str]) -> (Server, Vec<Client>, String) {
    let server = Server::start(sandbox).await;
    let mut clients = Vec::new();
    for user in users {
        clients.push(Client::connect(server.address, user).await);
    }
    let id = clients[0].group(users).await;
    (server, clients, id)
}

/// What `user` sees of a conversation and of its messages.
async fn seen(server: &Server, user: &str, id: &str) -> (Value, Vec<Value>) {
    let client = Client::connect(server.address, user).await;
    let (token, path) = (token::of(user), format!("/api/conversations/{id}"));
    let conversation = http::call(server.address, &token, "GET", &path, &Value::Null).await.json();
    (conversation, client.missed(json!({}), 500).await.expect("an ack").0)
}

fn names(profiles: &Value) -> Vec<&str> {
    let profiles = profiles.as_array().expect("a list");
    profiles.iter().map(|profile| profile["id"].as_str().expect("an id")).collect()
}

/// SIGKILL right after the ack, once per kind of change: the change is there after the restart.
#[tokio::test]
async fn p1_a_change_that_was_acknowledged_survives_a_kill_right_after_its_ack() {
    let sandbox = Sandbox::new();
    let (mut server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    drop(clients);
    let mut message = Value::Null;
    for step in ["created", "send", "edit", "delete", "add", "remove", "rename", "leave"] {
        let ann = Client::connect(server.address, "ann").await;
        match step {
            "send" => {
                message = ann.ok("message:send", json!({"conversationId": id, "content": "one"})).await["id"].take();
            }
            "edit" => drop(ann.ok("message:edit", json!({"messageId": message, "content": "two"})).await),
            "delete" => drop(ann.ok("message:delete", json!({"messageId": message})).await),
            "add" => {
                ann.ok("conversation:add-members", json!({"conversationId": id, "members": ["cem"]})).await;
            }
            "remove" => {
                ann.ok("conversation:remove-members", json!({"conversationId": id, "members": ["cem"]})).await;
            }
            "rename" => drop(ann.ok("conversation:rename", json!({"conversationId": id, "name": "new"})).await),
            "leave" => drop(ann.ok("conversation:leave", json!({"conversationId": id})).await),
            _ => {}
        }
        server.kill().await;
        server = Server::start(&sandbox).await;
        let (conversation, messages) = seen(&server, "ben", &id).await;
        let ok = match step {
            "send" => messages[0]["content"] == "one",
            "edit" => messages[0]["content"] == "two" && messages[0]["rev"] == 2,
            "delete" => messages[0]["content"] == "" && messages[0]["deleted"] == true,
            "add" => names(&conversation["participants"]) == ["ann", "ben", "cem"],
            "rename" => conversation["name"] == "new",
            "leave" => names(&conversation["participants"]) == ["ben"] && conversation["admins"] == json!(["ben"]),
            // Before anything else, and after the third member has gone again.
            "created" | "remove" => names(&conversation["participants"]) == ["ann", "ben"],
            other => panic!("{other} is checked by nobody"),
        };
        assert!(ok, "{step} was lost: {conversation} {messages:?}");
    }
}

/// Over REST, too, the answer comes after the change is stored.
#[tokio::test]
async fn p1_a_message_that_was_answered_over_rest_survives_a_kill_right_after_the_answer() {
    let sandbox = Sandbox::new();
    let (mut server, _, id) = group(&sandbox, &["ann", "ben"]).await;
    let ann = token::of("ann");
    let draft = json!({"conversationId": id, "content": "kept", "clientId": "k"});
    let sent = http::call(server.address, &ann, "POST", "/api/messages", &draft).await;
    assert_eq!((sent.status, &sent.json()["seq"]), (201, &json!(1)));
    server.kill().await;
    server = Server::start(&sandbox).await;
    let again = http::call(server.address, &ann, "POST", "/api/messages", &draft).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &sent.json()["id"]));
    assert_eq!(seen(&server, "ben", &id).await.1.len(), 1);
}

#[tokio::test]
async fn p3_a_repeat_finds_the_first_message_across_connections_doors_and_restarts() {
    let sandbox = Sandbox::new();
    let (mut server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    let draft = json!({"conversationId": id, "content": "once", "clientId": "key"});
    let first = clients[0].ok("message:send", draft.clone()).await;
    assert_eq!(first["duplicate"], Value::Null);
    for _ in 0..2 {
        let ann = Client::connect(server.address, "ann").await;
        for event in ["message:send", "send-message"] {
            let again = ann.ok(event, draft.clone()).await;
            assert_eq!((&again["id"], &again["seq"], &again["duplicate"]), (&first["id"], &json!(1), &json!(true)));
        }
        let other = json!({"conversationId": id, "content": "another", "clientId": "key"});
        ann.refused("conflict", "message:send", other).await;
        server.kill().await;
        server = Server::start(&sandbox).await;
    }
    let ben = Client::connect(server.address, "ben").await;
    let own = ben.ok("message:send", draft).await;
    assert_eq!((&own["seq"], &own["duplicate"]), (&json!(2), &Value::Null), "keys of different senders met");
    assert_eq!(seen(&server, "ann", &id).await.1.len(), 2);
}

#[tokio::test]
async fn p3_repeats_at_the_same_moment_are_one_message() {
    let sandbox = Sandbox::new();
    let (server, clients, id) = group(&sandbox, &["ann", "ann", "ann", "ben"]).await;
    for round in 0..30 {
        let draft = json!({"conversationId": id, "content": "once", "clientId": format!("key {round}")});
        let acks: Vec<_> = clients[..3].iter().map(|client| client.call("message:send", &draft)).collect();
        let mut first = 0;
        for ack in acks {
            let ack = ack.await.expect("an ack");
            assert_eq!((&ack["ok"], &ack["seq"]), (&json!(true), &json!(round + 1)), "{ack}");
            first += u32::from(ack["duplicate"] != true);
        }
        assert_eq!(first, 1, "each of them is the first, or none is");
    }
    assert_eq!(seen(&server, "ben", &id).await.1.len(), 30);
}

/// Ids in the order in which a connection gets `count` messages; the numbers of the changes must follow each other.
async fn live(mut client: Client, count: u64) -> Vec<Value> {
    let mut ids = Vec::new();
    for seq in 1..=count {
        let mut message = client.event("message:new").await;
        assert_eq!((&message["seq"], &message["changeSeq"]), (&json!(seq), &json!(seq)), "a gap, or another order");
        ids.push(message["id"].take());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_everybody_sees_one_order_live_or_catching_up() {
    const EACH: u64 = 60;
    let sandbox = Sandbox::new();
    let senders = ["ann", "ben", "cem", "dot"];
    let (server, clients, id) = group(&sandbox, &["ann", "ben", "cem", "dot", "eve"]).await;
    let count = EACH * senders.len() as u64;
    let mut readers = JoinSet::new();
    for user in ["eve", "eve", "ann"] {
        readers.spawn(live(Client::connect(server.address, user).await, count));
    }
    let mut sending = JoinSet::new();
    for (client, user) in clients.into_iter().zip(senders) {
        let id = id.clone();
        sending.spawn(async move {
            let draft = |n: u64| json!({"conversationId": id, "content": format!("{user} {n:03}")});
            let acks: Vec<_> = (0..EACH).map(|n| client.call("message:send", &draft(n))).collect();
            let mut seqs = Vec::new();
            for ack in acks {
                seqs.push(ack.await.expect("an ack")["seq"].as_u64().expect("a number"));
            }
            assert!(seqs.is_sorted_by(|a, b| a < b), "{user}'s own messages are out of order: {seqs:?}");
        });
    }
    // One who comes in the middle: what is missing by cursor, in small pages, while more is sent.
    let late = Client::connect(server.address, "eve").await;
    let (mut caught_up, _, cursors) = late.missed(json!({}), 7).await.expect("an ack");
    sending.join_all().await;
    caught_up.extend(late.missed(cursors, 11).await.expect("an ack").0);
    let late: Vec<Value> = caught_up.iter_mut().map(|message| message["id"].take()).collect();
    assert_eq!(late.len() as u64, count);
    for reader in readers.join_all().await {
        assert_eq!(reader, late);
    }
}

#[tokio::test]
async fn p4_acks_and_own_messages_come_in_the_order_of_sending() {
    let sandbox = Sandbox::new();
    let (server, _, id) = group(&sandbox, &["ann", "ben"]).await;
    let mut ann = Packets::join(server.address, "", &token::of("ann")).await;
    for n in 1..=50 {
        ann.send(&format!(r#"42{n}["message:send",{{"conversationId":"{id}","content":"{n}"}}]"#)).await;
    }
    let (mut acks, mut news) = (Vec::new(), Vec::new());
    while acks.len() < 50 || news.len() < 50 {
        let packet = ann.next().await.expect("a packet");
        if let Some(ack) = packet.strip_prefix("43") {
            let (n, ack) = ack.split_once('[').expect("an ack");
            assert!(ack.contains(&format!(r#""content":"{n}""#)), "{packet}");
            acks.push(n.parse::<u32>().expect("a number"));
        } else if packet.starts_with(r#"42["message:new","#) {
            let event: Value = serde_json::from_str(packet.strip_prefix("42").expect("an event")).expect("JSON");
            news.push(event[1]["content"].as_str().expect("a text").parse::<u32>().expect("a number"));
        }
    }
    assert_eq!((&acks, &news), (&(1..=50).collect(), &(1..=50).collect()));
}

/// The connection is cut right after sending: nobody knows what became of it, and asking again is safe.
#[tokio::test]
async fn p5_a_message_without_an_ack_can_be_sent_again_without_being_doubled() {
    let sandbox = Sandbox::new();
    let (server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    for n in 0..20 {
        let draft = json!({"conversationId": id, "content": "perhaps", "clientId": format!("key {n}")});
        let mut cut = Packets::join(server.address, "", &token::of("ann")).await;
        cut.send(&format!(r#"421["message:send",{draft}]"#)).await;
        drop(cut);
        assert_eq!(clients[0].ok("message:send", draft).await["message"]["clientId"], format!("key {n}"));
    }
    let messages = seen(&server, "ben", &id).await.1;
    let keys: Vec<_> = messages.iter().map(|message| message["clientId"].as_str().expect("a key")).collect();
    let expected: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!((keys.len(), expected.len()), (20, 20), "{keys:?}");
}
