//! The rules of statuses.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use dashmap::{DashMap, Entry};

use super::{
    Custom, Status,
    events::{Chosen, CustomChange, SetStatus, StatusList, UserOffline, UserOnline, UserStatus},
    store::{EXPIRING, ExpiringRecord, STATUSES, StatusRecord},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        conversations::Conversations,
        presence::{Presence, Watcher},
    },
    ids::{ConversationId, UserId},
    server::Refusal,
    storage::{Batch, CommitError, StorageError, Store, Versioned},
};

/// Characters of a text.
const MAX_MESSAGE_CHARS: usize = 100;
/// Bytes of its picture.
const MAX_EMOJI_BYTES: usize = 32;
/// Users in one question.
pub(super) const MAX_ASKED: usize = 100;
/// How often a change is tried again because another one was faster.
const ATTEMPTS: usize = 8;
/// Choices kept in memory; at more, all are forgotten and read again.
const MAX_CACHED: usize = 100_000;
/// With more conversations than these, the memberships of the one asked for are compared instead of looking into each.
const MAX_LOOKED_INTO: usize = 64;

/// What others were last told of a user who is here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    status: Status,
    custom: Option<Custom>,
}

/// The statuses.
#[derive(Clone)]
pub struct Statuses {
    pub(super) store: Store,
    conversations: Arc<Conversations>,
    presence: Arc<Presence>,
    /// What users have chosen, as stored. Read from the store, and replaced after a commit, while the user's entry is locked: so a slow
    /// reader never puts back what has been replaced.
    chosen: Arc<DashMap<UserId, Arc<StatusRecord>>>,
    /// Users who are here. What is told is worked out and told while the user's entry is locked, so that the last thing told is
    /// how it is.
    told: Arc<DashMap<UserId, Told>>,
}

impl Statuses {
    /// Statuses in `store`, told to the rooms of `conversations` as users come and go in the eyes of `presence`.
    #[must_use]
    pub fn new(store: Store, conversations: Arc<Conversations>, presence: Arc<Presence>) -> Arc<Self> {
        let statuses = Arc::new(Self { store, conversations, presence, chosen: Arc::default(), told: Arc::default() });
        let watcher: Arc<dyn Watcher> = Arc::clone(&statuses) as _;
        statuses.presence.set_watcher(Arc::downgrade(&watcher));
        statuses
    }

    /// Whether the user wants not to be disturbed. In memory but for the first time.
    #[must_use]
    pub fn is_dnd(&self, user: &UserId) -> bool {
        self.record(user).is_ok_and(|record| record.status == Status::Dnd)
    }

    /// Changes what `user` has chosen, then tells everybody concerned.
    ///
    /// # Errors
    ///
    /// `invalid_payload` without anything to change and for an end that has passed, `too_long` for the text or its picture.
    pub async fn set(&self, user: &UserId, change: &SetStatus) -> Result<Chosen, Refusal> {
        check(change)?;
        for _ in 0..ATTEMPTS {
            let found = self.store.get_versioned(&STATUSES, user)?;
            let before = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
            let mut after = before.clone();
            after.status = change.status.unwrap_or(after.status);
            after.custom = match &change.custom_status {
                CustomChange::Keep => before.custom_at(Timestamp::now()).cloned(),
                CustomChange::Set(custom) if !custom.is_empty() => Some(custom.clone()),
                CustomChange::Set(_) | CustomChange::Clear => None,
            };
            if after == before {
                return Ok(Chosen::of(&after));
            }
            match self.put(user, found.as_ref(), &before, after.clone()).await {
                Ok(()) => return Ok(Chosen::of(&after)),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// How `others` are, as far as `user` may know: those who share a conversation, and oneself.
    ///
    /// # Errors
    ///
    /// `too_long` for more than 100.
    pub fn of_others(&self, user: &UserId, others: &[UserId]) -> Result<StatusList, Refusal> {
        if others.len() > MAX_ASKED {
            return Err(Refusal::too_long("userIds", MAX_ASKED, "users"));
        }
        let own = self.conversations.of_user(user)?;
        let mut list = StatusList { statuses: BTreeMap::new() };
        for other in others {
            if other == user {
                list.statuses.insert(user.clone(), self.own(user)?);
            } else if !list.statuses.contains_key(other) && self.share(user, &own, other)? {
                list.statuses.insert(other.clone(), self.shown(other)?);
            }
        }
        Ok(list)
    }

    /// How `other` is.
    ///
    /// # Errors
    ///
    /// `not_found` for somebody who shares no conversation with `user`, as for somebody who does not exist.
    pub fn of_other(&self, user: &UserId, other: &UserId) -> Result<UserStatus, Refusal> {
        let mut list = self.of_others(user, std::slice::from_ref(other))?;
        list.statuses.remove(other).ok_or_else(|| Refusal::not_found("user"))
    }

    /// How a user is in the eyes of others.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn shown(&self, user: &UserId) -> Result<UserStatus, Refusal> {
        let record = self.record(user)?;
        self.view(user, Told::of(&record, self.presence.is_online(user)))
    }

    /// How a user is in his own eyes.
    fn own(&self, user: &UserId) -> Result<UserStatus, Refusal> {
        let record = self.record(user)?;
        let custom = record.custom_at(Timestamp::now()).cloned();
        self.view(user, Told { status: record.status, custom })
    }

    fn view(&self, user: &UserId, told: Told) -> Result<UserStatus, Refusal> {
        let last_seen = if told.status == Status::Offline { self.presence.last_seen(user)? } else { None };
        Ok(UserStatus { user_id: user.clone(), status: told.status, custom_status: told.custom, last_seen })
    }

    /// Whether two users share a conversation; `own` are those of `user`. Strangers cost the same whether they exist or not, but for
    /// users in very many conversations.
    fn share(&self, user: &UserId, own: &[ConversationId], other: &UserId) -> Result<bool, Refusal> {
        if self.conversations.find_direct(user, other)?.is_some() {
            return Ok(true);
        }
        if own.len() > MAX_LOOKED_INTO {
            let theirs: HashSet<_> = self.conversations.of_user(other)?.into_iter().collect();
            return Ok(own.iter().any(|conversation| theirs.contains(conversation)));
        }
        for conversation in own {
            match self.conversations.access(other, *conversation) {
                Ok(_) => return Ok(true),
                Err(refusal) if refusal.code == ErrorCode::NotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(false)
    }

    /// Stores a choice; what is kept in memory and what others know follow in the order of the commits.
    pub(super) async fn put(
        &self,
        user: &UserId,
        found: Option<&Versioned<StatusRecord>>,
        before: &StatusRecord,
        after: StatusRecord,
    ) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        match found {
            Some(found) => batch.require_unchanged(&STATUSES, user, found),
            None => batch.require_absent(&STATUSES, user),
        }
        if after == StatusRecord::default() {
            batch.delete(&STATUSES, user);
        } else {
            batch.put(&STATUSES, user, &after);
        }
        if let Some(at) = before.expires_at() {
            batch.delete(&EXPIRING, &(at, user.clone()));
        }
        if let Some(at) = after.expires_at() {
            batch.put(&EXPIRING, &(at, user.clone()), &ExpiringRecord);
        }
        // Whoever becomes invisible was last seen now.
        if before.status != Status::Offline && after.status == Status::Offline && self.presence.is_online(user) {
            Presence::note(&mut batch, user, Timestamp::now());
        }
        let (this, user) = (self.clone(), user.clone());
        self.store.commit_then(batch, move |_| this.chose(&user, after)).await
    }

    /// Keeps and tells a choice; every node does so for its own sockets.
    pub(super) fn chose(&self, user: &UserId, record: StatusRecord) {
        self.chosen.insert(user.clone(), Arc::new(record));
        match self.own(user) {
            Ok(own) => self.conversations.rooms().here().emit_to_user(user, &own),
            Err(error) => tracing::error!(%error, "the devices of a user were not told of his status"),
        }
        self.refresh(user);
    }

    /// Tells the others how the user is unless they know.
    pub(super) fn refresh(&self, user: &UserId) {
        let entry = self.told.entry(user.clone());
        let record = match self.record(user) {
            Ok(record) => record,
            Err(error) => return tracing::error!(%error, "others were not told how a user is"),
        };
        let is_here = self.presence.is_online(user);
        let told = Told::of(&record, is_here);
        let before = match entry {
            Entry::Vacant(entry) if is_here => {
                entry.insert(told.clone());
                // Until a moment ago the user was not here, which is what the others know.
                Some(Told { status: Status::Offline, ..told.clone() })
            }
            Entry::Vacant(_) => None,
            Entry::Occupied(mut entry) => {
                let before = entry.insert(told.clone());
                if !is_here {
                    entry.remove();
                }
                Some(before)
            }
        };
        if before.as_ref() != Some(&told)
            && let Err(error) = self.tell(user, before.as_ref(), told)
        {
            tracing::error!(%error, "others were not told how a user is");
        }
    }

    fn tell(&self, user: &UserId, before: Option<&Told>, told: Told) -> Result<(), Refusal> {
        let was_offline = before.is_none_or(|before| before.status == Status::Offline);
        let is_offline = told.status == Status::Offline;
        let mut conversations = Vec::new();
        for id in self.conversations.of_user(user)? {
            if !self.conversations.has_more_members_than(id, self.presence.max_told_members())? {
                conversations.push(id);
            }
        }
        let status = self.view(user, told)?;
        // Every node knows who is connected to which, and tells its own sockets.
        let rooms = self.conversations.rooms().here();
        rooms.emit_ephemeral(&conversations, user, &status);
        match (was_offline, is_offline) {
            (true, false) => rooms.emit_ephemeral(&conversations, user, &UserOnline(status)),
            (false, true) => rooms.emit_ephemeral(&conversations, user, &UserOffline(status)),
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    /// What the user has chosen.
    pub(super) fn record(&self, user: &UserId) -> Result<Arc<StatusRecord>, StorageError> {
        if let Some(known) = self.chosen.get(user) {
            return Ok(Arc::clone(&known));
        }
        if self.chosen.len() >= MAX_CACHED {
            self.chosen.clear();
        }
        match self.chosen.entry(user.clone()) {
            Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            Entry::Vacant(entry) => {
                let record = Arc::new(self.store.get(&STATUSES, user)?.unwrap_or_default());
                entry.insert(Arc::clone(&record));
                Ok(record)
            }
        }
    }
}

impl Watcher for Statuses {
    fn changed(&self, user: &UserId) {
        self.refresh(user);
    }

    fn shows(&self, user: &UserId) -> bool {
        // Where it cannot be told, better too little is known.
        self.record(user).is_ok_and(|record| record.status != Status::Offline)
    }
}

impl Told {
    /// What there is to tell of a user at this moment.
    fn of(record: &StatusRecord, is_here: bool) -> Self {
        let status = if is_here { record.status } else { Status::Offline };
        Self { status, custom: record.custom_at(Timestamp::now()).cloned() }
    }
}

impl Chosen {
    fn of(record: &StatusRecord) -> Self {
        Self { status: record.status, custom_status: record.custom_at(Timestamp::now()).cloned() }
    }
}

/// The limits of what a user may choose.
fn check(change: &SetStatus) -> Result<(), Refusal> {
    if change.status.is_none() && change.custom_status == CustomChange::Keep {
        return Err(Refusal::invalid("status", "required, unless there is a customStatus"));
    }
    let CustomChange::Set(custom) = &change.custom_status else { return Ok(()) };
    if custom.message.chars().count() > MAX_MESSAGE_CHARS {
        return Err(Refusal::too_long("customStatus.message", MAX_MESSAGE_CHARS, "characters"));
    }
    if custom.emoji.len() > MAX_EMOJI_BYTES {
        return Err(Refusal::too_long("customStatus.emoji", MAX_EMOJI_BYTES, "bytes"));
    }
    if custom.expires_at.is_some_and(|at| at <= Timestamp::now()) {
        return Err(Refusal::invalid("customStatus.expiresAt", "expected a date to come"));
    }
    Ok(())
}
