//! How much of a conversation's log is gone because it was too old.

use super::{
    Conversations, LOG,
    store::{CONVERSATIONS, ChangeRecord, TRIMMED, TrimmedRecord},
};
use crate::{
    ids::ConversationId,
    storage::{Batch, Direction, KeyRange, Reader, StorageError, Versioned},
};

/// How much of the log of `conversation` is gone, as of `reader`.
///
/// # Errors
///
/// When the store cannot be read.
pub(crate) fn trimmed(reader: &Reader<'_>, conversation: ConversationId) -> Result<TrimmedRecord, StorageError> {
    Ok(reader.get(&TRIMMED, &conversation)?.unwrap_or_default())
}

/// The oldest entries of a log that are still there, and what is needed to trim them.
pub(crate) struct Oldest {
    conversation: ConversationId,
    found: Option<Versioned<TrimmedRecord>>,
    before: TrimmedRecord,
    head: u64,
    /// In order.
    pub(crate) entries: Vec<(u64, ChangeRecord)>,
}

impl Oldest {
    /// Adds to `batch` that everything up to `after.up_to`, one of the entries, is gone. Nothing is committed when somebody else has
    /// trimmed this log meanwhile.
    pub(crate) fn trim(&self, batch: &mut Batch, after: &TrimmedRecord) {
        let id = &self.conversation;
        match &self.found {
            Some(found) => batch.require_unchanged(&TRIMMED, id, found),
            None => batch.require_absent(&TRIMMED, id),
        }
        // What was the last entry the last time is not any more.
        batch.delete_entry(&LOG, id, self.before.up_to);
        for (seq, _) in self.entries.iter().filter(|(seq, _)| *seq <= after.up_to && *seq != self.head) {
            batch.delete_entry(&LOG, id, *seq);
        }
        let at = after.at.max(self.before.at);
        batch.put(&TRIMMED, id, &TrimmedRecord { up_to: after.up_to, at });
    }
}

impl Conversations {
    /// How much of the log of `conversation` is gone.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn trimmed(&self, conversation: ConversationId) -> Result<TrimmedRecord, StorageError> {
        trimmed(&self.store.read()?, conversation)
    }

    /// The `limit` oldest entries of a log that are still there.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn oldest(&self, conversation: ConversationId, limit: usize) -> Result<Oldest, StorageError> {
        let reader = self.store.read()?;
        let found = reader.get_versioned(&TRIMMED, &conversation)?;
        let before = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
        let entries = reader.scan_log(&LOG, &conversation, before.up_to, limit)?;
        Ok(Oldest { conversation, found, before, head: reader.head(&LOG, &conversation)?, entries })
    }

    /// At most `limit` conversations after `after`, or the first ones, in the order of their ids.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn some(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StorageError> {
        let range = after.map_or_else(KeyRange::all, |after| KeyRange::all().after(after));
        let rows = self.store.scan(&CONVERSATIONS, range, limit, Direction::Forward)?;
        Ok(rows.into_iter().map(|(id, _)| id).collect())
    }
}
