//! The load: senders with several requests in flight, and readers that keep what they get live.

use std::{collections::BTreeMap, net::SocketAddr};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    checker::{Attempt, Deletion, Kind, Place, Receipt},
    support::client::Client,
};

/// Messages of one sender under way at the same time.
const IN_FLIGHT: usize = 6;

/// What one sender does for as long as the server lives; gives what was asked for and what was acknowledged. The messages
/// are numbered from `first` on.
pub async fn send(
    client: Client,
    user: String,
    conversations: Vec<String>,
    (seed, first): (u64, u64),
    acks: watch::Sender<u64>,
) -> Vec<Attempt> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut under_way = FuturesUnordered::new();
    let mut attempts = Vec::new();
    for counter in first.. {
        let conversation = conversations[random.random_range(0..conversations.len())].clone();
        let fate: u32 = random.random_range(0..10);
        let padding = "ü".repeat(random.random_range(0..300));
        let mut attempt = Attempt {
            sender: user.clone(),
            conversation,
            client_id: format!("{user}-{counter}"),
            texts: vec![format!("{user} {counter} {padding}")],
            acked: 0,
            deletion: Deletion::No,
            place: None,
            order: Some(counter),
        };
        let ack = client.call("message:send", &request(&attempt));
        under_way.push(async move {
            let ack = ack.await;
            accept(&mut attempt, ack.as_ref());
            (attempt, fate, ack.is_some())
        });
        if under_way.len() < IN_FLIGHT {
            continue;
        }
        let Some((mut attempt, fate, alive)) = under_way.next().await else { break };
        if alive {
            acks.send_modify(|acks| *acks += 1);
            change(&client, &mut attempt, fate).await;
        }
        attempts.push(attempt);
        if !alive {
            break;
        }
    }
    attempts.extend(under_way.map(|(attempt, ..)| attempt).collect::<Vec<_>>().await);
    attempts
}

/// The request that an attempt stands for.
pub fn request(attempt: &Attempt) -> Value {
    json!({
        "conversationId": attempt.conversation,
        "content": attempt.texts[0],
        "clientId": attempt.client_id,
        "data": {"sender": attempt.sender},
    })
}

/// Notes the ack of a message.
pub fn accept(attempt: &mut Attempt, ack: Option<&Value>) {
    let Some(ack) = ack else { return };
    assert_eq!(ack["ok"], true, "{attempt:?}: {ack}");
    attempt.acked = 1;
    attempt.place = Some(place(&ack["message"]));
    assert_eq!(ack["message"]["content"], attempt.texts[0].as_str());
    assert_eq!((&ack["id"], &ack["seq"]), (&ack["message"]["id"], &ack["message"]["seq"]));
}

/// The place of a message object.
pub fn place(message: &Value) -> Place {
    let seq = message["seq"].as_u64().expect("a number");
    Place { id: message["id"].as_str().expect("an id").to_owned(), seq }
}

/// Some messages are edited, some deleted, some both.
async fn change(client: &Client, attempt: &mut Attempt, fate: u32) {
    let id = attempt.place.as_ref().expect("acknowledged").id.clone();
    if fate < 2 {
        let text = format!("{} edited", attempt.client_id);
        attempt.texts.push(text.clone());
        let Some(ack) = client.call("message:edit", &json!({"messageId": id, "content": text})).await else { return };
        assert_eq!((&ack["ok"], &ack["message"]["rev"]), (&json!(true), &json!(2)), "{ack}");
        attempt.acked = 2;
    }
    if fate == 1 || fate == 2 {
        attempt.deletion = Deletion::Asked;
        let Some(ack) = client.call("message:delete", &json!({"messageId": id})).await else { return };
        assert_eq!(ack["ok"], true, "{ack}");
        attempt.deletion = Deletion::Acked;
    }
}

/// What a client got on one connection, until it ended: by conversation.
pub async fn read(mut client: Client) -> BTreeMap<String, Vec<Receipt>> {
    let mut received = BTreeMap::<String, Vec<Receipt>>::new();
    while let Some(event) = client.next().await {
        let text = || event.payload["content"].as_str().expect("a text").to_owned();
        let kind = match event.name.as_str() {
            "message:new" => Kind::New { seq: event.payload["seq"].as_u64().expect("a number"), text: text() },
            "message:updated" => Kind::Updated { text: text() },
            "message:deleted" => Kind::Deleted,
            _ => continue,
        };
        let id = event.payload["_id"].as_str().expect("an id").to_owned();
        let change_seq = event.payload["changeSeq"].as_u64().expect("a number");
        let conversation = event.payload["conversationId"].as_str().expect("an id").to_owned();
        received.entry(conversation).or_default().push(Receipt { change_seq, id, kind });
    }
    received
}

/// Connects users one after the other.
pub async fn connect(address: SocketAddr, users: &[&str]) -> Vec<Client> {
    let mut clients = Vec::new();
    for user in users {
        clients.push(Client::connect(address, user).await);
    }
    clients
}
