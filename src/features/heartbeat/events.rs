//! The events of heartbeats.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{SocketId, UserId},
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] = &[ServerEventDoc::of::<MetricsAnswer>()];

/// The client is alive. Any interval will do; missed beats are counted from it. Round trips are measured by the server.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The client's clock; accepted and not believed.
    #[serde(default)]
    pub timestamp: Option<serde_json::Number>,
}

impl ClientEvent for Heartbeat {
    const NAME: &'static str = "heartbeat";
    type Ack = HeartbeatAck;
}

/// The ack of a heartbeat.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatAck {
    /// The server's clock in epoch milliseconds.
    #[schemars(with = "i64")]
    pub server_timestamp: Millis,
    /// The last round trip in milliseconds, as the server measured it; null before the first one.
    pub latency: Option<f64>,
    /// Everything that is known of this connection.
    pub metrics: ConnectionMetrics,
}

/// Asks for the metrics of this connection. Anything may be sent with it, or nothing.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct GetMetrics {}

impl ClientEvent for GetMetrics {
    const NAME: &'static str = "metrics:get";
    const ANSWER: Option<&'static str> = Some("metrics");
    const TAKES_ANYTHING: bool = true;
    type Ack = MetricsAnswer;
}

/// The metrics of a connection, flat and once more as an object; to the socket that asked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MetricsAnswer {
    /// The metrics.
    #[serde(flatten)]
    pub flat: ConnectionMetrics,
    /// The same.
    pub metrics: ConnectionMetrics,
}

impl ServerEvent for MetricsAnswer {
    const NAME: &'static str = "metrics";
}

/// What is known of one connection. Latencies are in milliseconds and null before the first measurement.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionMetrics {
    /// The user.
    pub user_id: UserId,
    /// The socket.
    pub socket_id: SocketId,
    /// The mean round trip.
    pub avg_latency: Option<f64>,
    /// The shortest one.
    pub min_latency: Option<f64>,
    /// The longest one.
    pub max_latency: Option<f64>,
    /// The last one.
    pub last_latency: Option<f64>,
    /// The last beat of the client, or the last answer to a ping, in epoch milliseconds.
    #[schemars(with = "Option<i64>")]
    pub last_heartbeat: Option<Millis>,
    /// Beats that did not come, and pings that were not answered in time.
    pub missed_heartbeats: u64,
    /// The same since the last one that did.
    pub consecutive_missed: u64,
    /// Beats of the client and answers to pings.
    pub total_heartbeats: u64,
}

/// A date in epoch milliseconds, which is what the feature document's metrics have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis(pub Timestamp);

impl Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.as_millis())
    }
}
