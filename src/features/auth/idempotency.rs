//! Requests of the app's backend that may be repeated: the header `Idempotency-Key` makes a repeat give the first answer again.
//!
//! A handler takes an [`Idempotent`] and runs inside [`Idempotent::run`]. What succeeded is answered again for 24 hours without
//! being done again; what was refused has done nothing and is tried again. Two requests with the same key at the same time run one
//! after the other. A crash between what a request did and the keeping of its answer makes a repeat do it again: where that
//! matters, the rule itself must be repeatable (a message carries a client key).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts as _, Request},
    response::{IntoResponse as _, Response},
};
use hyper::{StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OwnedMutexGuard;

use super::{
    Auth, Backend,
    api_keys::sha256,
    store::{ANSWERS, AnswerRecord},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    server::{Payload, Refusal, decode_json},
    storage::{Batch, CommitError, Store, expiry::sweep},
};

/// The header that names a request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header of an answer that was given before.
pub const REPLAYED: &str = "idempotency-replayed";

/// For how long an answer is kept.
const KEPT: Duration = Duration::from_hours(24);
/// Longest key in bytes.
const MAX_KEY_BYTES: usize = 255;
/// Largest answer that is kept; a repeat of a larger one is told that it was done before, without the body.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Rows that are swept at a time, and the pause between two pages.
const PAGE: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);

/// The answers that are kept, and the keys of what is under way. Clones share them.
#[derive(Clone)]
pub struct Idempotency {
    store: Store,
    /// One lock per key under way: as many as there are requests at the moment.
    running: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A request of the app's backend with a JSON object in its body, or none: then `{}`. A handler that takes one is for backends only.
pub struct Idempotent {
    /// Who asks.
    pub backend: Backend,
    /// The body.
    body: String,
    key: Option<String>,
    fingerprint: [u8; 32],
    idempotency: Idempotency,
}

impl<S: Send + Sync> FromRequest<S> for Idempotent {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        // First of all: what follows is for backends, and reads a body.
        let backend = Backend::from_request_parts(&mut parts, state).await?;
        let idempotency = Auth::of(&parts)?.idempotency().clone();
        let key =
            parts.headers.get(IDEMPOTENCY_KEY).map(|value| key(value.to_str().unwrap_or_default())).transpose()?;
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let is_empty = parts.headers.get(header::CONTENT_TYPE).is_none()
            && parts.headers.get(header::TRANSFER_ENCODING).is_none()
            && parts.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
        let body = if is_empty {
            "{}".to_owned()
        } else {
            let request = Request::from_parts(parts, body);
            let Payload(body) = Payload::<Box<serde_json::value::RawValue>>::from_request(request, state).await?;
            body.get().to_owned()
        };
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let fingerprint = sha256(&[method.as_str().as_bytes(), b"\n", target.as_bytes(), b"\n", body.as_bytes()]);
        Ok(Self { backend, body, key, fingerprint, idempotency })
    }
}

fn key(text: &str) -> Result<String, Refusal> {
    let is_plain = !text.is_empty() && text.len() <= MAX_KEY_BYTES && text.bytes().all(|c| c.is_ascii_graphic());
    is_plain
        .then(|| text.to_owned())
        .ok_or_else(|| Refusal::invalid("Idempotency-Key", "expected 1 to 255 visible characters"))
}

impl Idempotent {
    /// The body as a `T`.
    ///
    /// # Errors
    ///
    /// `invalid_payload`, for the first field that is wrong.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        decode_json(&self.body)
    }

    /// The key of the request, if it has one, as a client key of a rule that knows such keys.
    #[must_use]
    pub fn client_key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("idempotency:{}", hex(&sha256(&[key.as_bytes()]))))
    }

    /// Runs the request, or answers as before when it is a repeat.
    ///
    /// # Errors
    ///
    /// `conflict` when the key was used for another request; else what `request` is refused with.
    pub async fn run<T: Serialize>(
        &self,
        request: impl Future<Output = Result<(StatusCode, T), Refusal>>,
    ) -> Result<Response, Refusal> {
        self.run_once(true, request).await
    }

    /// The same for an answer that must not be kept, such as a token: a repeat runs again.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub async fn run_unkept<T: Serialize>(
        &self,
        request: impl Future<Output = Result<(StatusCode, T), Refusal>>,
    ) -> Result<Response, Refusal> {
        self.run_once(false, request).await
    }

    async fn run_once<T: Serialize>(
        &self,
        is_kept: bool,
        request: impl Future<Output = Result<(StatusCode, T), Refusal>>,
    ) -> Result<Response, Refusal> {
        let Some(key) = &self.key else {
            let (status, answer) = request.await?;
            return Ok((status, Json(answer)).into_response());
        };
        let _running = self.idempotency.wait_for(key).await;
        if let Some(answer) = self.idempotency.find(key)? {
            if answer.fingerprint != self.fingerprint {
                let message = "this Idempotency-Key was used for another request";
                return Err(Refusal::new(ErrorCode::Conflict, message));
            }
            if is_kept {
                return Ok(replay(answer));
            }
        }
        let (status, answer) = request.await?;
        let json = serde_json::to_string(&answer).map_err(|error| {
            tracing::error!(%error, "an answer could not be written as JSON");
            Refusal::new(ErrorCode::Internal, "the answer could not be written")
        })?;
        let record = AnswerRecord {
            fingerprint: self.fingerprint,
            status: status.as_u16(),
            body: (is_kept && json.len() <= MAX_ANSWER_BYTES).then(|| json.clone()),
            at: Timestamp::now(),
        };
        self.idempotency.keep(key, &record).await?;
        Ok((status, [(header::CONTENT_TYPE, "application/json")], json).into_response())
    }
}

fn replay(answer: AnswerRecord) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    match answer.body {
        Some(json) => {
            (status, [(header::CONTENT_TYPE.as_str(), "application/json"), (REPLAYED, "true")], json).into_response()
        }
        None => (StatusCode::NO_CONTENT, [(REPLAYED, "true")]).into_response(),
    }
}

impl Idempotency {
    pub(super) fn new(store: Store) -> Self {
        Self { store, running: Arc::default() }
    }

    /// Waits until no other request with this key is under way, and keeps others waiting until the guard is dropped.
    async fn wait_for(&self, key: &str) -> Running {
        let lock = Arc::clone(self.running().entry(key.to_owned()).or_default());
        let waiting = Arc::clone(&lock).lock_owned();
        // Before the wait: whoever gives up waiting leaves nothing behind either.
        let mut running = Running { lock: Some(lock), guard: None, key: key.to_owned(), idempotency: self.clone() };
        running.guard = Some(waiting.await);
        running
    }

    fn find(&self, key: &str) -> Result<Option<AnswerRecord>, Refusal> {
        let found = self.store.get(&ANSWERS, &key.to_owned())?;
        Ok(found.filter(|answer| answer.at.after(KEPT) > Timestamp::now()))
    }

    /// Submits the answer before the first wait, so that it is kept even when nobody waits for it any more.
    fn keep(&self, key: &str, answer: &AnswerRecord) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let mut batch = Batch::new();
        batch.put(&ANSWERS, &key.to_owned(), answer);
        let stored = self.store.commit(batch);
        async move { stored.await.map(|_| ()).map_err(Refusal::from) }
    }

    /// Deletes answers that are older than a day.
    pub(in crate::features) async fn sweep(&self) -> Result<(), CommitError> {
        let oldest = Timestamp::now().before(KEPT);
        let mut cursor = None;
        loop {
            let is_old = |_: &_, answer: &AnswerRecord| answer.at < oldest;
            let swept = sweep(&self.store, &ANSWERS, cursor.as_ref(), PAGE, is_old).await?;
            let Some(next) = swept.cursor else { return Ok(()) };
            cursor = Some(next);
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request with a key, under way or waiting for its turn.
struct Running {
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
    guard: Option<OwnedMutexGuard<()>>,
    key: String,
    idempotency: Idempotency,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.idempotency.running();
        self.guard = None;
        self.lock = None;
        // Whoever else waits holds the lock beside the map, and took it under the map's own lock.
        if running.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            running.remove(&self.key);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
