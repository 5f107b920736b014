//! The locks that are held now, in memory: what edits are checked against, and when each ends.

use std::collections::HashMap;

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
    /// Its time was over.
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

/// A lock that is held.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) record: LockRecord,
    /// When it ends, by the monotonic clock.
    pub(super) due: Instant,
    /// When it ends because its holder has no socket.
    pub(super) abandoned: Option<Instant>,
    /// Its message was deleted.
    pub(super) deleted: bool,
}

impl Lease {
    /// Whether it has to end at `now`, and why.
    pub(super) fn is_over(&self, now: Instant) -> Option<Release> {
        if self.deleted {
            Some(Release::Deleted)
        } else if self.due <= now {
            Some(Release::Expired)
        } else if self.abandoned.is_some_and(|abandoned| abandoned <= now) {
            Some(Release::Disconnect)
        } else {
            None
        }
    }

    /// When that is.
    fn ends(&self, now: Instant) -> Instant {
        let due = self.abandoned.map_or(self.due, |abandoned| abandoned.min(self.due));
        if self.deleted { now } else { due }
    }

    pub(super) fn view(&self, id: MessageId) -> LockView {
        let LockRecord { conversation, holder, acquired_at, expires_at, fence, advisory } = self.record.clone();
        LockView {
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

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) held: HashMap<MessageId, Lease>,
    /// The last fencing number given out, and up to where they are reserved in the store.
    pub(super) fence: u64,
    pub(super) reserved: u64,
}

impl Leases {
    /// The lock on a message that counts at `now`.
    pub(super) fn get(&self, id: MessageId, now: Instant) -> Option<&Lease> {
        self.held.get(&id).filter(|lease| lease.is_over(now).is_none())
    }

    /// How many locks a user holds.
    pub(super) fn count(&self, user: &UserId) -> usize {
        self.held.values().filter(|lease| lease.record.holder == *user).count()
    }

    /// What has to end at `now`.
    pub(super) fn over(&self, now: Instant) -> Vec<(MessageId, u64, Release)> {
        let over = |(id, lease): (&MessageId, &Lease)| Some((*id, lease.record.fence, lease.is_over(now)?));
        self.held.iter().filter_map(over).collect()
    }

    /// When the next one ends.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        self.held.values().map(|lease| lease.ends(now)).min()
    }

    /// Changes when the locks of a user end for want of a socket. True when there are any.
    pub(super) fn abandon(&mut self, user: &UserId, at: Option<Instant>) -> bool {
        let mut any = false;
        for lease in self.held.values_mut().filter(|lease| lease.record.holder == *user) {
            lease.abandoned = at;
            any = true;
        }
        any
    }
}
