//! `message:send` to a large conversation whose members are all online: stored, acknowledged, delivered to each.
//! Every message carries its number, so that a loss, a double or a changed order ends the run.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{
    TEXT,
    chat::{self, Setup},
    fanout,
};
use crate::{
    client::{Clients, Load},
    measure::{self, Metric, Repeat, Row, Tally, Target, Windows},
    net::{Outbox, Rig},
    packet::{self, Packet},
    peers::Peer,
    server::Server,
};

const MEMBERS: usize = 1000;
/// Of them, the one who sends.
const SENDER: usize = 0;
const TARGETS: &[Target] = &[Target::Times(1.0, Peer::Socketioxide), Target::Times(1.6, Peer::Floor)];
const ONE_AT_A_TIME: Metric = Metric::new("message:send to 1,000 members, one at a time", "µs/delivery", "deliveries")
    .or_else(fanout::ONE_AT_A_TIME.title)
    .held_to(TARGETS);
const IN_FLIGHT: Metric = Metric::new("message:send to 1,000 members, 8 in flight", "µs/delivery", "deliveries")
    .or_else(fanout::IN_FLIGHT.title)
    .held_to(TARGETS);

pub(crate) fn run(server: &Server, windows: Windows, secret: &str) -> Result<Vec<Row>> {
    let mut setup = Setup::new(1);
    let mut clients = Clients::connect(server.address(), &chat::tokens(MEMBERS, secret)?, &mut setup)?;
    let others: Vec<usize> = (0..MEMBERS).filter(|&member| member != SENDER).collect();
    chat::create(clients.outbox(), SENDER, 0, &others);
    clients.complete(&mut setup, "create the conversation", Setup::is_done)?;
    let conversation = &setup.conversations[0];
    let mut next = 0;
    let mut rows = Vec::new();
    for (metric, window) in [(ONE_AT_A_TIME, 1), (IN_FLIGHT, 8)] {
        let mut load = Members::new(conversation, window, next);
        rows.push(measure::repeat(metric, server, &mut clients, &mut load, windows)?);
        next = load.next;
    }
    Ok(rows)
}

/// A message on its way.
#[derive(Debug, Clone)]
struct Message {
    sent: Instant,
    /// Deliveries and the ack that are still to come.
    missing: usize,
}

#[derive(Debug)]
struct Members {
    conversation: String,
    /// The number of the next message.
    next: u64,
    /// The last messages, by the remainder of their number.
    messages: Vec<Message>,
    /// The number each member has to get next.
    expected: Vec<u64>,
    /// Where the content was in the last delivery: it is where the next one has it, mostly.
    content_at: usize,
    in_flight: usize,
    stopping: bool,
    tally: Tally,
}

impl Members {
    fn new(conversation: &str, window: usize, next: u64) -> Self {
        Self {
            conversation: conversation.to_owned(),
            next,
            messages: vec![Message { sent: Instant::now(), missing: 0 }; window],
            expected: vec![next; MEMBERS],
            content_at: 0,
            in_flight: 0,
            stopping: false,
            tally: Tally::new(),
        }
    }

    fn message(&mut self, number: u64) -> &mut Message {
        let window = self.messages.len() as u64;
        &mut self.messages[(number % window) as usize]
    }

    fn send(&mut self, now: Instant, out: &mut Outbox) {
        let number = self.next;
        self.next += 1;
        self.in_flight += 1;
        *self.message(number) = Message { sent: now, missing: MEMBERS + 1 };
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number);
        let event: [&[u8]; 6] = [
            br#"["message:send",{"conversationId":""#,
            self.conversation.as_bytes(),
            br#"","content":""#,
            digits.as_bytes(),
            &TEXT.as_bytes()[digits.len()..],
            br#""}]"#,
        ];
        packet::emit(out, SENDER, number, event);
    }

    fn arrived(&mut self, number: u64, now: Instant, out: &mut Outbox) -> Result<()> {
        let message = self.message(number);
        message.missing = message.missing.checked_sub(1).context("an answer too many")?;
        if message.missing == 0 {
            self.in_flight -= 1;
            if !self.stopping {
                self.send(now, out);
            }
        }
        Ok(())
    }

    fn delivered(&mut self, member: usize, event: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        const CONTENT: &[u8] = br#""content":""#;
        if !event.get(self.content_at..).is_some_and(|rest| rest.starts_with(CONTENT)) {
            let found = event.windows(CONTENT.len()).position(|window| window == CONTENT);
            self.content_at = found.context("a message without content")?;
        }
        let (number, tail) = packet::split_number(&event[self.content_at + CONTENT.len()..]);
        ensure!(tail.starts_with(&TEXT.as_bytes()[digits_of(number)..]), "not the message that was sent");
        let expected = &mut self.expected[member];
        ensure!(number == *expected, "message {number} where {expected} was due");
        *expected += 1;
        let sent = self.message(number).sent;
        self.tally.count(now - sent);
        self.arrived(number, now, out)
    }
}

fn digits_of(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

impl Load for Members {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, id: usize, packet: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        match packet::parse(packet)? {
            Packet::Event(event) if event.starts_with(br#"["message:new""#) => self.delivered(id, event, now, out),
            // What else members are told, such as who is online.
            Packet::Event(_) => Ok(()),
            Packet::Ack(number, arguments) => {
                packet::ensure_ok(arguments)?;
                self.arrived(number, now, out)
            }
        }
    }
}

impl Repeat for Members {
    fn start(&mut self, out: &mut Outbox) {
        let now = Instant::now();
        (0..self.messages.len()).for_each(|_| self.send(now, out));
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_settled(&self) -> bool {
        self.in_flight == 0
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
