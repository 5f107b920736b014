//! Who and what is refused although the signature is good, kept in memory so that signing in costs no look at the store.
//!
//! Read from the store as a whole at the start, and changed by what follows each commit, in commit order.

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock},
};

use super::{
    EndReason, SignedIn,
    store::{BLOCKED_USERS, REVOKED_TOKENS, REVOKED_USERS},
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    storage::{Direction, Key, KeyRange, Record, StorageError, Store, Table},
};

/// Rows that are read at a time.
const PAGE: usize = 1000;

/// The users and tokens that are refused.
pub(super) struct Refused {
    sets: RwLock<Sets>,
}

/// What is refused.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) blocked: HashSet<UserId>,
    /// Tokens made until then are refused.
    pub(super) users: HashMap<UserId, Timestamp>,
    /// By `jti`, with the end of the token.
    pub(super) tokens: HashMap<String, Timestamp>,
}

impl Sets {
    /// Why a token with these claims is refused, if it is.
    fn check(&self, user: &UserId, issued_at: Option<Timestamp>, token_id: Option<&str>) -> Result<(), EndReason> {
        if self.blocked.contains(user) {
            return Err(EndReason::Blocked);
        }
        if let Some(revoked_at) = self.users.get(user) {
            // `iat` counts whole seconds with most issuers. A token of the very second of the revocation may have been made
            // before it, so it is refused; so is one that does not tell when it was made.
            if issued_at.is_none_or(|issued_at| issued_at <= *revoked_at) {
                return Err(EndReason::Revoked);
            }
        }
        if token_id.is_some_and(|id| self.tokens.contains_key(id)) {
            return Err(EndReason::Revoked);
        }
        Ok(())
    }
}

impl Refused {
    /// Reads what is refused.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) fn load(store: &Store) -> Result<Self, StorageError> {
        let mut sets = Sets::default();
        each(store, &BLOCKED_USERS, |user, _| {
            sets.blocked.insert(user);
        })?;
        each(store, &REVOKED_USERS, |user, row| {
            sets.users.insert(user, row.revoked_at);
        })?;
        each(store, &REVOKED_TOKENS, |id, row| {
            sets.tokens.insert(id, row.expires_at);
        })?;
        Ok(Self { sets: RwLock::new(sets) })
    }

    /// Whether the bearer of a token with these claims may come in.
    pub(super) fn check(
        &self,
        user: &UserId,
        issued_at: Option<Timestamp>,
        token_id: Option<&str>,
    ) -> Result<(), EndReason> {
        self.read(|sets| sets.check(user, issued_at, token_id))
    }

    /// The same for somebody who is in.
    pub(super) fn check_signed_in(&self, signed_in: &SignedIn) -> Result<(), EndReason> {
        let (issued_at, token_id) = signed_in.token();
        self.check(&signed_in.user, issued_at, token_id.as_deref())
    }

    /// Gives the sets.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Sets) -> T) -> T {
        look(&self.sets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the sets after a commit.
    pub(super) fn update(&self, change: impl FnOnce(&mut Sets)) {
        change(&mut self.sets.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Calls `take` for every row of a table.
pub(super) fn each<K: Key + Clone, V: Record>(
    store: &Store,
    table: &Table<K, V>,
    mut take: impl FnMut(K, V),
) -> Result<(), StorageError> {
    let mut range = KeyRange::all();
    loop {
        let rows = store.scan(table, range, PAGE, Direction::Forward)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        range = KeyRange::all().after(last);
        for (key, row) in rows {
            take(key, row);
        }
    }
}
