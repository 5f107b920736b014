//! Keys of the app's backend: `hk_<id>_<secret>`, made by the operator, shown once, and stored as a hash.
//!
//! The hashes are kept in memory, so that a wrong key costs no look at the store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::{constant_time, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    refused::each,
    store::{API_KEYS, ApiKeyRecord},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    server::Refusal,
    storage::{Batch, CommitError, StorageError, Store},
};

/// What every key begins with, so that one that was published by mistake can be found.
const PREFIX: &str = "hk_";
/// Random bytes of the public part.
const ID_BYTES: usize = 8;
/// Random bytes of the secret part.
const SECRET_BYTES: usize = 32;
/// Most keys.
const MAX_KEYS: usize = 256;
/// Longest name of a key in characters.
const MAX_NAME_CHARS: usize = 100;
/// Longest text that is looked at.
const MAX_TEXT_BYTES: usize = 128;
/// How exact the last use is kept: a key that is used all the time costs one write in this time.
const LAST_USE_EVERY: Duration = Duration::from_mins(1);

/// A key as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// The public part.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// The keys of the app's backend. Clones share them.
#[derive(Clone)]
pub struct ApiKeys {
    store: Store,
    known: Arc<RwLock<KnownKeys>>,
}

/// What would be accepted, by the public part.
type KnownKeys = HashMap<String, Arc<Known>>;

/// A key that would be accepted.
struct Known {
    name: String,
    hash: [u8; 32],
    last_used_at: Mutex<Option<Timestamp>>,
}

impl ApiKeys {
    /// The keys in `store`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn load(store: &Store) -> Result<Self, StorageError> {
        let mut known = HashMap::new();
        each(store, &API_KEYS, |id, row| {
            let last_used_at = Mutex::new(row.last_used_at);
            known.insert(id, Arc::new(Known { name: row.name, hash: row.hash, last_used_at }));
        })?;
        Ok(Self { store: store.clone(), known: Arc::new(RwLock::new(known)) })
    }

    /// Makes a key. Its text is shown this once and kept nowhere.
    ///
    /// # Errors
    ///
    /// `too_long` or `invalid_payload` for the name, `too_long` when there are 256 keys, and when it cannot be stored.
    pub async fn create(&self, name: &str) -> Result<String, Refusal> {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(Refusal::invalid("name", "expected a text in one line"));
        }
        if name.chars().count() > MAX_NAME_CHARS {
            return Err(Refusal::too_long("name", MAX_NAME_CHARS, "characters"));
        }
        if self.known.read().unwrap_or_else(PoisonError::into_inner).len() >= MAX_KEYS {
            let message = "there are too many API keys: revoke those that nobody uses";
            return Err(Refusal::new(ErrorCode::TooLong, message).with("limit", MAX_KEYS));
        }
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        rand::rng().fill(&mut id);
        rand::rng().fill(&mut secret);
        let id = format!("{:016x}", u64::from_be_bytes(id));
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let hash = sha256(&[secret.as_bytes()]);
        let record = ApiKeyRecord { name: name.to_owned(), hash, created_at: Timestamp::now(), last_used_at: None };
        let mut batch = Batch::new();
        batch.require_absent(&API_KEYS, &id);
        batch.put(&API_KEYS, &id, &record);
        let text = format!("{PREFIX}{id}_{secret}");
        let known = Arc::new(Known { name: record.name, hash, last_used_at: Mutex::default() });
        self.commit(batch, move |keys| {
            keys.insert(id, known);
        })
        .await?;
        Ok(text)
    }

    /// All keys, by the time they were made.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<ApiKey>, Refusal> {
        let mut keys = Vec::new();
        each(&self.store, &API_KEYS, |id, row| {
            keys.push(ApiKey { id, name: row.name, created_at: row.created_at, last_used_at: row.last_used_at });
        })?;
        keys.sort_by_key(|key| key.created_at);
        Ok(keys)
    }

    /// Takes a key back; it is refused from then on.
    ///
    /// # Errors
    ///
    /// `not_found` when there is no such key, and when it cannot be stored.
    pub async fn revoke(&self, id: &str) -> Result<(), Refusal> {
        let id = id.to_owned();
        if self.store.get(&API_KEYS, &id)?.is_none() {
            return Err(Refusal::not_found("API key"));
        }
        let mut batch = Batch::new();
        batch.delete(&API_KEYS, &id);
        self.commit(batch, move |keys| {
            keys.remove(&id);
        })
        .await
    }

    /// The public part and the name of the key whose text this is.
    ///
    /// # Errors
    ///
    /// `unauthorized` for whatever is no key, one sentence for all ways of being none.
    pub fn verify(&self, text: &str) -> Result<(String, String), Refusal> {
        let (id, known) =
            self.find(text).ok_or_else(|| Refusal::new(ErrorCode::Unauthorized, "Unauthorized - API key"))?;
        self.note_use(&id, &known);
        Ok((id, known.name.clone()))
    }

    fn find(&self, text: &str) -> Option<(String, Arc<Known>)> {
        let parts = text.strip_prefix(PREFIX).filter(|_| text.len() <= MAX_TEXT_BYTES);
        let (id, secret) = parts?.split_once('_')?;
        let known = Arc::clone(self.known.read().unwrap_or_else(PoisonError::into_inner).get(id)?);
        // The time of the comparison tells nothing about the secret: only hashes are compared, and all of their bytes.
        let is_same = constant_time::verify_slices_are_equal(&sha256(&[secret.as_bytes()]), &known.hash).is_ok();
        is_same.then(|| (id.to_owned(), known))
    }

    /// Keeps when the key was used. Nobody waits for it, and a key that is revoked meanwhile stays revoked.
    fn note_use(&self, id: &str, known: &Known) {
        let now = Timestamp::now();
        {
            let mut last = known.last_used_at.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.after(LAST_USE_EVERY) > now) {
                return;
            }
            *last = Some(now);
        }
        let id = id.to_owned();
        if let Ok(Some(row)) = self.store.get_versioned(&API_KEYS, &id) {
            let mut batch = Batch::new();
            batch.require_unchanged(&API_KEYS, &id, &row);
            batch.put(&API_KEYS, &id, &ApiKeyRecord { last_used_at: Some(now), ..row.value });
            drop(self.store.commit(batch));
        }
    }

    /// Takes over what other nodes store.
    pub(super) fn follow(&self) {
        let known = Arc::clone(&self.known);
        self.store.watch(&API_KEYS, move |id, row| {
            let mut keys = known.write().unwrap_or_else(PoisonError::into_inner);
            match row {
                Some(row) => {
                    let last_used_at = Mutex::new(row.last_used_at);
                    keys.insert(id, Arc::new(Known { name: row.name, hash: row.hash, last_used_at }));
                }
                None => drop(keys.remove(&id)),
            }
        });
    }

    async fn commit(&self, batch: Batch, change: impl FnOnce(&mut KnownKeys) + Send + 'static) -> Result<(), Refusal> {
        let known = Arc::clone(&self.known);
        let stored = self.store.commit_then(batch, move |_| {
            change(&mut known.write().unwrap_or_else(PoisonError::into_inner));
        });
        stored.await.map_err(|error: CommitError| error.into())
    }
}

/// SHA-256 over parts.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    // SHA-256 has 32 bytes.
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
