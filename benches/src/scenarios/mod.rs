//! What the clients do, one file per kind of load.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    measure::{Row, Windows},
    peers::Role,
    server::Server,
};

mod churn;
mod durable;
mod echo;
mod fanout;
mod idle;
mod polling;

/// What a chat message is about.
const TEXT: &str = "It is a truth universally acknowledged, that a single man in possession of a good fortune, \
                    must be in want of a wife. (J Austen)";
const _: () = assert!(TEXT.len() == 128, "results are told for 128 bytes");

/// A load with its numbers fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// 64 clients, 16 `echo` events with ack in flight each.
    Echo,
    /// One sender, 1,000 receivers in a room; 1 and then 8 messages in flight.
    Fanout,
    /// 100 rooms of 20 members; one member of each sends, 1 message in flight.
    Rooms,
    /// 64 clients over long-polling, one `echo` event with ack in flight each.
    Polling,
    /// 64 clients that connect and leave, over and over.
    Churn,
    /// 5,000 clients that do nothing but answer pings.
    Idle,
    /// 64 clients, 4 `message:send` in flight each, acknowledged once on disk; 100 conversations.
    Durable,
}

impl Scenario {
    /// What a server has to be for it.
    pub(crate) fn role(self) -> Role {
        match self {
            Self::Echo | Self::Fanout | Self::Rooms | Self::Churn | Self::Idle => Role::Echo,
            Self::Polling => Role::Polling,
            Self::Durable => Role::Chat,
        }
    }

    /// The time between pings. Rare, so that they are no part of what is measured, unless they are.
    pub(crate) fn ping_interval(self) -> Duration {
        match self {
            Self::Idle => idle::PING_INTERVAL,
            Self::Echo | Self::Fanout | Self::Rooms | Self::Polling | Self::Churn | Self::Durable => {
                Duration::from_secs(25)
            }
        }
    }

    /// Runs it once on a fresh server.
    pub(crate) fn run(self, server: &Server, windows: Windows, secret: &str) -> Result<Vec<Row>> {
        match self {
            Self::Echo => echo::run(server, windows),
            Self::Fanout => fanout::run_one_room(server, windows),
            Self::Rooms => fanout::run_many_rooms(server, windows),
            Self::Polling => polling::run(server, windows),
            Self::Churn => churn::run(server, windows),
            Self::Idle => idle::run(server),
            Self::Durable => durable::run(server, windows, secret),
        }
    }
}

/// No tokens: anonymous clients.
fn anonymous(count: usize) -> Vec<String> {
    vec![String::new(); count]
}
