//! What is logged.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::Operator;
use crate::{
    server::{Payload, Refusal},
    telemetry::BadFilter,
};

/// The levels in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    levels: String,
    socket_events: bool,
}

/// What to change, until the next start or reload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Change {
    #[serde(default)]
    levels: Option<String>,
    #[serde(default)]
    socket_events: Option<bool>,
}

/// `GET /v1/log`.
pub(super) async fn show(State(operator): State<Operator>) -> Result<Json<Log>, Refusal> {
    let (levels, socket_events) = operator.server()?.current();
    Ok(Json(Log { levels, socket_events }))
}

/// `POST /v1/log`.
pub(super) async fn set(
    State(operator): State<Operator>,
    Payload(change): Payload<Change>,
) -> Result<Json<Log>, Refusal> {
    let levels = operator.server()?;
    if let Some(set) = &change.levels {
        // The library would take a misspelt level for the name of a module, and log all of that.
        if let Some(other) = set.split(',').map(str::trim).find(|part| !part.contains('=') && !is_level(part)) {
            return Err(Refusal::invalid("levels", &format!("{other:?} is no level; {BadFilter}")));
        }
        levels.set(set).map_err(|error| Refusal::invalid("levels", &error.to_string()))?;
    }
    if let Some(on) = change.socket_events {
        levels.set_socket_events(on);
    }
    let (now, socket_events) = levels.current();
    tracing::info!(levels = now, socket_events, "log levels set by the operator");
    Ok(Json(Log { levels: now, socket_events }))
}

fn is_level(text: &str) -> bool {
    text.parse::<tracing::level_filters::LevelFilter>().is_ok()
}
