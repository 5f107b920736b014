//! Who is known here: a name and a picture for each user id that a token or a conversation has brought in.
//!
//! The app owns its users; this is what the server needs to show beside a message. It must not know tokens.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::UserId,
    server::Refusal,
    storage::{Batch, CommitError, Direction, KeyRange, Record, Store, Table},
};

/// Longest name, and longest address of a picture, in bytes; the same as for those that a token tells.
const MAX_FIELD_BYTES: usize = 1024;
/// How often a change is tried again because another one of the same user was faster.
const ATTEMPTS: usize = 8;

/// Every user that was ever seen, by id.
pub(crate) const USERS: Table<UserId, UserRecord> = Table::new("users");

/// A user, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) username: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) created_at: Timestamp,
}

impl Record for UserRecord {
    const VERSION: u8 = 1;
}

/// A user as others see them: `{_id, id, username, avatar}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Profile {
    /// The same as `id`, where clients of the reference app look for it.
    #[serde(rename = "_id")]
    pub legacy_id: UserId,
    /// The user's id.
    pub id: UserId,
    /// The display name; the id when no token has told another.
    pub username: String,
    /// The address of a picture.
    pub avatar: Option<String>,
}

impl Profile {
    fn new(id: &UserId, record: Option<UserRecord>) -> Self {
        let (username, avatar) = record.map_or((None, None), |record| (record.username, record.avatar));
        let username = username.unwrap_or_else(|| id.as_str().to_owned());
        Self { legacy_id: id.clone(), id: id.clone(), username, avatar }
    }
}

/// A user as the operator sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The user's id.
    pub id: UserId,
    /// The display name, if a token has told one.
    pub username: Option<String>,
    /// The address of a picture.
    pub avatar: Option<String>,
    /// When the user was first met.
    pub created_at: Timestamp,
}

impl Known {
    fn new(id: UserId, record: UserRecord) -> Self {
        Self { id, username: record.username, avatar: record.avatar, created_at: record.created_at }
    }
}

/// What a token says of its user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The display name.
    pub username: Option<String>,
    /// The address of a picture.
    pub avatar: Option<String>,
}

/// The users.
#[derive(Clone)]
pub struct Users {
    store: Store,
    auto_provision: bool,
}

impl Users {
    /// Users in `store`; with `auto_provision`, unknown ids become users when they are first met.
    #[must_use]
    pub fn new(store: Store, auto_provision: bool) -> Self {
        Self { store, auto_provision }
    }

    /// Lets the bearer of a valid token be a user, with the name and picture that the token tells.
    ///
    /// # Errors
    ///
    /// `token_invalid` when the user is unknown and none may be made.
    pub async fn sign_in(&self, id: &UserId, claimed: Claimed) -> Result<Arc<Profile>, Refusal> {
        let known = self.store.get_versioned(&USERS, id)?;
        if known.is_none() && !self.auto_provision {
            let message = "Unauthorized - User not found";
            return Err(Refusal::new(crate::codes::ErrorCode::TokenInvalid, message));
        }
        let before = known.as_ref().map(|known| known.value.clone());
        let mut record =
            before.clone().unwrap_or_else(|| UserRecord { username: None, avatar: None, created_at: Timestamp::now() });
        // A token without a name does not take the name away.
        record.username = claimed.username.or(record.username);
        record.avatar = claimed.avatar.or(record.avatar);
        if before.as_ref() != Some(&record) {
            let mut batch = Batch::new();
            match &known {
                Some(known) => batch.require_unchanged(&USERS, id, known),
                None => batch.require_absent(&USERS, id),
            }
            batch.put(&USERS, id, &record);
            // So that somebody new can come in while a node of a cluster is alone.
            batch.may_wait();
            match self.store.commit(batch).await {
                // Another device of the same user was first; its token says the same or will say it next time.
                Ok(_) | Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Arc::new(Profile::new(id, Some(record))))
    }

    /// Makes a user, or changes what others see of one. What is not given stays; an empty text takes it away. Returns how others see
    /// them now, and whether the user is new.
    ///
    /// # Errors
    ///
    /// `too_long` for a name or an address of more than 1,024 bytes, and when it cannot be stored.
    pub async fn put(
        &self,
        id: &UserId,
        username: Option<String>,
        avatar: Option<String>,
    ) -> Result<(Profile, bool), Refusal> {
        for (field, text) in [("username", &username), ("avatar", &avatar)] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_FIELD_BYTES) {
                return Err(Refusal::too_long(field, MAX_FIELD_BYTES, "bytes"));
            }
        }
        for _ in 0..ATTEMPTS {
            let known = self.store.get_versioned(&USERS, id)?;
            let before = known.as_ref().map(|known| known.value.clone());
            let mut record =
                before.unwrap_or_else(|| UserRecord { username: None, avatar: None, created_at: Timestamp::now() });
            replace(&mut record.username, username.clone());
            replace(&mut record.avatar, avatar.clone());
            let mut batch = Batch::new();
            match &known {
                Some(known) => batch.require_unchanged(&USERS, id, known),
                None => batch.require_absent(&USERS, id),
            }
            batch.put(&USERS, id, &record);
            match self.store.commit(batch).await {
                Ok(_) => return Ok((Profile::new(id, Some(record)), known.is_none())),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Whether somebody with this id could be signed in: a known user, or anybody where tokens make users.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn may_sign_in(&self, id: &UserId) -> Result<bool, Refusal> {
        Ok(self.auto_provision || self.store.contains(&USERS, id)?)
    }

    /// Adds to `batch` what makes unknown `ids` users.
    ///
    /// # Errors
    ///
    /// `not_found` for the first unknown id when none may be made.
    pub(crate) fn ensure(&self, batch: &mut Batch, ids: &[UserId]) -> Result<(), Refusal> {
        let known = self.store.get_many(&USERS, ids)?;
        for (id, known) in ids.iter().zip(known) {
            if known.is_some() {
                continue;
            }
            if !self.auto_provision {
                return Err(Refusal::not_found("user").with("userId", id.as_str()));
            }
            batch.put(&USERS, id, &UserRecord { username: None, avatar: None, created_at: Timestamp::now() });
        }
        Ok(())
    }

    /// The profile of one user; an unknown id is shown as such.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn profile(&self, id: &UserId) -> Result<Profile, Refusal> {
        Ok(Profile::new(id, self.store.get(&USERS, id)?))
    }

    /// The user with this id, if it was ever met.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn find(&self, id: &UserId) -> Result<Option<Known>, Refusal> {
        Ok(self.store.get(&USERS, id)?.map(|record| Known::new(id.clone(), record)))
    }

    /// At most `limit` users after `after`, in the order of their ids.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn page(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<Known>, Refusal> {
        let range = after.map_or_else(KeyRange::all, |after| KeyRange::all().after(after));
        let rows = self.store.scan(&USERS, range, limit, Direction::Forward)?;
        Ok(rows.into_iter().map(|(id, record)| Known::new(id, record)).collect())
    }

    /// The profiles of many users, each id once.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn profiles<'a>(&self, ids: impl IntoIterator<Item = &'a UserId>) -> Result<HashMap<UserId, Profile>, Refusal> {
        let mut ids: Vec<UserId> = ids.into_iter().cloned().collect();
        ids.sort_unstable();
        ids.dedup();
        let records = self.store.get_many(&USERS, &ids)?;
        Ok(ids.into_iter().zip(records).map(|(id, record)| (id.clone(), Profile::new(&id, record))).collect())
    }
}

/// Puts a text that is given in place of the present one; an empty one takes it away.
fn replace(present: &mut Option<String>, given: Option<String>) {
    if let Some(given) = given {
        *present = (!given.is_empty()).then_some(given);
    }
}
