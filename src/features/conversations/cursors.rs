//! How far each member of a conversation has come in its log: what was delivered, read and seen.
//!
//! A message to a thousand absent members is one write because of these: what somebody has not got is what lies past the cursor.
//! Here is the record and the one way to change it; the rules are those of the features that move it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ChangeRecord, Conversations, LOG, directory::MAX_MEMBERS, store::CONVERSATIONS};
use crate::{
    clock::Timestamp,
    ids::{ConversationId, UserId},
    server::Refusal,
    storage::{Batch, CommitError, Direction, Reader, Record, StorageError, Table},
};

/// Dates are taken before the store decides the order, so neighbours in the log may be this far out of order.
const DATE_SLACK: Duration = Duration::from_mins(1);
/// How often a change is tried again because another one was faster.
const ATTEMPTS: usize = 16;

/// How far a member has come. No row means: nothing yet.
pub(crate) const CURSORS: Table<(ConversationId, UserId), CursorRecord> = Table::new("cursors");

/// The cursors of one member, version 1. Numbers are those of the conversation's log; none ever moves back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRecord {
    /// Everything up to here has arrived at a device of the member's.
    pub(crate) delivered: u64,
    /// Everything up to here was on its way once; what lies between may have arrived.
    pub(crate) sent: u64,
    /// Everything up to here has been read.
    pub(crate) read: u64,
    /// When `read` last moved.
    pub(crate) read_at: Option<Timestamp>,
    /// When the member last looked at the conversation.
    pub(crate) seen_at: Option<Timestamp>,
    /// Up to here a notification tells of what came while the member was away.
    pub(crate) noted: u64,
}

impl Record for CursorRecord {
    const VERSION: u8 = 1;
}

impl CursorRecord {
    /// The cursors of somebody who joins when the log ends at `head`: what came before is history, not missed.
    pub(super) fn at(head: u64) -> Self {
        Self { delivered: head, sent: head, read: head, noted: head, read_at: None, seen_at: None }
    }
}

impl CursorRecord {
    /// Everything up to `seq` has arrived, and so was on its way.
    pub(crate) fn deliver(&mut self, seq: u64) {
        self.delivered = self.delivered.max(seq);
        self.sent = self.sent.max(self.delivered);
    }
}

impl Conversations {
    /// How far `user` has come in `conversation`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    #[cfg(test)]
    pub(crate) fn cursor(&self, user: &UserId, conversation: ConversationId) -> Result<CursorRecord, Refusal> {
        Ok(self.store.get(&CURSORS, &(conversation, user.clone()))?.unwrap_or_default())
    }

    /// How far `user` has come in each of these conversations, and where each ends.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn standing(
        &self,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, CursorRecord, u64)>, Refusal> {
        let reader = self.store.read()?;
        let keys: Vec<_> = conversations.iter().map(|id| (*id, user.clone())).collect();
        let cursors = reader.get_many(&CURSORS, &keys)?;
        let both = conversations.iter().zip(cursors);
        both.map(|(id, cursor)| Ok((*id, cursor.unwrap_or_default(), reader.head(&LOG, id)?))).collect()
    }

    /// Leaves everything up to `seq` to the history: it does not come by itself any more.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or written.
    pub(crate) async fn pass_over(&self, user: &UserId, id: ConversationId, seq: u64) -> Result<(), Refusal> {
        let moved = self.move_cursor(user, id, |cursor| {
            let before = cursor.delivered;
            cursor.deliver(seq);
            cursor.delivered > before
        });
        moved.await.map(|_| ())
    }

    /// How far every member with a row has come.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn cursors(&self, conversation: ConversationId) -> Result<Vec<(UserId, CursorRecord)>, Refusal> {
        let rows = self.store.scan_prefix(&CURSORS, &conversation, MAX_MEMBERS, Direction::Forward)?;
        Ok(rows.into_iter().map(|((_, user), record)| (user, record)).collect())
    }

    /// Where the log of `conversation` ends.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn head(&self, conversation: ConversationId) -> Result<u64, Refusal> {
        Ok(self.store.head(&LOG, &conversation)?)
    }

    /// The last `limit` changes up to `seq`, the newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn changes_back(
        &self,
        conversation: ConversationId,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, ChangeRecord)>, Refusal> {
        Ok(self.store.scan_log_back(&LOG, &conversation, seq.checked_add(1), limit)?)
    }

    /// Whether `conversation` has more than `count` members.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn has_more_members_than(&self, conversation: ConversationId, count: usize) -> Result<bool, Refusal> {
        Ok(self.store.get(&CONVERSATIONS, &conversation)?.is_some_and(|record| record.members > count))
    }

    /// Changes the cursors of a member; `change` says whether anything is new and may be called again. Returns the record before
    /// and after, or `None` when nothing was new. Whether the user is a member is for the caller to know.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or written.
    pub(crate) async fn move_cursor(
        &self,
        user: &UserId,
        conversation: ConversationId,
        change: impl Fn(&mut CursorRecord) -> bool,
    ) -> Result<Option<(CursorRecord, CursorRecord)>, Refusal> {
        let key = (conversation, user.clone());
        for _ in 0..ATTEMPTS {
            let found = self.store.get_versioned(&CURSORS, &key)?;
            let before = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
            let mut after = before.clone();
            if !change(&mut after) {
                return Ok(None);
            }
            let mut batch = Batch::new();
            match &found {
                Some(found) => batch.require_unchanged(&CURSORS, &key, found),
                None => batch.require_absent(&CURSORS, &key),
            }
            batch.put(&CURSORS, &key, &after);
            match self.store.commit(batch).await {
                Ok(_) => return Ok(Some((before, after))),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }
}

/// The last number of which everything after it may be younger than `date`.
///
/// # Errors
///
/// When the store cannot be read.
pub(crate) fn seq_before(reader: &Reader<'_>, id: ConversationId, date: Timestamp) -> Result<u64, StorageError> {
    let date = date.before(DATE_SLACK);
    let (mut older, mut younger) = (0, reader.head(&LOG, &id)? + 1);
    while younger - older > 1 {
        let middle = older + (younger - older) / 2;
        let entry = reader.scan_log(&LOG, &id, middle - 1, 1)?;
        match entry.first() {
            Some((_, entry)) if entry.at <= date => older = middle,
            Some(_) | None => younger = middle,
        }
    }
    Ok(older)
}
