//! Connect, enter the namespace, leave: what coming and going costs.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::anonymous;
use crate::{
    client::{Clients, Load},
    frame,
    measure::{self, Metric, Repeat, Row, Tally, Target, Windows},
    net::Outbox,
    peers::Peer,
    server::Server,
};

/// Clients that come and go at the same time.
const CLIENTS: usize = 64;
const METRIC: Metric = Metric::new("churn: connect, CONNECT, leave", "µs/connection", "connections").held_to(&[
    Target::Times(0.75, Peer::Socketioxide),
    Target::Times(0.12, Peer::Node),
    Target::Times(1.5, Peer::Floor),
]);

pub(crate) fn run(server: &Server, windows: Windows) -> Result<Vec<Row>> {
    let mut clients = Clients::new(server.address(), &anonymous(CLIENTS))?;
    let mut load = Churn::new();
    Ok(vec![measure::repeat(METRIC, server, &mut clients, &mut load, windows)?])
}

#[derive(Debug, Clone)]
struct Visit {
    since: Instant,
    leaving: bool,
}

#[derive(Debug)]
struct Churn {
    visits: Vec<Visit>,
    open: usize,
    stopping: bool,
    tally: Tally,
}

impl Churn {
    fn new() -> Self {
        let visits = vec![Visit { since: Instant::now(), leaving: false }; CLIENTS];
        Self { visits, open: 0, stopping: false, tally: Tally::new() }
    }

    fn come(&mut self, id: usize, out: &mut Outbox) {
        self.visits[id] = Visit { since: Instant::now(), leaving: false };
        self.open += 1;
        out.connect(id);
    }
}

impl Load for Churn {
    fn on_ready(&mut self, id: usize, out: &mut Outbox) -> Result<()> {
        // What the official client does: it leaves the namespace, then closes the WebSocket; the server
        // answers the close frame and ends the connection.
        self.visits[id].leaving = true;
        let out = out.of(id);
        frame::push_text(out, &[b"41"]);
        frame::push_close(out);
        Ok(())
    }

    fn on_packet(&mut self, _id: usize, _packet: &[u8], _now: Instant, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_closed(&mut self, id: usize, out: &mut Outbox) -> Result<()> {
        let visit = &self.visits[id];
        ensure!(visit.leaving, "closed by the server before the client left");
        self.tally.count(visit.since.elapsed());
        self.open -= 1;
        if !self.stopping {
            self.come(id, out);
        }
        Ok(())
    }
}

impl Repeat for Churn {
    fn start(&mut self, out: &mut Outbox) {
        (0..CLIENTS).for_each(|id| self.come(id, out));
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_settled(&self) -> bool {
        self.open == 0
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
