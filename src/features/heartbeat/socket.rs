//! The Socket.IO handlers of heartbeats.

use std::sync::Arc;

use dashmap::DashMap;

use super::{
    beats::Beats,
    events::{ConnectionMetrics, GetMetrics, Heartbeat, HeartbeatAck, MetricsAnswer, Millis},
};
use crate::{
    clock::{self, Timestamp},
    features::auth::{SignedIn, SocketListener},
    ids::SocketId,
    server::{Refusal, Routes, Socket},
    transport::Latency,
};

/// The beats of all sockets that beat by themselves; a socket that leaves is forgotten.
#[derive(Debug, Default)]
pub struct Heartbeats {
    beats: DashMap<SocketId, Beats>,
}

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, heartbeats: &Arc<Heartbeats>) -> Routes {
    let (beat_in, metrics_in) = (Arc::clone(heartbeats), Arc::clone(heartbeats));
    routes
        .on::<Heartbeat, _, _>(move |socket, _| std::future::ready(beat(&beat_in, &socket)))
        .on::<GetMetrics, _, _>(move |socket, _| std::future::ready(metrics(&metrics_in, &socket)))
}

/// Handles `heartbeat`.
fn beat(heartbeats: &Heartbeats, socket: &Arc<Socket>) -> Result<HeartbeatAck, Refusal> {
    heartbeats.beats.entry(socket.id().clone()).or_default().beat(clock::now());
    let metrics = heartbeats.metrics(socket)?;
    Ok(HeartbeatAck { server_timestamp: Millis(Timestamp::now()), latency: metrics.last_latency, metrics })
}

/// Handles `metrics:get`.
fn metrics(heartbeats: &Heartbeats, socket: &Arc<Socket>) -> Result<MetricsAnswer, Refusal> {
    let metrics = heartbeats.metrics(socket)?;
    Ok(MetricsAnswer { flat: metrics.clone(), metrics })
}

impl Heartbeats {
    fn metrics(&self, socket: &Socket) -> Result<ConnectionMetrics, Refusal> {
        let latency = socket.session().latency();
        if latency.count == 0 {
            // Somebody wants to know: the next time there is something to tell.
            socket.session().measure();
        }
        let beats = self.beats.get(socket.id()).map(|beats| *beats).unwrap_or_default().count(clock::now());
        let pongs = (latency.count > 0).then_some(latency.last_at);
        Ok(ConnectionMetrics {
            user_id: SignedIn::of(socket)?.user.clone(),
            socket_id: socket.id().clone(),
            avg_latency: known(&latency, latency.average_ms()),
            min_latency: known(&latency, f64::from(latency.min) / 1000.0),
            max_latency: known(&latency, f64::from(latency.max) / 1000.0),
            last_latency: known(&latency, f64::from(latency.last) / 1000.0),
            last_heartbeat: beats.last.max(pongs).map(Millis),
            missed_heartbeats: beats.missed.saturating_add(u64::from(latency.missed)),
            consecutive_missed: beats.consecutive.max(u64::from(latency.consecutive_missed)),
            total_heartbeats: beats.total.saturating_add(u64::from(latency.count)),
        })
    }
}

/// Milliseconds to the hundredth, once there is a measurement.
fn known(latency: &Latency, millis: f64) -> Option<f64> {
    (latency.count > 0).then(|| (millis * 100.0).round() / 100.0)
}

impl SocketListener for Heartbeats {
    fn disconnected(&self, socket: &Arc<Socket>, _: &SignedIn, _: &str) {
        self.beats.remove(socket.id());
    }
}
