//! Locking users out and taking tokens back: stored first, then carried out on live sockets by what follows the commit.
//!
//! An operator's command and the app's backend come here; whoever has to leave hears `auth:expired` first.

use std::{sync::Arc, time::Duration};

use super::{
    Auth, EndReason,
    store::{BLOCKED_USERS, BlockedUser, REVOKED_TOKENS, REVOKED_USERS, RevokedToken, RevokedUser},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    ids::UserId,
    server::Refusal,
    storage::{Batch, CommitError, expiry::sweep},
};

/// Longest `jti` that can be taken back, in bytes.
const MAX_TOKEN_ID_BYTES: usize = 512;
/// Most single tokens that are refused at the same time. Beyond that, take back all tokens of a user: that is one row.
const MAX_REVOKED_TOKENS: usize = 100_000;
/// A revoked token is remembered for this time where nobody says when it ends.
const UNKNOWN_LIFE: Duration = Duration::from_hours(87_600);
/// And for this time after its end, whatever the clocks say.
const REMEMBERED_AFTER: Duration = Duration::from_hours(1);
/// Rows that are swept at a time, and the pause between two pages.
const PAGE: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);

impl Auth {
    /// Locks a user out: nobody comes in with this id, and whoever is in has to leave.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub async fn block(&self, user: &UserId) -> Result<(), Refusal> {
        let mut batch = Batch::new();
        batch.put(&BLOCKED_USERS, user, &BlockedUser { blocked_at: Timestamp::now() });
        let (refused, live, user) = (Arc::clone(&self.refused), Arc::clone(&self.live), user.clone());
        let stored = self.store.commit_then(batch, move |_| {
            refused.update(|sets| {
                sets.blocked.insert(user.clone());
            });
            live.end_user(&user, EndReason::Blocked);
        });
        Ok(stored.await?)
    }

    /// Lets a user in again. Tokens from before are good again, unless they were taken back.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub async fn unblock(&self, user: &UserId) -> Result<(), Refusal> {
        let mut batch = Batch::new();
        batch.delete(&BLOCKED_USERS, user);
        let (refused, user) = (Arc::clone(&self.refused), user.clone());
        let stored = self.store.commit_then(batch, move |_| {
            refused.update(|sets| {
                sets.blocked.remove(&user);
            });
        });
        Ok(stored.await?)
    }

    /// Whether a user is locked out.
    pub fn is_blocked(&self, user: &UserId) -> bool {
        self.refused.read(|sets| sets.blocked.contains(user))
    }

    /// Takes back every token of a user that was made until now, and those that do not tell when they were made.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub async fn revoke_user(&self, user: &UserId) -> Result<(), Refusal> {
        let revoked_at = Timestamp::now();
        let mut batch = Batch::new();
        batch.put(&REVOKED_USERS, user, &RevokedUser { revoked_at });
        let (refused, live, user) = (Arc::clone(&self.refused), Arc::clone(&self.live), user.clone());
        let stored = self.store.commit_then(batch, move |_| {
            refused.update(|sets| {
                sets.users.insert(user.clone(), revoked_at);
            });
            live.end_user(&user, EndReason::Revoked);
        });
        Ok(stored.await?)
    }

    /// Takes back one token, by its `jti`. `expires_at` is its end, after which it need not be remembered.
    ///
    /// # Errors
    ///
    /// `too_long` for an id of more than 512 bytes, and when 100,000 tokens are remembered.
    pub async fn revoke_token(&self, id: &str, expires_at: Option<Timestamp>) -> Result<(), Refusal> {
        if id.is_empty() {
            return Err(Refusal::invalid("jti", "expected the id of a token"));
        }
        if id.len() > MAX_TOKEN_ID_BYTES {
            return Err(Refusal::too_long("jti", MAX_TOKEN_ID_BYTES, "bytes"));
        }
        if self.refused.read(|sets| sets.tokens.len() >= MAX_REVOKED_TOKENS && !sets.tokens.contains_key(id)) {
            let message = "too many single tokens are revoked: revoke all tokens of the user";
            return Err(Refusal::new(ErrorCode::TooLong, message).with("limit", MAX_REVOKED_TOKENS));
        }
        let expires_at = expires_at.unwrap_or_else(|| Timestamp::now().after(UNKNOWN_LIFE));
        let id = id.to_owned();
        let mut batch = Batch::new();
        batch.put(&REVOKED_TOKENS, &id, &RevokedToken { expires_at });
        let (refused, live) = (Arc::clone(&self.refused), Arc::clone(&self.live));
        let stored = self.store.commit_then(batch, move |_| {
            refused.update(|sets| {
                sets.tokens.insert(id.clone(), expires_at);
            });
            live.end_token(&id);
        });
        Ok(stored.await?)
    }

    /// Closes the connections of a user, who may come back at once. Returns how many sockets that were.
    pub fn disconnect(&self, user: &UserId) -> usize {
        self.live.disconnect(user)
    }

    /// Forgets revoked tokens that have ended by themselves.
    pub(super) async fn sweep_tokens(&self) -> Result<(), CommitError> {
        // A token is accepted until its end and the leeway; the rest is for clocks that are set back.
        let dead = Timestamp::now().before(REMEMBERED_AFTER).before(self.config.leeway());
        let mut cursor = None;
        loop {
            let is_dead = |_: &_, row: &RevokedToken| row.expires_at < dead;
            let swept = sweep(&self.store, &REVOKED_TOKENS, cursor.as_ref(), PAGE, is_dead).await?;
            let Some(next) = swept.cursor else { break };
            cursor = Some(next);
            tokio::time::sleep(PAUSE).await;
        }
        self.refused.update(|sets| sets.tokens.retain(|_, expires_at| *expires_at >= dead));
        Ok(())
    }
}
