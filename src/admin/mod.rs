//! What belongs to no single feature: whether the server lives, is ready, and which version it is.
//!
//! Spec: contract, section 7, "Operators".

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, routing::get};
use hyper::StatusCode;
use serde_json::{Value, json};

/// Whether the server can keep its promises at the moment.
#[derive(Debug, Default)]
pub struct Readiness {
    stopping: AtomicBool,
    store_failed: AtomicBool,
}

impl Readiness {
    /// The server is going down: load balancers should send nobody here any more.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The database cannot be written any more.
    pub fn set_store_failed(&self) {
        self.store_failed.store(true, Ordering::Release);
    }

    /// What stands in the way, by promise; empty when ready.
    #[must_use]
    pub fn obstacles(&self) -> Vec<&'static str> {
        let mut obstacles = Vec::new();
        if self.stopping.load(Ordering::Acquire) {
            obstacles.push("stopping");
        }
        if self.store_failed.load(Ordering::Acquire) {
            obstacles.push("P1: the database cannot be written");
        }
        obstacles
    }
}

/// The routes of this module.
pub fn routes(readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .with_state(readiness)
}

/// `GET /readyz`: 200 `{ready: true}`, or 503 with what stands in the way.
async fn ready(State(readiness): State<Arc<Readiness>>) -> (StatusCode, Json<Value>) {
    let obstacles = readiness.obstacles();
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
