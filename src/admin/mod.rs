//! What belongs to no single feature: whether the server lives, is ready, and which version it is; its metrics.
//!
//! Spec: contract, section 7, "Operators".

pub mod door;

use std::net::SocketAddr;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::get,
};
use hyper::{StatusCode, header};
use serde_json::{Value, json};

use crate::{
    http::MetricsAccess,
    server::Refusal,
    telemetry::{Metrics, Obstacles},
};

/// The form of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Headers that a proxy adds: a request with one of them comes from somewhere else than its connection.
const FORWARDED: &[&str] = &["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// What the routes tell of.
#[derive(Clone, Debug)]
pub struct Admin {
    /// What stands in the way at the moment.
    pub obstacles: Obstacles,
    /// What was counted.
    pub metrics: Metrics,
    /// Who may read the metrics.
    pub metrics_access: MetricsAccess,
}

/// The routes of this module.
pub fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// `GET /readyz`: 200 `{ready: true}`, or 503 with what stands in the way.
async fn ready(State(admin): State<Admin>) -> (StatusCode, Json<Value>) {
    let obstacles = admin.obstacles.list();
    if obstacles.is_empty() {
        (StatusCode::OK, Json(json!({"ready": true})))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "obstacles": obstacles})))
    }
}

/// `GET /version`: `{name, version}`.
async fn version() -> Json<Value> {
    Json(json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /metrics`, for those who may read them; for others there is no such path.
async fn metrics(State(admin): State<Admin>, peer: Option<Extension<SocketAddr>>, headers: HeaderMap) -> Response {
    let peer = peer.map(|Extension(peer)| peer);
    if !may_read(admin.metrics_access, peer, &headers) {
        return Refusal::not_found("this path was").into_response();
    }
    ([(header::CONTENT_TYPE, OPEN_METRICS)], admin.metrics.text()).into_response()
}

/// A proxy on this machine is no reason to show the metrics to whomever it lets in.
fn may_read(access: MetricsAccess, peer: Option<SocketAddr>, headers: &HeaderMap) -> bool {
    match access {
        MetricsAccess::Public => true,
        MetricsAccess::Loopback => {
            let is_local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
            is_local && !FORWARDED.iter().any(|name| headers.contains_key(*name))
        }
        MetricsAccess::Off => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn metrics_are_for_this_machine_unless_they_are_made_public() {
        let peer = |text: &str| Some(text.parse().expect("an address"));
        let mut headers = HeaderMap::new();
        for (access, from, expected) in [
            (MetricsAccess::Loopback, peer("127.0.0.1:5"), true),
            (MetricsAccess::Loopback, peer("[::1]:5"), true),
            (MetricsAccess::Loopback, peer("[::ffff:127.0.0.1]:5"), true),
            (MetricsAccess::Loopback, peer("192.0.2.1:5"), false),
            (MetricsAccess::Loopback, None, false),
            (MetricsAccess::Public, peer("192.0.2.1:5"), true),
            (MetricsAccess::Off, peer("127.0.0.1:5"), false),
        ] {
            assert_eq!(may_read(access, from, &headers), expected, "{access:?} {from:?}");
        }
        headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
        assert!(!may_read(MetricsAccess::Loopback, peer("127.0.0.1:5"), &headers), "through a proxy");
    }
}
