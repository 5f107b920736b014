//! `echo` with ack: what an event in and an answer out cost when they come in batches.

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use super::{TEXT, anonymous};
use crate::{
    client::{Clients, Load},
    measure::{self, Metric, Repeat, Row, Tally, Target, Windows},
    net::Outbox,
    packet::{self, Packet},
    peers::Peer,
    server::Server,
};

const CLIENTS: usize = 64;
/// Events in flight on each connection.
const WINDOW: usize = 16;
const METRIC: Metric = Metric::new("echo, 64 × 16 in flight", "µs/ack", "acks").held_to(&[
    Target::Times(0.55, Peer::Socketioxide),
    Target::Times(0.08, Peer::Node),
    Target::Times(2.5, Peer::Floor),
]);

pub(crate) fn run(server: &Server, windows: Windows) -> Result<Vec<Row>> {
    let mut load = Echo::new();
    let mut clients = Clients::connect(server.address(), &anonymous(CLIENTS), &mut load)?;
    Ok(vec![measure::repeat(METRIC, server, &mut clients, &mut load, windows)?])
}

/// One of the events a client has in flight. Its ack ids rise by [`WINDOW`], so that the remainder names it.
#[derive(Debug, Clone)]
struct Slot {
    id: u64,
    sent: Instant,
}

#[derive(Debug)]
struct Echo {
    event: String,
    /// What a server has to acknowledge with.
    answer: String,
    slots: Vec<Slot>,
    in_flight: usize,
    stopping: bool,
    tally: Tally,
}

impl Echo {
    fn new() -> Self {
        let slots = (0..CLIENTS * WINDOW).map(|slot| Slot { id: (slot % WINDOW) as u64, sent: Instant::now() });
        Self {
            event: format!(r#"["echo",{{"text":"{TEXT}"}}]"#),
            answer: format!(r#"[{{"text":"{TEXT}"}}]"#),
            slots: slots.collect(),
            in_flight: 0,
            stopping: false,
            tally: Tally::new(),
        }
    }
}

impl Load for Echo {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, client: usize, packet: &[u8], now: Instant, out: &mut Outbox) -> Result<()> {
        match packet::parse(packet)? {
            Packet::Ack(id, arguments) => {
                let slot = &mut self.slots[client * WINDOW + (id % WINDOW as u64) as usize];
                ensure!(slot.id == id, "ack {id} where {} was due", slot.id);
                ensure!(arguments == self.answer.as_bytes(), "not an echo: {}", String::from_utf8_lossy(arguments));
                self.tally.count(now - slot.sent);
                if self.stopping {
                    self.in_flight -= 1;
                    return Ok(());
                }
                *slot = Slot { id: id + WINDOW as u64, sent: now };
                packet::emit(out, client, slot.id, [self.event.as_bytes()]);
            }
            Packet::Event(event) if packet::is_greeting(event) => {}
            Packet::Event(event) => bail!("unexpected event {}", String::from_utf8_lossy(event)),
        }
        Ok(())
    }
}

impl Repeat for Echo {
    fn start(&mut self, out: &mut Outbox) {
        let now = Instant::now();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.sent = now;
            packet::emit(out, index / WINDOW, slot.id, [self.event.as_bytes()]);
        }
        self.in_flight = self.slots.len();
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
