//! Many who change the same thing at once: everything is exact, and what is gone stays gone.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{client::Client, command::Sandbox, http, process::Server, token};

const USERS: usize = 30;
/// Pins that a conversation takes.
const MAX_PINS: usize = 100;

/// A server with a group of many, and one message in it.
async fn crowd(sandbox: &Sandbox) -> (Server, Vec<Client>, String, Value) {
    let server = Server::start(sandbox).await;
    let names: Vec<String> = (0..USERS).map(|n| format!("user{n:02}")).collect();
    let clients = join_all(names.iter().map(|name| Client::connect(server.address, name))).await;
    let group = clients[0].group(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let draft = json!({"conversationId": group, "content": "secret"});
    let message = clients[0].ok("message:send", draft).await["id"].take();
    (server, clients, group, message)
}

async fn get(server: &Server, path: &str) -> http::Answer {
    http::call(server.address, &token::of("user00"), "GET", path, &Value::Null).await
}

/// How many were done; all others have to be refused with this code.
async fn done(acks: Vec<impl Future<Output = Option<Value>>>, code: &str) -> usize {
    let acks: Vec<Value> = join_all(acks).await.into_iter().map(|ack| ack.expect("an ack")).collect();
    let refused = acks.iter().filter(|ack| ack["ok"] == false);
    refused.for_each(|ack| assert_eq!(ack["code"], code, "{ack}"));
    acks.iter().filter(|ack| ack["ok"] == true).count()
}

#[tokio::test]
async fn all_who_react_at_once_are_counted() {
    let sandbox = Sandbox::new();
    let (server, mut clients, _, message) = crowd(&sandbox).await;
    let react = |client: &Client, emoji| client.call("message:react", &json!({"messageId": message, "emoji": emoji}));
    let acks = ["👍", "🎉", "👀"].into_iter().flat_map(|emoji| clients.iter().map(move |client| (client, emoji)));
    let acks: Vec<_> = acks.map(|(client, emoji)| react(client, emoji)).collect();
    assert_eq!(done(acks, "none").await, 3 * USERS);
    let path = format!("/api/reactions/messages/{}", message.as_str().expect("an id"));
    let list = get(&server, &path).await.json();
    assert_eq!(list["reactions"].as_array().map(Vec::len), Some(3 * USERS));
    let counts: Vec<_> = list["grouped"].as_array().expect("a list").iter().map(|one| one["count"].clone()).collect();
    assert_eq!(counts, [USERS; 3]);
    for seq in 2..=3 * USERS + 1 {
        let told = clients[0].event("reaction:updated").await;
        assert_eq!(told["changeSeq"], seq);
        let counted: u64 =
            told["reactions"].as_array().expect("a list").iter().filter_map(|one| one["count"].as_u64()).sum();
        assert_eq!(counted, seq as u64 - 1, "each is told with the counts of its moment");
    }
}

#[tokio::test]
async fn p11_nothing_lands_on_a_message_and_nothing_is_copied_once_it_is_deleted() {
    let sandbox = Sandbox::new();
    let (server, mut clients, group, message) = crowd(&sandbox).await;
    let there = clients[1].group(&["user01"]).await;
    let react = |client: &Client| client.call("message:react", &json!({"messageId": message, "emoji": "👍"}));
    let forward = json!({"messageId": message, "conversationIds": [there]});
    let mut reactions: Vec<_> = clients[2..15].iter().map(react).collect();
    let mut forwards: Vec<_> = (0..10).map(|_| clients[1].call("message:forward", &forward)).collect();
    let deleted = clients[0].call("message:delete", &json!({"messageId": message}));
    reactions.extend(clients[15..].iter().map(react));
    forwards.extend((0..10).map(|_| clients[1].call("message:forward", &forward)));
    assert_eq!(deleted.await.expect("an ack")["ok"], true);
    let (reacted, forwarded) = (done(reactions, "not_found").await, done(forwards, "not_found").await);

    let deletion = clients[0].event("message:deleted").await;
    assert_eq!(deletion["changeSeq"], reacted + 2, "the last change of the message");
    let path = format!("/api/reactions/messages/{}", message.as_str().expect("an id"));
    assert_eq!(get(&server, &path).await.status, 404);
    let page = get(&server, &format!("/api/messages/conversation/{group}")).await.json();
    assert_eq!((&page["messages"][0]["content"], &page["messages"][0]["reactions"]), (&json!(""), &json!([])));
    let (copies, ..) = clients[1].missed(json!({(there.as_str()): 0}), 500).await.expect("an ack");
    assert_eq!(copies.iter().filter(|one| one["conversationId"] == there.as_str()).count(), forwarded);
    clients[1].refused("not_found", "message:forward", forward).await;
}

#[tokio::test]
async fn no_more_is_pinned_at_once_than_one_by_one() {
    let sandbox = Sandbox::new();
    let (server, clients, group, _) = crowd(&sandbox).await;
    let draft = json!({"conversationId": group, "content": "x"});
    let sends: Vec<_> = (0..MAX_PINS + 20).map(|_| clients[0].call("message:send", &draft)).collect();
    let ids = join_all(sends).await.into_iter().map(|ack| ack.expect("an ack")["id"].take());
    let others = [Client::connect(server.address, "user00").await, Client::connect(server.address, "user00").await];
    let pins = ids.enumerate().map(|(n, id)| others[n % 2].call("message:pin", &json!({"messageId": id}))).collect();
    assert_eq!(done(pins, "queue_full").await, MAX_PINS);
    let pinned = get(&server, &format!("/api/messages/conversation/{group}/pinned")).await.json();
    assert_eq!(pinned["pinnedMessages"].as_array().map(Vec::len), Some(MAX_PINS));
}
