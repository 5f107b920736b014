//! The locks that are held now, in memory: what edits are checked against, and when each ends.

use std::collections::{BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::store::LockRecord;
use crate::{
    clock::{Instant, Timestamp},
    ids::{ConversationId, MessageId, UserId},
};

/// Why a lock has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "UnlockReason")]
pub enum Release {
    /// Its holder let go.
    Unlock,
    /// Its time was over, or its holder is no longer in the conversation.
    Expired,
    /// Its holder's last socket was gone for too long.
    Disconnect,
    /// The operator ended it.
    Admin,
    /// The message was deleted.
    Deleted,
}

/// A lock as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockView {
    /// The message.
    pub message_id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Who holds it.
    pub locked_by: UserId,
    /// Since when.
    pub acquired_at: Timestamp,
    /// Until when, unless it is renewed.
    pub expires_at: Timestamp,
    /// Its fencing number.
    pub fence: u64,
    /// Whether others may edit all the same.
    pub advisory: bool,
}

impl LockView {
    pub(super) fn new(id: MessageId, record: LockRecord) -> Self {
        let LockRecord { conversation, holder, acquired_at, expires_at, fence, advisory } = record;
        Self {
            message_id: id,
            conversation_id: conversation,
            locked_by: holder,
            acquired_at,
            expires_at,
            fence,
            advisory,
        }
    }
}

/// A lock that is held.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) record: LockRecord,
    /// When it ends, by the monotonic clock.
    due: Instant,
    /// When it ends because its holder has no socket.
    abandoned: Option<Instant>,
    /// It has to end whatever its time is.
    ended: Option<Release>,
}

impl Lease {
    /// Whether it has to end at `now`, and why.
    pub(super) fn is_over(&self, now: Instant) -> Option<Release> {
        if self.ended.is_some() {
            self.ended
        } else if self.due <= now {
            Some(Release::Expired)
        } else if self.abandoned.is_some_and(|abandoned| abandoned <= now) {
            Some(Release::Disconnect)
        } else {
            None
        }
    }

    /// When that is.
    fn end(&self) -> Instant {
        self.abandoned.map_or(self.due, |abandoned| abandoned.min(self.due))
    }
}

/// All of them. Each place of a lock, per message, per user and in the order of their ends, is looked up without a walk.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<MessageId, Lease>,
    /// The locks of each user, those on their way into the store too.
    by_user: HashMap<UserId, HashSet<MessageId>>,
    /// When each ends, the next one first.
    ends: BTreeSet<(Instant, MessageId)>,
    /// The last fencing number given out, and up to where they are reserved in the store.
    pub(super) fence: u64,
    pub(super) reserved: u64,
}

impl Leases {
    /// None yet; fencing numbers go on after those that may have been given out.
    pub(super) fn starting_at(reserved: u64) -> Self {
        Self { fence: reserved, reserved, ..Self::default() }
    }

    /// Another node may give out fencing numbers up to here: they go on behind it.
    pub(super) fn pass_over(&mut self, reserved: u64) {
        self.fence = self.fence.max(reserved);
        self.reserved = self.reserved.max(reserved);
    }

    /// The lock on a message that counts at `now`.
    pub(super) fn get(&self, id: MessageId, now: Instant) -> Option<&Lease> {
        self.held.get(&id).filter(|lease| lease.is_over(now).is_none())
    }

    /// The lock on a message, over or not.
    pub(super) fn find(&self, id: MessageId) -> Option<&Lease> {
        self.held.get(&id)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MessageId, &Lease)> {
        self.held.iter().map(|(id, lease)| (*id, lease))
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes a place among the locks of `user`, for one that is not stored yet; false when there are `max`.
    pub(super) fn reserve(&mut self, user: &UserId, id: MessageId, max: usize) -> bool {
        let own = self.by_user.entry(user.clone()).or_default();
        own.contains(&id) || (own.len() < max && own.insert(id))
    }

    /// Gives the place back, unless the lock came into the store.
    pub(super) fn give_back(&mut self, user: &UserId, id: MessageId) {
        if self.held.get(&id).is_none_or(|lease| lease.record.holder != *user) {
            self.forget(user, id);
        }
    }

    /// A lock was stored: new, renewed, or in place of one that was over. It ends at `due`, or when nobody has come by `abandoned`.
    pub(super) fn insert(&mut self, id: MessageId, record: LockRecord, due: Instant, abandoned: Option<Instant>) {
        self.remove(id);
        self.by_user.entry(record.holder.clone()).or_default().insert(id);
        let lease = Lease { record, due, abandoned, ended: None };
        self.ends.insert((lease.end(), id));
        self.held.insert(id, lease);
    }

    /// A lock has ended.
    pub(super) fn remove(&mut self, id: MessageId) {
        if let Some(lease) = self.held.remove(&id) {
            self.ends.remove(&(lease.end(), id));
            self.forget(&lease.record.holder, id);
        }
    }

    /// Lets a lock end now. True when there is one.
    pub(super) fn end_now(&mut self, id: MessageId, reason: Release, now: Instant) -> bool {
        self.change(id, |lease| {
            lease.ended = Some(reason);
            lease.due = lease.due.min(now);
        })
    }

    /// Changes when the locks of a user end for want of a socket. True when there are any.
    pub(super) fn abandon(&mut self, user: &UserId, at: Option<Instant>) -> bool {
        let ids: Vec<MessageId> = self.by_user.get(user).into_iter().flatten().copied().collect();
        ids.into_iter().filter(|id| self.change(*id, |lease| lease.abandoned = at)).count() > 0
    }

    /// What has to end at `now`: `limit` of them at most.
    pub(super) fn over(&self, now: Instant, limit: usize) -> Vec<(MessageId, u64, Release)> {
        let due = self.ends.iter().take_while(|(end, _)| *end <= now).take(limit);
        let lease = |(_, id): &(Instant, MessageId)| {
            let lease = self.held.get(id)?;
            Some((*id, lease.record.fence, lease.is_over(now)?))
        };
        due.filter_map(lease).collect()
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    fn change(&mut self, id: MessageId, change: impl FnOnce(&mut Lease)) -> bool {
        let Some(lease) = self.held.get_mut(&id) else { return false };
        self.ends.remove(&(lease.end(), id));
        change(lease);
        self.ends.insert((lease.end(), id));
        true
    }

    fn forget(&mut self, user: &UserId, id: MessageId) {
        if let Some(own) = self.by_user.get_mut(user) {
            own.remove(&id);
            if own.is_empty() {
                self.by_user.remove(user);
            }
        }
    }
}
