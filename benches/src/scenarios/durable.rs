//! `message:send`, acknowledged once it is on disk: what a chat message costs that nobody may lose.
//!
//! A conversation has two members, and both are among the senders: each message is delivered twice (to the
//! sender's own client, too), so that storing it is most of the work and forgetting to deliver it shows.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    TEXT,
    chat::{self, Setup},
};
use crate::{
    client::{Clients, Load},
    measure::{self, Metric, Repeat, Row, Tally, Target, Windows},
    net::{Outbox, Rig},
    packet::{self, Packet},
    peers::Peer,
    server::Server,
};

const USERS: usize = 64;
/// Messages in flight of each user: 256 in total.
const WINDOW: usize = 4;
const CONVERSATIONS: usize = 100;
const MEMBERS: u64 = 2;
const METRIC: Metric = Metric::new("durable message:send, 256 in flight", "µs/message", "messages")
    .held_to(&[Target::Rate(20.0, Peer::Node), Target::AtMost(15.0)]);

pub(crate) fn run(server: &Server, windows: Windows, secret: &str) -> Result<Vec<Row>> {
    let (mut clients, conversations) = connect(server, secret)?;
    Ok(vec![measure::repeat(METRIC, server, &mut clients, &mut Durable::new(&conversations, u64::MAX), windows)?])
}

/// Stores `messages` and names the conversations they are in; user 0 is a member of the first.
pub(super) fn fill(server: &Server, messages: u64, secret: &str) -> Result<Vec<String>> {
    let (mut clients, conversations) = connect(server, secret)?;
    let mut load = Durable::new(&conversations, messages);
    load.start(clients.outbox());
    clients.complete(&mut load, "store messages", |load| load.sent == messages && load.is_settled())?;
    Ok(conversations)
}

fn connect(server: &Server, secret: &str) -> Result<(Clients, Vec<String>)> {
    let mut setup = Setup::new(CONVERSATIONS);
    let mut clients = Clients::connect(server.address(), &chat::tokens(USERS, secret)?, &mut setup)?;
    for conversation in 0..CONVERSATIONS {
        let [creator, other] = members_of(conversation);
        chat::create(clients.outbox(), creator, conversation, &[other]);
    }
    clients.complete(&mut setup, "create conversations", Setup::is_done)?;
    Ok((clients, setup.conversations))
}

fn members_of(conversation: usize) -> [usize; 2] {
    [conversation % USERS, (conversation + 1) % USERS]
}

#[derive(Debug)]
struct Durable {
    /// The event for each conversation of each user, ready to be sent.
    events: Vec<Vec<String>>,
    /// When the messages of each user in flight were sent, by the remainder of their ack id.
    sent_at: Vec<[Instant; WINDOW]>,
    sent: u64,
    limit: u64,
    acknowledged: u64,
    delivered: u64,
    stopping: bool,
    tally: Tally,
}

impl Durable {
    fn new(conversations: &[String], limit: u64) -> Self {
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
            limit,
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
                if !self.stopping && self.sent < self.limit {
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
