//! The rules of edit locks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::Notify;

use super::{
    Config, LockView, Release,
    events::{MessageLocked, MessageUnlocked},
    lease::Leases,
    store::{FENCE, FENCES, FenceRecord, LOCKS, LockRecord},
};
use crate::{
    clock::{self, Instant, Timestamp},
    codes::ErrorCode,
    features::{
        conversations::Conversations,
        messages::{MESSAGES, MessageRecord},
    },
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::{Batch, CommitError, Direction, KeyRange, StorageError, Store, Versioned},
};

/// Locks of one user at a time. More are refused.
pub const MAX_LOCKS_PER_USER: usize = 50;
/// How often a change is tried again because another one of the same lock or message was faster.
const ATTEMPTS: usize = 8;
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

/// The edit locks. The store has the last word on who holds one: each change demands that what it has seen there is still so.
pub struct Locks {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    /// Fencing numbers go to the store in the order in which they are given out.
    order: Mutex<()>,
}

/// What is brought up to date after each commit, in the order of the commits, whether somebody still waits for it or not.
pub(super) struct Shared {
    pub(super) conversations: Arc<Conversations>,
    config: Mutex<Config>,
    leases: Mutex<Leases>,
    /// Wakes the sweeper: something ends earlier than it knew.
    pub(super) changed: Notify,
}

/// A place among the locks of a user, given back when the lock does not come into the store.
struct Place {
    shared: Arc<Shared>,
    user: UserId,
    id: MessageId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.leases().give_back(&self.user, self.id);
    }
}

impl Locks {
    /// The locks in `store`. Those whose holders do not come back within the grace end by themselves.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn new(store: Store, conversations: Arc<Conversations>, config: Config) -> Result<Self, StorageError> {
        let leases = Mutex::new(load(&store, &config)?);
        let shared = Shared { conversations, config: Mutex::new(config), leases, changed: Notify::new() };
        Ok(Self { store, shared: Arc::new(shared), order: Mutex::default() })
    }

    /// Other settings from now on. Locks that are held keep their end.
    pub fn set_config(&self, config: Config) {
        *self.shared.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Gives `user` the lock on a message, or renews it, and tells everybody in the conversation.
    ///
    /// # Errors
    ///
    /// `Held` while somebody else has it; `not_found` for a message that is deleted or in a foreign conversation; `queue_full` for
    /// somebody who holds too many.
    pub async fn acquire(&self, user: &UserId, id: MessageId, advisory: bool) -> Result<LockView, LockError> {
        for _ in 0..ATTEMPTS {
            match self.try_acquire(user, id, advisory)?.await {
                Err(CommitError::Conflict) => {}
                result => return Ok(result.map_err(Refusal::from)?),
            }
        }
        Err(Refusal::from(CommitError::Conflict).into())
    }

    /// Takes the lock back from its holder.
    ///
    /// # Errors
    ///
    /// `not_found` without a lock, and for strangers; `forbidden` for everybody but its holder.
    pub async fn unlock(&self, user: &UserId, id: MessageId) -> Result<(), Refusal> {
        let found = self.store.get(&LOCKS, &id)?.filter(|record| self.over(id, record).is_none());
        // The holder may let go, even if he is no longer in the conversation.
        if found.as_ref().is_none_or(|record| record.holder != *user) {
            self.message(user, id)?;
        }
        match found {
            None => Err(Refusal::not_found("lock")),
            Some(record) if record.holder != *user => {
                let message = "only its holder may take the lock off";
                Err(Refusal::new(ErrorCode::Forbidden, message).with("lockedBy", record.holder.as_str()))
            }
            Some(record) => self.end(id, Some(record.fence), Release::Unlock, Some(user)).await.map(|_| ()),
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
        let leases = self.shared.leases();
        let held = leases.iter().filter(|(_, lease)| lease.is_over(now).is_none());
        let mut views: Vec<_> = held.map(|(id, lease)| LockView::new(id, lease.record.clone())).collect();
        views.sort_by_key(|view| (view.expires_at, view.message_id));
        views
    }

    /// The lock on one message.
    #[must_use]
    pub fn show(&self, id: MessageId) -> Option<LockView> {
        self.shared.leases().get(id, clock::now()).map(|lease| LockView::new(id, lease.record.clone()))
    }

    /// How many locks are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.leases().len()
    }

    /// Whether `user` may edit a message now; with the fencing number of the lock under which the edit was made. The edit in `batch` is
    /// stored only if the lock is still as it was seen here.
    pub(super) fn check_edit(
        &self,
        user: &UserId,
        id: MessageId,
        fence: Option<u64>,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        let found = self.store.get_versioned(&LOCKS, &id)?;
        require(batch, id, found.as_ref());
        let lock = found.map(|found| found.value).filter(|record| self.over(id, record).is_none());
        match (lock, fence) {
            (Some(LockRecord { holder, expires_at, advisory: false, .. }), _) if holder != *user => {
                Err(LockError::Held { holder, expires_at }.into())
            }
            (_, None) => Ok(()),
            (Some(record), Some(fence)) if record.holder == *user && record.fence == fence => Ok(()),
            (_, Some(_)) => {
                Err(Refusal::new(ErrorCode::Conflict, "the lock with this fence has ended").with("field", "fence"))
            }
        }
    }

    /// Ends a lock, if it is still that with `fence`, and tells everybody. False when it has ended already, or has been renewed since
    /// its time was over.
    pub(super) async fn end(
        &self,
        id: MessageId,
        fence: Option<u64>,
        reason: Release,
        by: Option<&UserId>,
    ) -> Result<bool, Refusal> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.store.get_versioned(&LOCKS, &id)? else {
                self.shared.leases().remove(id);
                return Ok(false);
            };
            let record = found.value.clone();
            let by_itself = !matches!(reason, Release::Unlock | Release::Admin);
            if fence.is_some_and(|fence| fence != record.fence) || (by_itself && self.over(id, &record).is_none()) {
                return Ok(false);
            }
            let mut batch = Batch::new();
            batch.require_unchanged(&LOCKS, &id, &found);
            batch.delete(&LOCKS, &id);
            let (shared, by) = (Arc::clone(&self.shared), by.cloned());
            let ended = self.store.commit_then(batch, move |_| {
                shared.leases().remove(id);
                shared.tell_unlocked(id, record.conversation, by, reason);
                shared.changed.notify_one();
            });
            match ended.await {
                Err(CommitError::Conflict) => {}
                result => return Ok(result.map(|()| true)?),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Submits what gives `user` the lock.
    fn try_acquire(
        &self,
        user: &UserId,
        id: MessageId,
        advisory: bool,
    ) -> Result<impl Future<Output = Result<LockView, CommitError>> + Send + 'static + use<>, LockError> {
        let message = self.message(user, id)?;
        let found = self.store.get_versioned(&LOCKS, &id).map_err(Refusal::from)?;
        let mut batch = Batch::new();
        batch.require_unchanged(&MESSAGES, &id, &message);
        require(&mut batch, id, found.as_ref());
        let present = found.map(|found| found.value);
        let over = present.as_ref().and_then(|record| self.over(id, record));
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let (record, reserve) = match &present {
            Some(LockRecord { holder, expires_at, .. }) if over.is_none() && holder != user => {
                return Err(LockError::Held { holder: holder.clone(), expires_at: *expires_at });
            }
            Some(record) if over.is_none() => {
                (LockRecord { expires_at: self.shared.expires_at(), advisory, ..record.clone() }, None)
            }
            Some(_) | None => self.fresh(user, id, message.value.conversation, advisory)?,
        };
        let place = Place { shared: Arc::clone(&self.shared), user: user.clone(), id };
        batch.put(&LOCKS, &id, &record);
        if let Some(reserved) = reserve {
            // Another node may be at it, too: what it has reserved is not given out twice.
            let known = self.store.get_versioned(&FENCES, &FENCE).map_err(Refusal::from)?;
            match &known {
                Some(known) => batch.require_unchanged(&FENCES, &FENCE, known),
                None => batch.require_absent(&FENCES, &FENCE),
            }
            batch.put(&FENCES, &FENCE, &FenceRecord { reserved });
        }
        let shared = Arc::clone(&self.shared);
        Ok(self.store.commit_then(batch, move |_| {
            shared.keep(id, &record, reserve);
            if let Some(reason) = over {
                shared.tell_unlocked(id, record.conversation, None, reason);
            }
            let view = LockView::new(id, record);
            shared.tell_locked(&view);
            shared.changed.notify_one();
            drop(place);
            view
        }))
    }

    /// A lock that nobody holds yet, and up to where fencing numbers have to be reserved for it.
    fn fresh(
        &self,
        user: &UserId,
        id: MessageId,
        conversation: ConversationId,
        advisory: bool,
    ) -> Result<(LockRecord, Option<u64>), Refusal> {
        let mut leases = self.shared.leases();
        if !leases.reserve(user, id, MAX_LOCKS_PER_USER) {
            let message = format!("at most {MAX_LOCKS_PER_USER} locks of one user at a time");
            return Err(Refusal::new(ErrorCode::QueueFull, message).with("limit", MAX_LOCKS_PER_USER));
        }
        leases.fence = leases.fence.saturating_add(1);
        let fence = leases.fence;
        let reserve = (fence > leases.reserved).then(|| fence.saturating_add(FENCES_RESERVED));
        let (acquired_at, expires_at) = (Timestamp::now(), self.shared.expires_at());
        let record = LockRecord { conversation, holder: user.clone(), acquired_at, expires_at, fence, advisory };
        Ok((record, reserve))
    }

    /// A message that `user` may lock.
    fn message(&self, user: &UserId, id: MessageId) -> Result<Versioned<MessageRecord>, Refusal> {
        let not_found = || Refusal::not_found("message");
        let found = self.store.get_versioned(&MESSAGES, &id)?.ok_or_else(not_found)?;
        self.shared.conversations.access(user, found.value.conversation).map_err(|_| not_found())?;
        if found.value.deleted.is_some() { Err(not_found()) } else { Ok(found) }
    }

    /// Whether a stored lock does not count any more, and why.
    fn over(&self, id: MessageId, record: &LockRecord) -> Option<Release> {
        let now = clock::now();
        // A lock that was stored this moment, and is not in memory yet, is not over.
        let mut leases = self.shared.leases();
        let lease = leases.find(id).filter(|lease| lease.record == *record)?;
        let over = lease.is_over(now);
        if over.is_some() {
            return over;
        }
        // Whoever was removed from the conversation must not keep others from editing.
        let access = self.shared.conversations.access(&record.holder, record.conversation);
        if access.is_err_and(|refusal| refusal.code == ErrorCode::NotFound) {
            leases.end_now(id, Release::Expired, now);
            self.shared.changed.notify_one();
            return Some(Release::Expired);
        }
        None
    }
}

impl Shared {
    pub(super) fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a lock ends that is taken now.
    fn expires_at(&self) -> Timestamp {
        Timestamp::now().after(self.config().timeout())
    }

    /// A lock was stored.
    fn keep(&self, id: MessageId, record: &LockRecord, reserve: Option<u64>) {
        let (now, config) = (clock::now(), self.config());
        let mut leases = self.leases();
        leases.reserved = reserve.unwrap_or(leases.reserved);
        // Looked at with the leases in hand: a socket that comes or goes meanwhile finds the lock.
        let abandoned = self.abandoned_at(&record.holder, now, &config);
        leases.insert(id, record.clone(), now + config.timeout(), abandoned);
    }

    /// Another node has stored a lock. What is left of it counts from its end by the wall clock, and is never longer than a new one.
    pub(super) fn keep_foreign(&self, id: MessageId, record: LockRecord) {
        let (now, config) = (clock::now(), self.config());
        let rest = record.expires_at.since(Timestamp::now()).min(config.timeout());
        let mut leases = self.leases();
        let abandoned = self.abandoned_at(&record.holder, now, &config);
        leases.insert(id, record, now + rest, abandoned);
    }

    /// When the locks of a user end who has no socket.
    pub(super) fn abandoned_at(&self, user: &UserId, now: Instant, config: &Config) -> Option<Instant> {
        (!self.conversations.rooms().is_connected(user)).then(|| now + config.grace())
    }

    fn tell_locked(&self, lock: &LockView) {
        self.conversations.rooms().emit_to_conversation(
            lock.conversation_id,
            &MessageLocked {
                message_id: lock.message_id,
                conversation_id: lock.conversation_id,
                locked_by: lock.locked_by.clone(),
                expires_at: lock.expires_at,
                advisory: lock.advisory,
            },
        );
    }

    fn tell_unlocked(&self, id: MessageId, conversation: ConversationId, by: Option<UserId>, reason: Release) {
        let event = MessageUnlocked { message_id: id, conversation_id: conversation, unlocked_by: by, reason };
        self.conversations.rooms().emit_to_conversation(conversation, &event);
    }
}

/// The batch is stored only if the lock is still as it was seen.
fn require(batch: &mut Batch, id: MessageId, found: Option<&Versioned<LockRecord>>) {
    match found {
        Some(found) => batch.require_unchanged(&LOCKS, &id, found),
        None => batch.require_absent(&LOCKS, &id),
    }
}

/// What was held when the server stopped. The rest of a lease counts from its end by the wall clock, and is never longer than a new
/// one; nobody has a socket yet, so each has the grace to come back.
fn load(store: &Store, config: &Config) -> Result<Leases, StorageError> {
    let (now, wall) = (clock::now(), Timestamp::now());
    let reserved = store.get(&FENCES, &FENCE)?.map_or(0, |fences| fences.reserved);
    let mut leases = Leases::starting_at(reserved);
    let mut range = KeyRange::all();
    loop {
        let rows = store.scan(&LOCKS, range, PAGE, Direction::Forward)?;
        let is_last = rows.len() < PAGE;
        let last = rows.last().map(|(id, _)| *id);
        for (id, record) in rows {
            let rest = record.expires_at.since(wall).min(config.timeout());
            leases.insert(id, record, now + rest, Some(now + config.grace()));
        }
        match last.filter(|_| !is_last) {
            Some(last) => range = KeyRange::all().after(&last),
            None => return Ok(leases),
        }
    }
}
