//! `message:send`, acknowledged once it is on disk: what a chat message costs that nobody may lose.
//!
//! A conversation has two members, and both are among the senders: each message is delivered twice (to the
//! sender's own client, too), so that storing it is most of the work and forgetting to deliver it shows.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::TEXT;
use crate::{
    client::{Clients, Load},
    measure::{self, Metric, Repeat, Row, Tally, Windows},
    net::{Outbox, Rig},
    packet::{self, Packet},
    server::Server,
};

const USERS: usize = 64;
/// Messages in flight of each user: 256 in total.
const WINDOW: usize = 4;
const CONVERSATIONS: usize = 100;
const MEMBERS: u64 = 2;
const TOKEN_SECONDS: u64 = 3600;
const METRIC: Metric =
    Metric { title: "durable message:send, 256 in flight", unit: "µs/message", operations: "messages" };

pub(crate) fn run(server: &Server, windows: Windows, secret: &str) -> Result<Vec<Row>> {
    let tokens = (0..USERS).map(|user| sign(user, secret)).collect::<Result<Vec<_>>>()?;
    let mut setup = Setup { conversations: vec![String::new(); CONVERSATIONS], created: 0 };
    let mut clients = Clients::connect(server.address(), &tokens, &mut setup)?;
    for conversation in 0..CONVERSATIONS {
        let [creator, other] = members_of(conversation);
        let event = json!(["conversation:create", {
            "type": "group", "name": format!("Room {conversation}"), "participants": [user_id(other)],
        }]);
        packet::emit(clients.outbox(), creator, conversation as u64, [event.to_string().as_bytes()]);
    }
    clients.complete(&mut setup, "create conversations", |setup| setup.created == CONVERSATIONS)?;
    let mut load = Durable::new(&setup.conversations);
    Ok(vec![measure::repeat(METRIC, server, &mut clients, &mut load, windows)?])
}

fn user_id(user: usize) -> String {
    format!("user-{user}")
}

fn members_of(conversation: usize) -> [usize; 2] {
    [conversation % USERS, (conversation + 1) % USERS]
}

/// A JSON Web Token for `user`, HS256.
fn sign(user: usize, secret: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({ "id": user_id(user), "iat": now, "exp": now + TOKEN_SECONDS }).to_string();
    let [header, claims] = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(format!("{header}.{claims}").as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    Ok(format!("{header}.{claims}.{signature}"))
}

/// Collects the ids of the conversations, in the order they were asked for.
#[derive(Debug)]
struct Setup {
    conversations: Vec<String>,
    created: usize,
}

impl Load for Setup {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, _id: usize, packet: &[u8], _now: Instant, _out: &mut Outbox) -> Result<()> {
        if let Packet::Ack(index, arguments) = packet::parse(packet)? {
            packet::ensure_ok(arguments)?;
            let answer: serde_json::Value = serde_json::from_slice(arguments)?;
            let id = answer[0]["conversation"]["id"].as_str().context("an ack without conversation.id")?;
            id.clone_into(&mut self.conversations[usize::try_from(index)?]);
            self.created += 1;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Durable {
    /// The event for each conversation of each user, ready to be sent.
    events: Vec<Vec<String>>,
    /// When the messages of each user in flight were sent, by the remainder of their ack id.
    sent_at: Vec<[Instant; WINDOW]>,
    sent: u64,
    acknowledged: u64,
    delivered: u64,
    stopping: bool,
    tally: Tally,
}

impl Durable {
    fn new(conversations: &[String]) -> Self {
        let mut events = vec![Vec::new(); USERS];
        for (index, id) in conversations.iter().enumerate() {
            let event = json!(["message:send", { "conversationId": id, "content": TEXT }]).to_string();
            for member in members_of(index) {
                events[member].push(event.clone());
            }
        }
        Self {
            events,
            sent_at: vec![[Instant::now(); WINDOW]; USERS],
            sent: 0,
            acknowledged: 0,
            delivered: 0,
            stopping: false,
            tally: Tally::new(),
        }
    }

    /// Sends message `id` of `user`, to the conversations of the user in turn.
    fn send(&mut self, user: usize, id: u64, now: Instant, out: &mut Outbox) {
        let events = &self.events[user];
        let event = &events[(id % events.len() as u64) as usize];
        packet::emit(out, user, id, [event.as_bytes()]);
        self.sent_at[user][(id % WINDOW as u64) as usize] = now;
        self.sent += 1;
    }
}

impl Load for Durable {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, user: usize, packet: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        match packet::parse(packet)? {
            Packet::Ack(id, arguments) => {
                packet::ensure_ok(arguments)?;
                self.acknowledged += 1;
                self.tally.count(now - self.sent_at[user][(id % WINDOW as u64) as usize]);
                if !self.stopping {
                    self.send(user, id + WINDOW as u64, now, out);
                }
            }
            Packet::Event(event) if event.starts_with(br#"["message:new""#) => {
                self.delivered += 1;
                ensure!(self.delivered <= self.sent * MEMBERS, "more deliveries than messages times members");
            }
            Packet::Event(_) => {}
        }
        Ok(())
    }
}

impl Repeat for Durable {
    fn start(&mut self, out: &mut Outbox) {
        let now = Instant::now();
        for user in 0..USERS {
            (0..WINDOW as u64).for_each(|id| self.send(user, id, now, out));
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_settled(&self) -> bool {
        self.acknowledged == self.sent && self.delivered == self.sent * MEMBERS
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
