//! Tables, records and directories that the tests share.

use std::{path::Path, time::Duration};

use hobnob::{
    ids::{ConversationId, MessageId, UserId},
    storage::{Config, Filing, Log, OpenError, Record, Store, Table},
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

pub(crate) const MESSAGES: Table<MessageId, Message> = Table::new("messages");
pub(crate) const MEMBERS: Table<(ConversationId, UserId), Message> = Table::new("members");
pub(crate) const CHANGES: Log<ConversationId, Message> = Log::new("changes");

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) seq: u64,
}

impl Record for Message {
    const VERSION: u8 = 1;

    fn stamp(&mut self, seq: u64) {
        self.seq = seq;
    }
}

pub(crate) fn message(text: &str) -> Message {
    Message { text: text.to_owned(), seq: 0 }
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a valid name")
}

/// A data directory, gone at the end of the test.
pub(crate) struct Dir(TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        // In memory where that is possible: a power cut is tested beside the writer, here the disk only costs time.
        Self(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.path().join("data"))
    }

    pub(crate) fn open(&self) -> Result<Store, OpenError> {
        Store::open(&self.config())
    }
}

/// Filing all the time, a few rows at once.
pub(crate) const BUSY_FILING: Filing = Filing { rows: 3, bytes: 1 << 20, idle: Duration::from_hours(1), slice: 2 };

/// Filing everything along with every few commits, and never by itself: between commits the file does not change.
pub(crate) const STEPWISE_FILING: Filing =
    Filing { rows: 5, bytes: 1 << 20, idle: Duration::from_hours(1), slice: usize::MAX };

/// No filing at all.
pub(crate) const NO_FILING: Filing =
    Filing { rows: usize::MAX, bytes: usize::MAX, idle: Duration::from_hours(1), slice: 1 };
