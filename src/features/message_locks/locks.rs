//! The rules of edit locks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::Notify;

use super::{
    Config, LockView, Release,
    events::{MessageLocked, MessageUnlocked},
    lease::{Lease, Leases},
    store::{FENCE, FENCES, FenceRecord, LOCKS, LockRecord},
};
use crate::{
    clock::{self, Timestamp},
    codes::ErrorCode,
    features::{conversations::Conversations, messages::Messages},
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::{Batch, Direction, KeyRange, StorageError, Store},
};

/// Locks of one user at a time. More are refused.
pub const MAX_LOCKS_PER_USER: usize = 50;
/// Fencing numbers that are reserved in the store at a time.
const FENCES_RESERVED: u64 = 1000;
/// Rows read at once at the start.
const PAGE: usize = 1000;

/// Why a lock was not granted.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody else is editing.
    #[error("Message is being edited by another user")]
    Held {
        /// Who.
        holder: UserId,
        /// Until when, unless it is renewed.
        expires_at: Timestamp,
    },
    /// Anything else.
    #[error("{0}")]
    Refused(Refusal),
}

impl From<Refusal> for LockError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LockError> for Refusal {
    fn from(error: LockError) -> Self {
        let message = error.to_string();
        match error {
            LockError::Held { holder, expires_at } => Self::new(ErrorCode::Locked, message)
                .with("lockedBy", holder.as_str())
                .with("expiresAt", expires_at.to_string()),
            LockError::Refused(refusal) => refusal,
        }
    }
}

/// The edit locks.
pub struct Locks {
    pub(super) store: Store,
    pub(super) conversations: Arc<Conversations>,
    messages: Arc<Messages>,
    config: Mutex<Config>,
    leases: Mutex<Leases>,
    /// One change at a time: each looks, stores and tells before the next one looks.
    changing: tokio::sync::Mutex<()>,
    /// Wakes the sweeper: something ends earlier than it knew.
    pub(super) changed: Notify,
}

impl Locks {
    /// The locks in `store`. Those whose holders do not come back within the grace end by themselves.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn new(
        store: Store,
        conversations: Arc<Conversations>,
        messages: Arc<Messages>,
        config: Config,
    ) -> Result<Self, StorageError> {
        let leases = load(&store, &config)?;
        Ok(Self {
            store,
            conversations,
            messages,
            config: Mutex::new(config),
            leases: Mutex::new(leases),
            changing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Other settings from now on. Locks that are held keep their end.
    pub fn set_config(&self, config: Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Gives `user` the lock on a message, or renews it, and tells everybody in the conversation.
    ///
    /// # Errors
    ///
    /// `Held` while somebody else has it; `not_found` for a message that is deleted or in a foreign conversation; `rate_limited` for
    /// somebody who holds too many.
    pub async fn acquire(&self, user: &UserId, id: MessageId, advisory: bool) -> Result<LockView, LockError> {
        let located = self.messages.locate(user, id)?;
        if located.deleted {
            return Err(Refusal::not_found("message").into());
        }
        let _one_at_a_time = self.changing.lock().await;
        let (record, reserve) = self.draft(user, id, located.conversation, advisory)?;
        let mut batch = Batch::new();
        batch.put(&LOCKS, &id, &record);
        if let Some(reserved) = reserve {
            batch.put(&FENCES, &FENCE, &FenceRecord { reserved });
        }
        self.store.commit(batch).await.map_err(Refusal::from)?;
        let due = clock::now() + self.config().timeout();
        let lease = Lease { record, due, abandoned: None, deleted: false };
        let view = lease.view(id);
        {
            let mut leases = self.leases();
            leases.reserved = reserve.unwrap_or(leases.reserved);
            leases.held.insert(id, lease);
        }
        self.conversations.rooms().emit_to_conversation(
            view.conversation_id,
            &MessageLocked {
                message_id: id,
                conversation_id: view.conversation_id,
                locked_by: user.clone(),
                expires_at: view.expires_at,
                advisory,
            },
        );
        // Whoever asks over REST may have no socket at all.
        if !self.conversations.rooms().is_connected(user) {
            self.leases().abandon(user, Some(clock::now() + self.config().grace()));
        }
        self.changed.notify_one();
        Ok(view)
    }

    /// Takes the lock back from its holder.
    ///
    /// # Errors
    ///
    /// `not_found` without a lock, and for strangers; `forbidden` for everybody but its holder.
    pub async fn unlock(&self, user: &UserId, id: MessageId) -> Result<(), Refusal> {
        self.messages.locate(user, id)?;
        let holder = self.leases().get(id, clock::now()).map(|lease| lease.record.holder.clone());
        match holder {
            None => Err(Refusal::not_found("lock")),
            Some(holder) if holder != *user => {
                let message = "only its holder may take the lock off";
                Err(Refusal::new(ErrorCode::Forbidden, message).with("lockedBy", holder.as_str()))
            }
            Some(_) => self.end(id, None, Release::Unlock, Some(user.clone())).await.map(|_| ()),
        }
    }

    /// Ends a lock in the name of the operator. False when there is none.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub async fn release(&self, id: MessageId) -> Result<bool, Refusal> {
        self.end(id, None, Release::Admin, None).await
    }

    /// The locks that are held, those that end first in front.
    #[must_use]
    pub fn list(&self) -> Vec<LockView> {
        let now = clock::now();
        let leases = self.leases();
        let held = leases.held.iter().filter(|(_, lease)| lease.is_over(now).is_none());
        let mut views: Vec<_> = held.map(|(id, lease)| lease.view(*id)).collect();
        views.sort_by_key(|view| (view.expires_at, view.message_id));
        views
    }

    /// The lock on one message.
    #[must_use]
    pub fn show(&self, id: MessageId) -> Option<LockView> {
        self.leases().get(id, clock::now()).map(|lease| lease.view(id))
    }

    /// How many locks are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.leases().held.len()
    }

    /// Whether `user` may edit a message now; with the fencing number of the lock under which the edit was made.
    pub(super) fn check_edit(&self, user: &UserId, id: MessageId, fence: Option<u64>) -> Result<(), Refusal> {
        let leases = self.leases();
        let lease = leases.get(id, clock::now());
        if let Some(lease) = lease.filter(|lease| lease.record.holder != *user && !lease.record.advisory) {
            let LockRecord { holder, expires_at, .. } = lease.record.clone();
            return Err(LockError::Held { holder, expires_at }.into());
        }
        let Some(fence) = fence else { return Ok(()) };
        match lease.filter(|lease| lease.record.holder == *user) {
            Some(lease) if lease.record.fence == fence => Ok(()),
            Some(_) | None => {
                Err(Refusal::new(ErrorCode::Conflict, "the lock with this fence has ended").with("field", "fence"))
            }
        }
    }

    /// Ends a lock, if it is still that with `fence`, and tells everybody. False when it has ended already.
    pub(super) async fn end(
        &self,
        id: MessageId,
        fence: Option<u64>,
        reason: Release,
        by: Option<UserId>,
    ) -> Result<bool, Refusal> {
        let _one_at_a_time = self.changing.lock().await;
        let found = self.leases().held.get(&id).map(|lease| lease.record.clone());
        let Some(record) = found.filter(|record| fence.is_none_or(|fence| record.fence == fence)) else {
            return Ok(false);
        };
        // It may have been renewed, or its holder may be back, since somebody saw that it has to end.
        let is_over = self.leases().held.get(&id).and_then(|lease| lease.is_over(clock::now()));
        if matches!(reason, Release::Expired | Release::Disconnect) && is_over.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(&LOCKS, &id);
        self.store.commit(batch).await?;
        self.leases().held.remove(&id);
        self.conversations.rooms().emit_to_conversation(
            record.conversation,
            &MessageUnlocked { message_id: id, conversation_id: record.conversation, unlocked_by: by, reason },
        );
        Ok(true)
    }

    fn draft(
        &self,
        user: &UserId,
        id: MessageId,
        conversation: ConversationId,
        advisory: bool,
    ) -> Result<(LockRecord, Option<u64>), LockError> {
        let now = Timestamp::now();
        let expires_at = now.after(self.config().timeout());
        let mut leases = self.leases();
        let mut acquired_at = now;
        let mut renewed = None;
        if let Some(lease) = leases.get(id, clock::now()) {
            let LockRecord { holder, expires_at, fence, .. } = lease.record.clone();
            if holder != *user {
                return Err(LockError::Held { holder, expires_at });
            }
            acquired_at = lease.record.acquired_at;
            renewed = Some(fence);
        } else if leases.count(user) >= MAX_LOCKS_PER_USER {
            let message = format!("at most {MAX_LOCKS_PER_USER} locks of one user at a time");
            return Err(Refusal::new(ErrorCode::QueueFull, message).with("limit", MAX_LOCKS_PER_USER).into());
        }
        let fence = renewed.unwrap_or_else(|| {
            leases.fence += 1;
            leases.fence
        });
        let reserve = (fence > leases.reserved).then_some(fence + FENCES_RESERVED);
        let holder = user.clone();
        Ok((LockRecord { conversation, holder, acquired_at, expires_at, fence, advisory }, reserve))
    }

    pub(super) fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was held when the server stopped. The rest of a lease counts from its end by the wall clock, and is never longer than a new
/// one; nobody has a socket yet, so each has the grace to come back.
fn load(store: &Store, config: &Config) -> Result<Leases, StorageError> {
    let (now, wall) = (clock::now(), Timestamp::now());
    let reserved = store.get(&FENCES, &FENCE)?.map_or(0, |fences| fences.reserved);
    let mut leases = Leases { fence: reserved, reserved, ..Leases::default() };
    let mut range = KeyRange::all();
    loop {
        let rows = store.scan(&LOCKS, range, PAGE, Direction::Forward)?;
        let is_last = rows.len() < PAGE;
        let last = rows.last().map(|(id, _)| *id);
        for (id, record) in rows {
            let rest = record.expires_at.since(wall).min(config.timeout());
            let lease = Lease { record, due: now + rest, abandoned: Some(now + config.grace()), deleted: false };
            leases.held.insert(id, lease);
        }
        match last.filter(|_| !is_last) {
            Some(last) => range = KeyRange::all().after(&last),
            None => return Ok(leases),
        }
    }
}
