//! Hobnob's benchmark: the server and its peers, one after the other in interleaved rounds, under the same
//! load, on the same core.
//!
//! ```text
//!   main       rounds × scenarios × peers
//!   report     medians, spreads, ratios and targets as Markdown; plot: as SVG; machine: what it was measured on
//!   scenarios  what the clients do: echo, fanout, churn, idle, durable
//!   stage      a fresh server for each of them; crowd: idle clients as a process
//!   measure    the window between two readings of the clocks
//!   peers      which servers there are and how they start; server: one of them as a process
//!   client     Socket.IO over WebSocket, many clients; packet, frame: their texts
//!   net        sockets on one epoll
//! ```
//!
//! A layer knows those below it. `bin/floor.rs` and `bin/floor_http.rs` are one of the peers.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use crate::{measure::Windows, peers::Peer, report::Report, scenarios::Scenario, stage::Stage};

mod client;
mod crowd;
mod frame;
mod machine;
mod measure;
mod net;
mod packet;
mod peers;
mod plot;
mod report;
mod scenarios;
mod server;
mod stage;
mod stats;

const WARM_UP: Duration = Duration::from_millis(700);
/// Caches are warm after that, just-in-time compilers are not.
const SHORT_WARM_UP: Duration = Duration::from_millis(300);
const SHORT_WINDOW: Duration = Duration::from_millis(700);
/// Stored before a server is started again.
const STORED_MESSAGES: u64 = 100_000;
/// What is written stands between these lines of the page.
const MARKERS: [&str; 2] = ["<!-- benchmark: begin -->", "<!-- benchmark: end -->"];
const PICTURE: &str = "![What an operation costs, times the floor](performance.svg)";

/// Measures Hobnob beside other Socket.IO servers and prints Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// The repository: what is built is looked for below it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Only this scenario; may be repeated.
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// Only these servers, with commas between them.
    #[arg(long, value_delimiter = ',', value_name = "PEERS")]
    peers: Vec<Peer>,
    /// How often every server is measured in every scenario; the median counts.
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: u32,
    /// The length of a measured window.
    #[arg(long, default_value_t = 2, value_name = "S")]
    seconds: u64,
    /// One round of short windows: whether everything works, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Writes docs/performance.md, between its markers, and docs/performance.svg.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// The core for the servers; the load generator should be pinned to another.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    server_core: usize,
    /// Clients that do nothing, of each server.
    #[arg(long, default_value_t = 10_000, value_name = "N", hide = true)]
    clients: usize,
    /// Holds idle clients of this server: what the benchmark starts itself with.
    #[arg(long, value_name = "ADDRESS", hide = true)]
    hold: Option<SocketAddr>,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if let Some(server) = arguments.hold {
        return crowd::hold(server, arguments.clients);
    }
    ensure!(arguments.rounds > 0 && arguments.seconds > 0, "at least one round and one second");
    if arguments.only.is_empty() {
        arguments.only = Scenario::value_variants().to_vec();
    }
    if arguments.peers.is_empty() {
        arguments.peers = Peer::value_variants().to_vec();
    }
    if arguments.quick {
        arguments.rounds = 1;
    }
    let started = Instant::now();
    let report = measure(&arguments)?;
    eprintln!("measured in {} s", started.elapsed().as_secs());
    let setting = machine::describe(&arguments.root, &arguments.peers, arguments.rounds)?;
    let page = format!("{setting}\n{report}");
    print!("{page}");
    if arguments.write {
        write(&arguments.root.join("docs"), &page, &plot::draw(&report))?;
    }
    Ok(())
}

/// All rounds. The rounds are the outermost loop, so that a busy minute hits one of three.
fn measure(arguments: &Arguments) -> Result<Report> {
    let windows = if arguments.quick {
        Windows { warm_up: SHORT_WARM_UP, measured: SHORT_WINDOW }
    } else {
        Windows { warm_up: WARM_UP, measured: Duration::from_secs(arguments.seconds) }
    };
    let stage = Stage {
        root: arguments.root.clone(),
        core: arguments.server_core,
        windows,
        idle_clients: arguments.clients,
        stored_messages: STORED_MESSAGES,
    };
    let mut report = Report::new();
    for round in 1..=arguments.rounds {
        for &scenario in &arguments.only {
            let mut add = |peer: Peer, row: measure::Row| {
                eprintln!("{round}  {:<13} {}: {:.2} {}", peer.name(), row.metric.title, row.cost, row.metric.unit);
                report.add(peer, row);
            };
            scenario.run(&stage, &arguments.peers, &mut add).with_context(|| format!("{scenario:?}, round {round}"))?;
        }
    }
    Ok(report)
}

/// Puts the results where users read them.
fn write(docs: &Path, results: &str, plot: &str) -> Result<()> {
    let path = docs.join("performance.md");
    let page = fs::read_to_string(&path)?;
    let [begin, end] = MARKERS;
    let (before, rest) = page.split_once(begin).with_context(|| format!("{} without {begin}", path.display()))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("{} without {end}", path.display()))?;
    fs::write(&path, format!("{before}{begin}\n\n{PICTURE}\n\n{}\n\n{end}{after}", results.trim()))?;
    fs::write(docs.join("performance.svg"), plot)?;
    Ok(())
}
