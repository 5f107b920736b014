//! The table of sessions that wait for their clients while the server is not running.

use serde::{Deserialize, Serialize};

use crate::{
    server::SavedSession,
    storage::{Record, Table},
};

/// Sessions under the numbers from 0 on, without gaps. Written at a stop in order, and deleted as a whole by the next start.
pub(super) const PARKED_SESSIONS: Table<u64, ParkedSessionRecord> = Table::new("node_parked_sessions");

/// A session that waits for its client, version 2. The first one held the text of events that are in a log; nobody had released it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParkedSessionRecord {
    pub(super) namespace: String,
    pub(super) session: SavedSession,
}

impl Record for ParkedSessionRecord {
    const VERSION: u8 = 2;
}
