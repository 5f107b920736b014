//! What belongs to no single feature: whether the server lives, is ready, and which version it is; its metrics.
//!
//! Spec: contract, section 7, "Operators".

pub mod door;

use std::net::SocketAddr;

use axum::{
    Extension, Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use hyper::{StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    http::MetricsAccess,
    server::{Access, Endpoint, Refusal, Rest},
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

/// Whether the server can keep its promises.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the word that probes look for")]
struct Ready {
    /// Whether it can.
    ready: bool,
    /// What stands in the way, if something does; the status is 503 then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    obstacles: Vec<String>,
    /// Promises that are kept in part only, and why. The server is ready all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
}

/// Which program this is.
#[derive(Debug, Serialize, JsonSchema)]
struct Version {
    /// `hobnob`.
    name: &'static str,
    /// Its version.
    version: &'static str,
}

/// The routes of this module.
pub fn routes(admin: &Admin) -> Rest {
    let anyone = |path, summary| Endpoint::get(path, summary).access(Access::Anyone);
    Rest::new()
        .on(anyone("/healthz", "`ok` as text: the process lives."), admin, || async { "ok\n" })
        .on(anyone("/readyz", "Whether the server can keep its promises; 503 if not.").answer::<Ready>(), admin, ready)
        .on(anyone("/version", "Which version runs.").answer::<Version>(), admin, version)
        .on(
            anyone("/metrics", "What was counted, as OpenMetrics text; for whom, `server.metrics` says."),
            admin,
            metrics,
        )
}

/// `GET /readyz`: 200 `{ready: true}`, or 503 with what stands in the way.
async fn ready(State(admin): State<Admin>) -> (StatusCode, Json<Ready>) {
    let obstacles = admin.obstacles.list();
    let ready = obstacles.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, obstacles, degraded: admin.obstacles.degraded() }))
}

/// `GET /version`: `{name, version}`.
async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
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
