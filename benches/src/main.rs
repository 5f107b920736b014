//! Hobnob's benchmark: the server and its peers, one after the other in interleaved rounds, under the same
//! load, on the same core.
//!
//! ```text
//!   main       rounds × scenarios × peers, each on a fresh server
//!   report     medians, spreads and ratios as Markdown
//!   scenarios  what the clients do: echo, fanout, churn, idle, durable
//!   measure    the window between two readings of the clocks
//!   peers      which servers there are and how they start; server: one of them as a process
//!   client     Socket.IO over WebSocket, many clients; packet, frame: their texts
//!   net        sockets on one epoll
//! ```
//!
//! A layer knows those below it. `bin/floor.rs` and `bin/floor_http.rs` are one of the peers.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use crate::{
    measure::{Row, Windows},
    peers::{Peer, Settings},
    report::Report,
    scenarios::Scenario,
    server::Server,
};

mod client;
mod frame;
mod measure;
mod net;
mod packet;
mod peers;
mod report;
mod scenarios;
mod server;
mod stats;

const WARM_UP: Duration = Duration::from_secs(1);
/// For nobody but the servers of one run on loopback.
const SECRET: &str = "benchmark-secret-of-no-other-use-whatsoever";

/// Measures Hobnob beside other Socket.IO servers and prints Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// The repository: what is built is looked for below it.
    #[arg(long, value_name = "DIR")]
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
    /// The core for the servers; the load generator should be pinned to another.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    server_core: usize,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    ensure!(arguments.rounds > 0 && arguments.seconds > 0, "at least one round and one second");
    if arguments.only.is_empty() {
        arguments.only = Scenario::value_variants().to_vec();
    }
    if arguments.peers.is_empty() {
        arguments.peers = Peer::value_variants().to_vec();
    }
    let mut report = Report::new();
    for &scenario in &arguments.only {
        for round in 1..=arguments.rounds {
            for &peer in &arguments.peers {
                let rows = measure(&arguments, scenario, peer)
                    .with_context(|| format!("{scenario:?}, {}, round {round}", peer.name()))?;
                for row in rows {
                    eprintln!("{round}  {:<13} {}: {:.2} {}", peer.name(), row.metric.title, row.cost, row.metric.unit);
                    report.add(peer, row);
                }
            }
        }
    }
    print!("{report}");
    Ok(())
}

/// One round of one scenario on a fresh server; nothing if the server has no such role.
fn measure(arguments: &Arguments, scenario: Scenario, peer: Peer) -> Result<Vec<Row>> {
    let scratch = arguments.root.join("benches/target/scratch");
    let data = scratch.join(peer.name());
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    let address = server::free_address()?;
    let settings = Settings { address, ping_interval: scenario.ping_interval(), data: &data, secret: SECRET };
    let Some(command) = peer.command(scenario.role(), &arguments.root, &settings) else { return Ok(Vec::new()) };
    let log = scratch.join(format!("{}.log", peer.name()));
    let server = Server::start(&command, address, arguments.server_core, &log)?;
    let windows = Windows { warm_up: WARM_UP, measured: Duration::from_secs(arguments.seconds) };
    let rows = scenario
        .run(&server, windows, SECRET)
        .with_context(|| format!("the server's output is in {}", log.display()))?;
    drop(server);
    fs::remove_dir_all(&data)?;
    Ok(rows)
}
