//! `say` to rooms: what a delivery costs. Every message carries a number, so that a loss, a double or a
//! changed order ends the run.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::{TEXT, anonymous};
use crate::{
    client::{Clients, Load},
    measure::{self, Metric, Repeat, Row, Tally, Target, Windows},
    net::{Outbox, Rig},
    packet::{self, Packet},
    peers::Peer,
    server::Server,
};

pub(super) const ONE_AT_A_TIME: Metric = Metric::new("fan-out 1 → 1,000, one at a time", "µs/delivery", "deliveries")
    .held_to(&[
        Target::Times(0.75, Peer::Socketioxide),
        Target::Times(0.5, Peer::Node),
        Target::Times(1.2, Peer::Floor),
    ]);
pub(super) const IN_FLIGHT: Metric = Metric::new("fan-out 1 → 1,000, 8 in flight", "µs/delivery", "deliveries")
    .held_to(&[
        Target::Times(0.65, Peer::Socketioxide),
        Target::Times(0.12, Peer::Node),
        Target::Times(1.5, Peer::Floor),
    ]);
const MANY_ROOMS: Metric = Metric::new("100 rooms × 20 members", "µs/delivery", "deliveries").held_to(&[
    Target::Times(0.75, Peer::Socketioxide),
    Target::Times(0.45, Peer::Node),
    Target::Times(1.3, Peer::Floor),
]);

/// Who is where, and who speaks.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rooms: usize,
    members: usize,
    /// Whether the sender of a room is its first member, or a client in no room.
    sender_is_member: bool,
}

impl Plan {
    fn join(self, server: &Server) -> Result<Clients> {
        let senders = if self.sender_is_member { 0 } else { self.rooms };
        join(server, self.rooms * self.members, self.members, senders)
    }

    fn sender_of(self, room: usize) -> usize {
        if self.sender_is_member { room * self.members } else { self.rooms * self.members + room }
    }

    fn room_of_sender(self, client: usize) -> usize {
        if self.sender_is_member { client / self.members } else { client - self.rooms * self.members }
    }
}

pub(crate) fn run_one_room(server: &Server, windows: Windows) -> Result<Vec<Row>> {
    let plan = Plan { rooms: 1, members: 1000, sender_is_member: false };
    let mut clients = plan.join(server)?;
    let single = measure::repeat(ONE_AT_A_TIME, server, &mut clients, &mut Fanout::new(plan, 1), windows)?;
    let batched = measure::repeat(IN_FLIGHT, server, &mut clients, &mut Fanout::new(plan, 8), windows)?;
    Ok(vec![single, batched])
}

pub(crate) fn run_many_rooms(server: &Server, windows: Windows) -> Result<Vec<Row>> {
    let plan = Plan { rooms: 100, members: 20, sender_is_member: true };
    let mut clients = plan.join(server)?;
    Ok(vec![measure::repeat(MANY_ROOMS, server, &mut clients, &mut Fanout::new(plan, 1), windows)?])
}

/// Connects `members`, who join rooms of `room` each, and `others` behind them.
pub(super) fn join(server: &Server, members: usize, room: usize, others: usize) -> Result<Clients> {
    let mut joins = Joins { acknowledged: 0 };
    let mut clients = Clients::connect(server.address(), &anonymous(members + others), &mut joins)?;
    for member in 0..members {
        let room = (member / room).to_string();
        packet::emit(clients.outbox(), member, 0, [br#"["join","room-"#, room.as_bytes(), br#""]"#]);
    }
    clients.complete(&mut joins, "join", |joins| joins.acknowledged == members)?;
    Ok(clients)
}

#[derive(Debug)]
struct Joins {
    acknowledged: usize,
}

impl Load for Joins {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, _id: usize, packet: &[u8], _now: Instant, _out: &mut Outbox) -> Result<()> {
        if let Packet::Ack(..) = packet::parse(packet)? {
            self.acknowledged += 1;
        }
        Ok(())
    }
}

/// A message of a room on its way.
#[derive(Debug, Clone)]
struct Message {
    sent: Instant,
    /// Deliveries and the ack that are still to come.
    missing: usize,
}

#[derive(Debug)]
struct Fanout {
    plan: Plan,
    window: usize,
    /// The number of each room's next message.
    next: Vec<u64>,
    /// The last `window` messages of each room, by the remainder of their number.
    messages: Vec<Message>,
    /// The number each member has to get next.
    expected: Vec<u64>,
    /// The end of each delivery, after the number.
    tail: String,
    in_flight: usize,
    stopping: bool,
    tally: Tally,
}

impl Fanout {
    fn new(plan: Plan, window: usize) -> Self {
        Self {
            plan,
            window,
            next: vec![0; plan.rooms],
            messages: vec![Message { sent: Instant::now(), missing: 0 }; plan.rooms * window],
            expected: vec![0; plan.rooms * plan.members],
            tail: format!(r#","text":"{TEXT}"}}]"#),
            in_flight: 0,
            stopping: false,
            tally: Tally::new(),
        }
    }

    fn message(&mut self, room: usize, number: u64) -> &mut Message {
        &mut self.messages[room * self.window + (number % self.window as u64) as usize]
    }

    fn say(&mut self, room: usize, now: Instant, out: &mut Outbox) {
        let number = self.next[room];
        self.next[room] += 1;
        self.in_flight += 1;
        *self.message(room, number) = Message { sent: now, missing: self.plan.members + 1 };
        let mut digits = itoa::Buffer::new();
        let room_name = room.to_string();
        let event: [&[u8]; 6] = [
            br#"["say",{"room":"room-"#,
            room_name.as_bytes(),
            br#"","data":{"n":"#,
            digits.format(number).as_bytes(),
            &self.tail.as_bytes()[..self.tail.len() - 1],
            b"}]",
        ];
        packet::emit(out, self.plan.sender_of(room), number, event);
    }

    fn arrived(&mut self, room: usize, number: u64, now: Instant, out: &mut Outbox) -> Result<()> {
        let message = self.message(room, number);
        message.missing = message.missing.checked_sub(1).context("an answer too many")?;
        if message.missing == 0 {
            self.in_flight -= 1;
            if !self.stopping {
                self.say(room, now, out);
            }
        }
        Ok(())
    }

    fn delivered(&mut self, member: usize, event: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        let Some(rest) = event.strip_prefix(br#"["said",{"n":"#) else {
            bail!("unexpected event {}", String::from_utf8_lossy(event));
        };
        let (number, tail) = packet::split_number(rest);
        ensure!(tail == self.tail.as_bytes(), "a delivery that ends in {}", String::from_utf8_lossy(tail));
        let expected = &mut self.expected[member];
        ensure!(number == *expected, "message {number} where {expected} was due");
        *expected += 1;
        let room = member / self.plan.members;
        let sent = self.message(room, number).sent;
        self.tally.count(now - sent);
        self.arrived(room, number, now, out)
    }
}

impl Load for Fanout {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, id: usize, packet: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        match packet::parse(packet)? {
            Packet::Event(event) => self.delivered(id, event, now, out),
            Packet::Ack(number, _) => self.arrived(self.plan.room_of_sender(id), number, now, out),
        }
    }
}

impl Repeat for Fanout {
    fn start(&mut self, out: &mut Outbox) {
        let now = Instant::now();
        for room in 0..self.plan.rooms {
            (0..self.window).for_each(|_| self.say(room, now, out));
        }
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
