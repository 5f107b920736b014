//! What operators and their tools ask for.

use serde_json::json;

use super::row::{Access::Anyone, Row, at, route};

pub fn rows() -> Vec<Row> {
    let open = |name| {
        route(name, Anyone)
            .no_refusal("it is for everybody who reaches the server")
            .no_foreign("it names no object")
            .no_bad("it takes nothing")
    };
    let metrics = route("GET /metrics", Anyone)
        .success(at("").holds(json!("*")))
        .no_refusal("`server.metrics` decides for whom it is: tests/integration/operations.rs")
        .no_foreign("it names no object")
        .no_bad("it takes nothing");
    vec![
        open("GET /healthz").success(at("").holds(json!("ok\n"))),
        open("GET /readyz").success(at("").holds(json!({"ready": true}))),
        open("GET /version").success(at("").holds(json!({"name": "hobnob", "version": "*"}))),
        metrics,
        open("GET /openapi.json").success(at("").holds(json!({"openapi": "3.1.0"}))),
        open("GET /asyncapi.json").success(at("").holds(json!({"asyncapi": "3.0.0"}))),
        open("GET /types.d.ts").success(at("").holds(json!("*"))),
    ]
}
