//! Heartbeats and the metrics of a connection.

use serde_json::{Value, json};

use super::row::{CHAT, Row, ask, event};

pub fn rows() -> Vec<Row> {
    let metrics = json!({"userId": "ann", "socketId": "*", "missedHeartbeats": 0, "totalHeartbeats": "*"});
    let beat = event("heartbeat", CHAT)
        .success(ask(json!({"timestamp": 1})).holds(json!({"serverTimestamp": "*", "metrics": metrics})))
        .success(ask(Value::Null).holds(json!({"metrics": metrics})))
        .no_refusal("every client may beat")
        .no_foreign("it is the caller's own connection")
        .bad(ask(json!({"timestamp": "now"})).invalid("timestamp"));
    let mut both = metrics.clone();
    both["metrics"] = metrics;
    let get = event("metrics:get", CHAT)
        .success(ask(json!({"userId": "ben"})).holds(both.clone()))
        .success(ask(Value::Null).holds(both))
        .answered_by("metrics")
        .takes_anything()
        .no_refusal("every client may ask")
        .no_foreign("it is the caller's own connection, whatever is sent")
        .no_bad("anything may be sent");
    vec![beat, get]
}
