//! The tables of edit locks.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, UserId},
    storage::{Record, Table},
};

/// Who is editing which message. Rows past their end are dead; the next start leaves them out.
pub(super) const LOCKS: Table<MessageId, LockRecord> = Table::new("message_locks");

/// One row: fencing numbers up to here may have been given out. They only rise, also over restarts.
pub(super) const FENCES: Table<u64, FenceRecord> = Table::new("message_lock_fences");
/// Its key.
pub(super) const FENCE: u64 = 1;

/// A lock, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LockRecord {
    pub(super) conversation: ConversationId,
    pub(super) holder: UserId,
    pub(super) acquired_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) fence: u64,
    pub(super) advisory: bool,
}

impl Record for LockRecord {
    const VERSION: u8 = 1;
}

/// The fencing numbers given out, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FenceRecord {
    pub(super) reserved: u64,
}

impl Record for FenceRecord {
    const VERSION: u8 = 1;
}
