//! The measured window: warm up, read the clocks, let the load work, read them again, count what came back.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    net::{Outbox, Rig},
    peers::Peer,
    server::{Cpu, Server, own_cpu},
    stats::Histogram,
};

/// How long one measurement takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// Before the clocks are read: caches fill, just-in-time compilers compile.
    pub(crate) warm_up: Duration,
    /// Between the two readings.
    pub(crate) measured: Duration,
}

/// What a load counts.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Operations done.
    pub(crate) operations: u64,
    /// How long each took, seen by the client.
    pub(crate) latencies: Histogram,
}

impl Tally {
    /// Nothing counted.
    pub(crate) fn new() -> Self {
        Self { operations: 0, latencies: Histogram::new() }
    }

    /// Counts one operation.
    #[inline]
    pub(crate) fn count(&mut self, latency: Duration) {
        self.operations += 1;
        self.latencies.record(latency);
    }

    fn clear(&mut self) {
        self.operations = 0;
        self.latencies.clear();
    }
}

/// A load that repeats an operation for as long as it is let.
pub(crate) trait Repeat {
    /// Starts the first operations.
    fn start(&mut self, out: &mut Outbox);
    /// Starts no more from now on.
    fn stop(&mut self);
    /// Whether nothing is under way: every answer expected has come.
    fn is_settled(&self) -> bool;
    /// The counters.
    fn tally(&mut self) -> &mut Tally;
}

/// One line of the results: what one server needed for one kind of operation.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Which kind, the same for every server.
    pub(crate) metric: Metric,
    /// The cost, in the metric's unit.
    pub(crate) cost: f64,
    /// What else the window showed, if it was one of throughput.
    pub(crate) pace: Option<Pace>,
    /// Resident memory at the end of the window, in bytes.
    pub(crate) resident_bytes: u64,
}

/// A kind of operation and the unit its cost is told in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    /// What the clients did; the same for every server, and for no other metric.
    pub(crate) title: &'static str,
    /// The unit of the cost.
    pub(crate) unit: &'static str,
    /// What the rate counts.
    pub(crate) operations: &'static str,
    /// The title of the metric that stands in for this one at servers that have no such role.
    pub(crate) stand_in: Option<&'static str>,
    /// What Hobnob is held to.
    pub(crate) targets: &'static [Target],
}

/// What Hobnob is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At most so many times the cost of another.
    Times(f64, Peer),
    /// At most this cost, in the metric's unit.
    AtMost(f64),
    /// At least so many times the rate of another.
    Rate(f64, Peer),
}

impl Metric {
    /// A metric that every server has in its own right, and that nobody is held to.
    pub(crate) const fn new(title: &'static str, unit: &'static str, operations: &'static str) -> Self {
        Self { title, unit, operations, stand_in: None, targets: &[] }
    }

    /// Whether one cost can be divided by another: what may be nothing cannot.
    pub(crate) fn is_relative(&self) -> bool {
        self.unit != "MB"
    }

    /// The same with what Hobnob is held to.
    pub(crate) const fn held_to(self, targets: &'static [Target]) -> Self {
        Self { targets, ..self }
    }

    /// The same with a metric that stands in for it.
    pub(crate) const fn or_else(self, title: &'static str) -> Self {
        Self { stand_in: Some(title), ..self }
    }
}

/// How fast it went, and who was the limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Operations per second.
    pub(crate) rate: f64,
    /// The kernel's share of the server's CPU time, 0 to 1.
    pub(crate) kernel: f64,
    /// Latency at the median and at the 99th percentile.
    pub(crate) latency_ms: [f64; 2],
    /// The share of its core that the server used, and the load generator of its own.
    pub(crate) busy: [f64; 2],
}

/// Reads the clocks at the start of a window.
#[derive(Debug)]
pub(crate) struct Stopwatch<'a> {
    server: &'a Server,
    cpu: Cpu,
    own: Duration,
    started: Instant,
}

/// What passed between the two readings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elapsed {
    /// CPU time of the server.
    pub(crate) cpu: Duration,
    kernel: f64,
    own: Duration,
    wall: Duration,
}

impl<'a> Stopwatch<'a> {
    /// Starts now.
    pub(crate) fn start(server: &'a Server) -> Result<Self> {
        Ok(Self { server, cpu: server.cpu()?, own: own_cpu()?, started: Instant::now() })
    }

    /// What passed since the start.
    pub(crate) fn read(&self) -> Result<Elapsed> {
        let wall = self.started.elapsed();
        let cpu = self.server.cpu()?;
        Ok(Elapsed {
            cpu: cpu.total.saturating_sub(self.cpu.total),
            kernel: cpu.kernel_share_since(&self.cpu),
            own: own_cpu()?.saturating_sub(self.own),
            wall,
        })
    }
}

impl Elapsed {
    /// CPU microseconds of the server for each of `operations`.
    pub(crate) fn micros_per(&self, operations: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / operations as f64
    }

    /// How fast `operations` went.
    pub(crate) fn pace(&self, operations: u64, latencies: &Histogram) -> Pace {
        Pace {
            rate: operations as f64 / self.wall.as_secs_f64(),
            kernel: self.kernel,
            latency_ms: [0.5, 0.99].map(|share| latencies.quantile_ms(share)),
            busy: [self.cpu, self.own].map(|cpu| cpu.as_secs_f64() / self.wall.as_secs_f64()),
        }
    }
}

/// Measures one load on connected clients, and sees to it that nothing was lost.
pub(crate) fn repeat<L: Repeat, R: Rig<L>>(
    metric: Metric,
    server: &Server,
    clients: &mut R,
    load: &mut L,
    windows: Windows,
) -> Result<Row> {
    load.start(clients.outbox());
    clients.run(load, Instant::now() + windows.warm_up)?;
    load.tally().clear();
    let stopwatch = Stopwatch::start(server)?;
    clients.run(load, Instant::now() + windows.measured)?;
    let elapsed = stopwatch.read()?;
    let tally = load.tally();
    let pace = elapsed.pace(tally.operations, &tally.latencies);
    let cost = elapsed.micros_per(tally.operations);
    let resident_bytes = server.resident_bytes()?;
    load.stop();
    clients.complete(load, "answers outstanding", L::is_settled)?;
    Ok(Row { metric, cost, pace: Some(pace), resident_bytes })
}
