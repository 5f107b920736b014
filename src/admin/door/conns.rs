//! Who is connected.

use std::{net::IpAddr, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{Operator, limit};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    ids::UserId,
    protocol::engineio::Version,
    server::{Params, Payload, Refusal, Socket},
};

/// Shown of a socket id that must not be shown in full, and the least that names a socket.
const SHORT_ID: usize = 6;
/// Behind an id that is not shown in full.
const CUT: &str = "..";

/// One socket. A client has one per namespace.
#[derive(Debug, Serialize)]
pub(super) struct Connection {
    id: String,
    user: Option<String>,
    namespace: Arc<str>,
    transport: &'static str,
    /// Of Engine.IO.
    protocol: u8,
    address: IpAddr,
    since: Timestamp,
}

/// Which connections.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    user: Option<UserId>,
    #[serde(default)]
    limit: Option<usize>,
}

/// The first connections in the order of users, and how many there are.
#[derive(Debug, Serialize)]
pub(super) struct Connections {
    connections: Vec<Connection>,
    total: usize,
}

/// Whom to kick: all connections of a user, or the client of one socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Kick {
    #[serde(default)]
    user: Option<UserId>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// Who was.
#[derive(Debug, Serialize)]
pub(super) struct Kicked {
    connections: Vec<Connection>,
}

/// `GET /v1/connections`.
pub(super) async fn list(
    State(operator): State<Operator>,
    Params(filter): Params<Filter>,
) -> Result<Json<Connections>, Refusal> {
    operator.server()?;
    let mut sockets = match &filter.user {
        Some(user) => of_user(&operator, user.as_str()),
        None => all(&operator),
    };
    let total = sockets.len();
    sockets.sort_by(|one, other| (one.user(), one.id()).cmp(&(other.user(), other.id())));
    sockets.truncate(limit(filter.limit));
    Ok(Json(Connections { connections: sockets.iter().map(view).collect(), total }))
}

/// `POST /v1/connections/kick`: ends sessions. Their clients may come back at once; to keep a user out, block them.
pub(super) async fn kick(
    State(operator): State<Operator>,
    Payload(kick): Payload<Kick>,
) -> Result<Json<Kicked>, Refusal> {
    operator.server()?;
    let sockets = match (&kick.user, &kick.id) {
        (Some(user), None) => of_user(&operator, user.as_str()),
        (None, Some(id)) => vec![named(&operator, id)?],
        (Some(_), Some(_)) | (None, None) => return Err(Refusal::invalid("id", "expected either this or `user`")),
    };
    if let Some(user) = kick.user.as_ref().filter(|_| !kick.dry_run) {
        // Whoever was cut off a moment ago does not get the session back either.
        operator.features.namespaces().iter().for_each(|namespace| namespace.end_parked(user.as_str()));
    }
    if sockets.is_empty() {
        return Err(Refusal::not_found("connection"));
    }
    if !kick.dry_run {
        for socket in &sockets {
            tracing::info!(user = socket.user(), id = shown(socket), "kicked by the operator");
            socket.close_session();
        }
    }
    Ok(Json(Kicked { connections: sockets.iter().map(view).collect() }))
}

/// All sockets.
pub(super) fn all(operator: &Operator) -> Vec<Arc<Socket>> {
    operator.features.namespaces().iter().flat_map(|namespace| namespace.sockets()).collect()
}

/// The sockets of a user.
pub(super) fn of_user(operator: &Operator, user: &str) -> Vec<Arc<Socket>> {
    let mut sockets = all(operator);
    sockets.retain(|socket| socket.user() == Some(user));
    sockets
}

/// The socket that `text` names: its id, or so much of the beginning that there is no other.
fn named(operator: &Operator, text: &str) -> Result<Arc<Socket>, Refusal> {
    let start = text.strip_suffix(CUT).unwrap_or(text);
    let mut sockets = all(operator);
    sockets.retain(|socket| socket.id().as_str().starts_with(start));
    if let Some(exact) = sockets.iter().find(|socket| socket.id().as_str() == start) {
        return Ok(Arc::clone(exact));
    }
    match sockets.as_slice() {
        [socket] if start.len() >= SHORT_ID => Ok(Arc::clone(socket)),
        [] | [_] => Err(Refusal::not_found("connection")),
        [_, _, ..] => {
            Err(Refusal::new(ErrorCode::Conflict, "more than one connection has an id that begins like this"))
        }
    }
}

fn view(socket: &Arc<Socket>) -> Connection {
    Connection {
        id: shown(socket),
        user: socket.user().map(ToOwned::to_owned),
        namespace: Arc::clone(socket.namespace().name()),
        transport: socket.session().transport().as_str(),
        protocol: socket.session().version().number(),
        address: socket.address(),
        since: socket.since(),
    }
}

/// The socket's id. With version 3 it is made of the session's id, which is a credential: whoever has it can read and write in
/// the client's place.
fn shown(socket: &Socket) -> String {
    let id = socket.id().as_str();
    match socket.session().version() {
        Version::V4 => id.to_owned(),
        Version::V3 => {
            let (namespace, sid) = id.rsplit_once('#').map_or(("", id), |(namespace, sid)| (namespace, sid));
            let separator = if namespace.is_empty() { "" } else { "#" };
            format!("{namespace}{separator}{}{CUT}", sid.get(..SHORT_ID).unwrap_or_default())
        }
    }
}
