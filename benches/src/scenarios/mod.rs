//! What the clients do, one file per kind of load.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{
    measure::Row,
    peers::{Peer, Role},
    server::Server,
    stage::{SECRET, Stage},
};

mod chat;
mod churn;
mod durable;
mod echo;
mod fanout;
mod idle;
mod members;
mod overload;
mod polling;
mod restart;

/// What a chat message is about.
const TEXT: &str = "It is a truth universally acknowledged, that a single man in possession of a good fortune, \
                    must be in want of a wife. (J Austen)";
const _: () = assert!(TEXT.len() == 128, "results are told for 128 bytes");

/// The default of all servers: so rare that pings are no part of what is measured, except with idle clients.
const PING_INTERVAL: Duration = Duration::from_secs(25);

/// A load with its numbers fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// 64 clients, 16 `echo` events with ack in flight each.
    Echo,
    /// One sender, 1,000 receivers in a room; 1 and then 8 messages in flight.
    Fanout,
    /// `message:send` to a conversation of 1,000, all online; 1 and then 8 messages in flight.
    Members,
    /// 100 rooms of 20 members; one member of each sends, 1 message in flight.
    Rooms,
    /// 64 clients over long-polling, one `echo` event with ack in flight each.
    Polling,
    /// 64 clients that connect and leave, over and over.
    Churn,
    /// 64 clients, 4 `message:send` in flight each, acknowledged once on disk; 100 conversations.
    Durable,
    /// Four senders and 1,000 receivers, twice what can be delivered one by one.
    Overload,
    /// `hobnob serve` is ended and started on what it has stored.
    Restart,
    /// 10,000 clients that do nothing but answer pings.
    Idle,
}

impl Scenario {
    /// What a server has to be for it.
    fn role(self) -> Role {
        match self {
            Self::Echo | Self::Fanout | Self::Rooms | Self::Churn | Self::Overload | Self::Idle => Role::Echo,
            Self::Polling => Role::Polling,
            Self::Members | Self::Durable | Self::Restart => Role::Chat,
        }
    }

    /// Runs it once for each of `peers` that has the role.
    pub(crate) fn run(self, stage: &Stage, peers: &[Peer], add: &mut dyn FnMut(Peer, Row)) -> Result<()> {
        if self == Self::Idle {
            return idle::run(stage, peers, add);
        }
        for &peer in peers {
            // Only what is Hobnob's own recovers what Hobnob promises.
            if self == Self::Restart && peer != Peer::Hobnob {
                continue;
            }
            let Some(mut server) = stage.start(peer, self.role(), PING_INTERVAL)? else { continue };
            let rows = self.run_on(&mut server, stage).with_context(|| {
                format!("{self:?}, {}; the server's output is in {}", peer.name(), stage.log(peer).display())
            });
            match rows {
                Ok(rows) => rows.into_iter().for_each(|row| add(peer, row)),
                // Not every server survives it; then it has no row.
                Err(error) if self == Self::Overload && !matches!(peer, Peer::Hobnob | Peer::Floor) => {
                    eprintln!("{error:#}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn run_on(self, server: &mut Server, stage: &Stage) -> Result<Vec<Row>> {
        let windows = stage.windows;
        match self {
            Self::Echo => echo::run(server, windows),
            Self::Fanout => fanout::run_one_room(server, windows),
            Self::Members => members::run(server, windows, SECRET),
            Self::Rooms => fanout::run_many_rooms(server, windows),
            Self::Polling => polling::run(server, windows),
            Self::Churn => churn::run(server, windows),
            Self::Durable => durable::run(server, windows, SECRET),
            Self::Overload => overload::run(server, windows),
            Self::Restart => restart::run(server, stage.stored_messages, SECRET),
            // Of all servers together, see above.
            Self::Idle => Ok(Vec::new()),
        }
    }
}

/// No tokens: anonymous clients.
fn anonymous(count: usize) -> Vec<String> {
    vec![String::new(); count]
}
