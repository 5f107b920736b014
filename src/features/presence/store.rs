//! The table of presence.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::UserId,
    storage::{Record, Table},
};

/// When each user was last here, as far as others may know. For those who are here now it says what it said before, or when the
/// server last took note.
pub(super) const LAST_SEEN: Table<UserId, LastSeenRecord> = Table::new("last_seen");

/// When a user was last here, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastSeenRecord {
    pub(super) at: Timestamp,
}

impl Record for LastSeenRecord {
    const VERSION: u8 = 1;
}
