//! Delivery cursors on their way to the store: moved in memory when an arrival is proved, written behind.
//!
//! Several moves of the same cursor become one write. A crash loses the moves of the last moment: those messages come again, and
//! none is skipped.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    features::receipts::Receipts,
    ids::{ConversationId, UserId},
};

/// How long a move waits for others, at most.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// With so many moves waiting they are written at once.
const MANY: usize = 16_384;
/// Cursors that are written side by side.
const CHUNK: usize = 512;

/// How far a member has come, as far as it is known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything up to here has arrived.
    pub(super) delivered: u64,
    /// Everything up to here was on its way.
    pub(super) sent: u64,
}

impl Position {
    /// The further one of both in each respect.
    pub(super) fn max(self, other: Self) -> Self {
        Self { delivered: self.delivered.max(other.delivered), sent: self.sent.max(other.sent) }
    }
}

/// The cursors that are not in the store yet.
#[derive(Debug, Default)]
pub(super) struct Positions {
    moved: DashMap<(UserId, ConversationId), Position>,
    wake: Notify,
}

impl Positions {
    /// Moves the cursor of a member; never back.
    pub(super) fn advance(&self, user: &UserId, conversation: ConversationId, to: Position) {
        let mut position = self.moved.entry((user.clone(), conversation)).or_default();
        *position = position.max(to);
        drop(position);
        if self.moved.len() == MANY {
            self.wake.notify_one();
        }
    }

    /// True when everything is in the store.
    pub(super) fn is_empty(&self) -> bool {
        self.moved.is_empty()
    }

    /// How far a member has come by what is not in the store yet.
    pub(super) fn of(&self, user: &UserId, conversation: ConversationId) -> Position {
        if self.moved.is_empty() {
            return Position::default();
        }
        self.moved.get(&(user.clone(), conversation)).map(|position| *position).unwrap_or_default()
    }

    /// Writes what has moved, again and again until `stop`.
    pub(super) async fn run(&self, receipts: &Arc<Receipts>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(WRITE_EVERY) => {}
                () = self.wake.notified() => {}
            }
            self.write(receipts).await;
        }
    }

    /// Writes everything that has moved by now.
    pub(super) async fn write(&self, receipts: &Arc<Receipts>) {
        let moved: Vec<_> = self.moved.iter().map(|entry| (entry.key().clone(), *entry.value())).collect();
        for chunk in moved.chunks(CHUNK) {
            // Batches that are submitted together are stored together.
            join_all(chunk.iter().map(|(key, position)| self.write_one(receipts, key, *position))).await;
        }
    }

    async fn write_one(&self, receipts: &Receipts, key: &(UserId, ConversationId), position: Position) {
        let (user, conversation) = key;
        match receipts.confirm(user, *conversation, position.delivered, position.sent).await {
            // What moved on meanwhile is written the next time.
            Ok(()) => drop(self.moved.remove_if(key, |_, present| *present == position)),
            Err(error) => tracing::warn!(%error, %conversation, "a delivery cursor could not be stored; trying again"),
        }
    }
}
