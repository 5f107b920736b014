//! Clients that only answer pings: what a connection costs to make, to keep and to remember.
//!
//! The servers of a round are idle together, in the same window: it has to be as long as the time between two
//! pings, and idle servers hardly disturb each other.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::PING_INTERVAL;
use crate::{
    crowd::Crowd,
    measure::{Elapsed, Metric, Row, Stopwatch, Target},
    peers::{Peer, Role},
    server::Server,
    stage::Stage,
};

/// Allocators and collectors tidy up when they find time.
const SETTLE: Duration = Duration::from_secs(2);

const CONNECT: Metric = Metric::new("connect, 10,000 ramped up", "µs/connection", "connections");
const KEEP: Metric = Metric::new("10,000 idle sessions", "µs/session/minute", "sessions");
const MEMORY: Metric = Metric::new("resident memory of an idle session", "bytes", "sessions").held_to(&[
    Target::Times(0.25, Peer::Socketioxide),
    Target::Times(0.3, Peer::Node),
    Target::AtMost(6144.0),
]);

struct Guest {
    peer: Peer,
    server: Server,
    crowd: Crowd,
    /// Resident memory before anyone came.
    empty: u64,
    ramp: Elapsed,
}

pub(crate) fn run(stage: &Stage, peers: &[Peer], add: &mut dyn FnMut(Peer, Row)) -> Result<()> {
    let mut guests = Vec::new();
    for &peer in peers {
        let Some(server) = stage.start(peer, Role::Echo, PING_INTERVAL)? else { continue };
        let empty = server.resident_bytes()?;
        let stopwatch = Stopwatch::start(&server)?;
        let crowd = Crowd::connect(server.address(), stage.idle_clients)?;
        let ramp = stopwatch.read()?;
        guests.push(Guest { peer, server, crowd, empty, ramp });
    }
    thread::sleep(SETTLE);
    let watches = guests.iter().map(|guest| Stopwatch::start(&guest.server)).collect::<Result<Vec<_>>>()?;
    thread::sleep(PING_INTERVAL);
    let quiet = watches.iter().map(Stopwatch::read).collect::<Result<Vec<_>>>()?;
    drop(watches);
    for (guest, quiet) in guests.into_iter().zip(quiet) {
        let Guest { peer, server, crowd, empty, ramp } = guest;
        let clients = stage.idle_clients as u64;
        // After the pings: a connection as it is in the long run.
        let resident_bytes = server.resident_bytes()?;
        let pings = crowd.leave()?;
        ensure!(pings >= clients * 9 / 10, "{}: {pings} pings for {clients} clients", peer.name());
        let row = |metric, cost| Row { metric, cost, pace: None, resident_bytes };
        let minutes = PING_INTERVAL.as_secs_f64() / 60.0;
        add(peer, row(CONNECT, ramp.micros_per(clients)));
        add(peer, row(KEEP, quiet.micros_per(clients) / minutes));
        add(peer, row(MEMORY, resident_bytes.saturating_sub(empty) as f64 / clients as f64));
    }
    Ok(())
}
