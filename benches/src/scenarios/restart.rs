//! A server with a past is ended and started again: how long until the first message is acknowledged.

use std::time::Instant;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{TEXT, chat, durable};
use crate::{
    client::{Clients, Load},
    measure::{Metric, Row},
    net::{Outbox, Rig},
    packet::{self, Packet},
    server::Server,
};

const AFTER_KILL: Metric = Metric::new("start after kill -9 to first message, 100,000 stored", "ms", "starts");
const AFTER_STOP: Metric = Metric::new("start after SIGTERM to first message, 100,000 stored", "ms", "starts");

pub(crate) fn run(server: &mut Server, messages: u64, secret: &str) -> Result<Vec<Row>> {
    let conversations = durable::fill(server, messages, secret)?;
    let token = chat::tokens(1, secret)?;
    let event = json!(["message:send", { "conversationId": conversations[0], "content": TEXT }]).to_string();
    let mut rows = Vec::new();
    for (metric, signal) in [(AFTER_KILL, Signal::SIGKILL), (AFTER_STOP, Signal::SIGTERM)] {
        let started = server.restart(signal)?;
        let mut first = First { acknowledged: None };
        let mut clients = Clients::connect(server.address(), &token, &mut first)?;
        packet::emit(clients.outbox(), 0, 0, [event.as_bytes()]);
        clients.complete(&mut first, "send a message", |first| first.acknowledged.is_some())?;
        let acknowledged = first.acknowledged.unwrap_or(started);
        let cost = (acknowledged - started).as_secs_f64() * 1e3;
        rows.push(Row { metric, cost, pace: None, resident_bytes: server.resident_bytes()? });
    }
    Ok(rows)
}

#[derive(Debug)]
struct First {
    acknowledged: Option<Instant>,
}

impl Load for First {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, _id: usize, packet: &[u8], now: Instant, _out: &mut Outbox) -> Result<()> {
        if let Packet::Ack(id, arguments) = packet::parse(packet)? {
            packet::ensure_ok(arguments)?;
            ensure!(id == 0, "ack {id} was not due");
            self.acknowledged = Some(now);
        }
        Ok(())
    }
}
