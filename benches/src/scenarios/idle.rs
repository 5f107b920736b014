//! Clients that only answer pings: what a connection costs to make, to keep and to remember.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::anonymous;
use crate::{
    client::{Clients, Load},
    measure::{Metric, Row, Stopwatch},
    net::{Outbox, Rig},
    server::Server,
};

const CLIENTS: u64 = 5000;
/// Short, so that a window of this length holds one ping of every client.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How often resident memory is looked at while it settles, and for how long at most.
const GLANCE: Duration = Duration::from_millis(500);
const GLANCES: usize = 8;
/// Memory that changes by less than this between two glances has settled.
const STILL_BYTES: u64 = 64 * 1024;

const CONNECT: Metric = Metric { title: "connect, 5,000 ramped up", unit: "µs/connection", operations: "connections" };
const PING: Metric = Metric { title: "one ping and pong, 5,000 idle", unit: "µs/ping", operations: "pings" };
const MEMORY: Metric = Metric { title: "resident memory of an idle client", unit: "bytes", operations: "clients" };

pub(crate) fn run(server: &Server) -> Result<Vec<Row>> {
    let empty = server.resident_bytes()?;
    let stopwatch = Stopwatch::start(server)?;
    let mut clients = Clients::connect(server.address(), &anonymous(usize::try_from(CLIENTS)?), &mut Silent)?;
    let ramp = stopwatch.read()?;
    settle(server, &mut clients)?;

    let (stopwatch, pings) = (Stopwatch::start(server)?, clients.pings());
    clients.run(&mut Silent, Instant::now() + PING_INTERVAL)?;
    let quiet = stopwatch.read()?;
    let pings = clients.pings() - pings;
    ensure!(pings >= CLIENTS * 9 / 10, "{pings} pings in an interval for {CLIENTS} clients");

    // After the pings: a connection as it is in the long run.
    let resident_bytes = server.resident_bytes()?;
    let row = |metric, cost| Row { metric, cost, pace: None, resident_bytes };
    let memory = resident_bytes.saturating_sub(empty) as f64 / CLIENTS as f64;
    Ok(vec![row(CONNECT, ramp.micros_per(CLIENTS)), row(PING, quiet.micros_per(pings)), row(MEMORY, memory)])
}

/// Waits until the server's memory stands still: allocators and collectors tidy up when they find time.
fn settle(server: &Server, clients: &mut Clients) -> Result<()> {
    let mut before = server.resident_bytes()?;
    for _ in 0..GLANCES {
        clients.run(&mut Silent, Instant::now() + GLANCE)?;
        let now = server.resident_bytes()?;
        if now.abs_diff(before) < STILL_BYTES {
            break;
        }
        before = now;
    }
    Ok(())
}

#[derive(Debug)]
struct Silent;

impl Load for Silent {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, _id: usize, _packet: &[u8], _now: Instant, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }
}
