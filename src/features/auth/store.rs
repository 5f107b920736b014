//! The tables of authentication: who is locked out, which tokens were taken back, which keys an app's backend has.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::UserId,
    storage::{Record, Table},
};

/// Users who may not come in, whatever their token says.
pub(super) const BLOCKED_USERS: Table<UserId, BlockedUser> = Table::new("blocked_users");

/// Since when tokens of a user count: those made until then are refused.
pub(super) const REVOKED_USERS: Table<UserId, RevokedUser> = Table::new("revoked_users");

/// Single tokens that were taken back, by their `jti`. Rows are swept once the token would have ended by itself.
pub(super) const REVOKED_TOKENS: Table<String, RevokedToken> = Table::new("revoked_tokens");

/// The keys of the app's backend, by their public part.
pub(super) const API_KEYS: Table<String, ApiKeyRecord> = Table::new("api_keys");

/// Answers that a repeat with the same `Idempotency-Key` gets again, by that key. Rows older than a day are dead and swept.
pub(super) const ANSWERS: Table<String, AnswerRecord> = Table::new("idempotent_answers");

/// A user was locked out, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockedUser {
    pub(super) blocked_at: Timestamp,
}

impl Record for BlockedUser {
    const VERSION: u8 = 1;
}

/// All tokens of a user were taken back, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RevokedUser {
    pub(super) revoked_at: Timestamp,
}

impl Record for RevokedUser {
    const VERSION: u8 = 1;
}

/// One token was taken back, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RevokedToken {
    /// When it would have ended by itself.
    pub(super) expires_at: Timestamp,
}

impl Record for RevokedToken {
    const VERSION: u8 = 1;
}

/// A key of the app's backend, version 1. The key itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApiKeyRecord {
    pub(super) name: String,
    /// SHA-256 of the secret part, which is random: there is nothing to guess, so a slow hash would gain nothing.
    pub(super) hash: [u8; 32],
    pub(super) created_at: Timestamp,
    /// To the minute.
    pub(super) last_used_at: Option<Timestamp>,
}

impl Record for ApiKeyRecord {
    const VERSION: u8 = 1;
}

/// How a request with an `Idempotency-Key` was answered, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AnswerRecord {
    /// SHA-256 over method, path, query and body: the same key with another request is a mistake of the caller's.
    pub(super) fingerprint: [u8; 32],
    pub(super) status: u16,
    /// The JSON; `None` when it was too large to be kept.
    pub(super) body: Option<String>,
    pub(super) at: Timestamp,
}

impl Record for AnswerRecord {
    const VERSION: u8 = 1;
}
