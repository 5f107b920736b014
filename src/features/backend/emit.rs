//! Events of the app's own, to users or rooms of one namespace.

use std::{collections::BTreeSet, sync::Arc};

use axum::{extract::State, response::Response};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::BackendApi;
use crate::{
    features::auth::Idempotent,
    ids::UserId,
    server::{Access, Endpoint, Refusal, Rest},
};

/// Rooms and users of one request.
const MAX_ROOMS: usize = 1000;
/// Longest name of a room in bytes: `user:` and the longest id fit.
const MAX_ROOM_BYTES: usize = 256;
/// Longest name of an event in bytes.
const MAX_EVENT_BYTES: usize = 128;
/// Arguments of one event.
const MAX_ARGS: usize = 16;
/// All arguments together in bytes. Below the smallest queue of a connection, so that one event cannot cut a client off.
const MAX_ARGS_BYTES: usize = 60_000;

pub(super) fn routes(api: &Arc<BackendApi>) -> Rest {
    let endpoint = Endpoint::post("/api/server/emit", "Sends an event of the app's own to users, or to rooms.")
        .access(Access::Backend)
        .body::<Emit>()
        .answer::<Emitted>();
    Rest::new().on(endpoint, api, emit)
}

#[derive(Deserialize, JsonSchema)]
struct Emit {
    /// The namespace; `/` without a wish.
    #[serde(default = "root")]
    namespace: String,
    /// Whom to: all sockets of these users.
    #[serde(default)]
    users: Vec<UserId>,
    /// And these rooms: `conversation:<id>`, `user:<id>`.
    #[serde(default)]
    rooms: Vec<String>,
    /// The name: none that the server itself sends.
    event: String,
    /// What listeners are called with.
    #[serde(default)]
    #[schemars(with = "Vec<serde_json::Value>")]
    args: Vec<Box<RawValue>>,
}

fn root() -> String {
    "/".to_owned()
}

#[derive(Serialize, JsonSchema)]
struct Emitted {
    /// How many sockets it was sent to.
    receivers: usize,
}

impl Emit {
    fn check(&self, api: &BackendApi) -> Result<(), Refusal> {
        if self.event.is_empty() || self.event.len() > MAX_EVENT_BYTES {
            return Err(Refusal::invalid("event", "expected 1 to 128 bytes"));
        }
        if api.reserved.contains(self.event.as_str()) {
            return Err(Refusal::invalid("event", "only the server itself sends this event"));
        }
        if self.rooms.is_empty() && self.users.is_empty() {
            return Err(Refusal::invalid("users", "expected users or rooms"));
        }
        if self.rooms.len() > MAX_ROOMS {
            return Err(Refusal::too_long("rooms", MAX_ROOMS, "users and rooms"));
        }
        if self.rooms.len() + self.users.len() > MAX_ROOMS {
            return Err(Refusal::too_long("users", MAX_ROOMS, "users and rooms"));
        }
        if self.rooms.iter().any(|room| room.is_empty() || room.len() > MAX_ROOM_BYTES) {
            return Err(Refusal::invalid("rooms", "expected names of 1 to 256 bytes"));
        }
        if self.args.len() > MAX_ARGS {
            return Err(Refusal::too_long("args", MAX_ARGS, "arguments"));
        }
        if self.args.iter().map(|arg| arg.get().len()).sum::<usize>() > MAX_ARGS_BYTES {
            return Err(Refusal::too_long("args", MAX_ARGS_BYTES, "bytes"));
        }
        Ok(())
    }
}

/// `POST /api/server/emit {namespace?, users | rooms, event, args?}`.
async fn emit(State(api): State<Arc<BackendApi>>, request: Idempotent) -> Result<Response, Refusal> {
    let wish: Emit = request.body()?;
    wish.check(&api)?;
    let namespace = api.namespaces.iter().find(|namespace| **namespace.name() == *wish.namespace);
    let namespace = namespace.ok_or_else(|| Refusal::invalid("namespace", "there is no such namespace"))?;
    let of_users = wish.users.iter().map(|user| format!("user:{user}"));
    let rooms: BTreeSet<String> = of_users.chain(wish.rooms).collect();
    let args: Vec<&str> = wish.args.iter().map(|arg| arg.get()).collect();
    let answer = async {
        let to = rooms.iter().fold(namespace.all(), |to, room| to.to(room));
        Ok((StatusCode::OK, Emitted { receivers: to.emit_raw(&wish.event, &args, &[]) }))
    };
    request.run(answer).await
}
