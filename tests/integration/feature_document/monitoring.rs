//! "Monitoring & Metrics".

use serde_json::{Value, json};

use super::Walk;

/// "Heartbeat System" and "Getting Metrics".
#[tokio::test]
async fn heartbeats_are_counted_and_the_metrics_come_as_an_event() {
    let walk = Walk::start_with(&[("SOCKET_PING_INTERVAL", "50"), ("RATE_LIMIT_MAX", "100000")]).await;
    let mut ann = walk.join("/messages", "ann").await;
    ann.ok("heartbeat", json!({})).await;
    // The server measures with its pings; the first one is a moment away.
    let metrics = loop {
        ann.emit("metrics:get", &json!({}));
        let metrics = ann.event("metrics").await;
        if metrics["avgLatency"] != Value::Null {
            break metrics;
        }
    };
    assert_eq!(metrics["userId"], "ann");
    assert!(metrics["socketId"].as_str().is_some_and(|id| !id.is_empty()), "{metrics}");
    assert!(metrics["avgLatency"].as_f64().is_some_and(|latency| latency >= 0.0), "{metrics}");
    assert!(metrics["lastHeartbeat"].as_i64().is_some_and(|at| at > 1_700_000_000_000), "{metrics}");
    assert_eq!((&metrics["missedHeartbeats"], &metrics["consecutiveMissed"]), (&json!(0), &json!(0)));
}
