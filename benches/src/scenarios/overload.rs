//! More than a server can deliver one by one: whether latency and memory stay where they are, and nothing is lost.
//!
//! The load is open: messages are sent at fixed times, whatever has come back, and latency counts from the time a
//! message was due. Every message carries its number, so that a loss, a double or a changed order ends the run.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{TEXT, fanout};
use crate::{
    client::{Clients, Load},
    measure::{Metric, Row, Stopwatch, Target, Windows},
    net::{Outbox, Rig},
    packet::{self, Packet},
    peers::Peer,
    server::Server,
    stats::Histogram,
};

const MEMBERS: usize = 1000;
const SENDERS: usize = 4;
/// Between two messages, whoever sends them: 200 messages to 1,000 members a second.
const INTERVAL: Duration = Duration::from_millis(5);

const COST: Metric = Metric::new("overload: 200,000 deliveries/s offered", "µs/delivery", "deliveries");
const MEDIAN: Metric = Metric::new("overload: latency at the median", "ms", "deliveries");
const TAIL: Metric = Metric::new("overload: latency at the 99th percentile", "ms", "deliveries")
    .held_to(&[Target::Times(2.0, Peer::Floor)]);
const GROWTH: Metric = Metric::new("overload: growth of resident memory", "MB", "windows");

pub(crate) fn run(server: &Server, windows: Windows) -> Result<Vec<Row>> {
    let mut clients = fanout::join(server, MEMBERS, MEMBERS, SENDERS)?;
    let mut load = Overload::new();
    load.work(&mut clients, windows.warm_up)?;
    load.measured_from = load.next;
    let (before, resident) = (load.delivered, server.resident_bytes()?);
    let stopwatch = Stopwatch::start(server)?;
    load.work(&mut clients, windows.measured)?;
    let elapsed = stopwatch.read()?;
    let delivered = load.delivered - before;
    let resident_bytes = server.resident_bytes()?;
    // What is late counts, too.
    clients.complete(&mut load, "deliveries outstanding", Overload::is_settled)?;
    let pace = elapsed.pace(delivered, &load.latencies);
    let row = |metric, cost| Row { metric, cost, pace: None, resident_bytes };
    let [median, tail] = pace.latency_ms;
    let growth = (resident_bytes as f64 - resident as f64) / 1e6;
    Ok(vec![
        Row { pace: Some(pace), ..row(COST, elapsed.micros_per(delivered)) },
        row(MEDIAN, median),
        row(TAIL, tail),
        row(GROWTH, growth),
    ])
}

#[derive(Debug)]
struct Overload {
    started: Instant,
    /// The number of the next message; the remainder by [`SENDERS`] is who sends it.
    next: u64,
    measured_from: u64,
    /// The number each member has to get next from each sender.
    expected: Vec<[u64; SENDERS]>,
    /// The end of each delivery, after the number.
    tail: String,
    delivered: u64,
    acknowledged: u64,
    latencies: Histogram,
}

impl Overload {
    fn new() -> Self {
        let mut first = [0; SENDERS];
        first.iter_mut().zip(0..).for_each(|(number, sender)| *number = sender);
        Self {
            started: Instant::now(),
            next: 0,
            measured_from: u64::MAX,
            expected: vec![first; MEMBERS],
            tail: format!(r#","text":"{TEXT}"}}]"#),
            delivered: 0,
            acknowledged: 0,
            latencies: Histogram::new(),
        }
    }

    fn due(&self, number: u64) -> Instant {
        self.started + INTERVAL.mul_f64(number as f64)
    }

    /// Sends what is due, when it is due, for some time.
    fn work(&mut self, clients: &mut Clients, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            while self.due(self.next) <= now {
                self.say(clients.outbox());
            }
            let left = self.due(self.next).min(end).saturating_duration_since(now);
            clients.turn(self, left)?;
        }
    }

    fn say(&mut self, out: &mut Outbox) {
        let mut digits = itoa::Buffer::new();
        let event: [&[u8]; 4] = [
            br#"["say",{"room":"room-0","data":{"n":"#,
            digits.format(self.next).as_bytes(),
            &self.tail.as_bytes()[..self.tail.len() - 1],
            b"}]",
        ];
        packet::emit(out, MEMBERS + (self.next % SENDERS as u64) as usize, self.next, event);
        self.next += 1;
    }

    fn is_settled(&self) -> bool {
        self.acknowledged == self.next && self.delivered == self.next * MEMBERS as u64
    }
}

impl Load for Overload {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, member: usize, packet: &[u8], now: Instant, _out: &mut Outbox) -> Result<()> {
        let event = match packet::parse(packet)? {
            Packet::Event(event) => event,
            Packet::Ack(..) => {
                self.acknowledged += 1;
                return Ok(());
            }
        };
        let Some(rest) = event.strip_prefix(br#"["said",{"n":"#) else {
            bail!("unexpected event {}", String::from_utf8_lossy(event));
        };
        let (number, tail) = packet::split_number(rest);
        ensure!(tail == self.tail.as_bytes(), "a delivery that ends in {}", String::from_utf8_lossy(tail));
        let expected = &mut self.expected[member][(number % SENDERS as u64) as usize];
        ensure!(number == *expected, "message {number} where {expected} was due");
        *expected += SENDERS as u64;
        self.delivered += 1;
        if number >= self.measured_from {
            let due = self.due(number);
            self.latencies.record(now.saturating_duration_since(due));
        }
        Ok(())
    }
}
