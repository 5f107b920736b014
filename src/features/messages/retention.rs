//! Messages that are older than they are to be kept: they go from the oldest on, with all that hangs on them.

use std::time::Duration;

use super::{
    MESSAGES, Messages, REACTIONS,
    rules::MAX_REACTIONS,
    store::{EXPIRING, PINS},
};
use crate::{
    clock::Timestamp,
    features::conversations::TrimmedRecord,
    ids::{ConversationId, MessageId},
    server::Refusal,
    storage::{Batch, CommitError, Direction},
};

/// Log entries that are trimmed together.
const STEP: usize = 64;
/// Rows that a step deletes, about: one message may have thousands of reactions.
const MAX_ROWS: usize = 4096;
/// Conversations that are looked at before others have their turn, and the pause then.
const PAGE: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);
/// How often it is looked for what is too old: eight times within the retention, and within these limits.
const LEAST_PERIOD: Duration = Duration::from_secs(1);
const LONGEST_PERIOD: Duration = Duration::from_mins(10);

/// How long to wait from one look at all conversations to the next.
pub(super) fn period(retention: Duration) -> Duration {
    (retention / 8).clamp(LEAST_PERIOD, LONGEST_PERIOD)
}

impl Messages {
    /// Trims what is older than `messages.retention_s` in all conversations; nothing without it.
    pub(crate) async fn trim(&self) -> Result<(), Refusal> {
        let Some(retention) = self.config.retention() else { return Ok(()) };
        // Read once: the clock may jump while this goes on.
        let before = Timestamp::now().before(retention);
        let mut last = None;
        loop {
            let page = self.conversations.some(last.as_ref(), PAGE)?;
            for id in &page {
                while self.trim_step(*id, before).await? {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            last = page.last().copied();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Trims the oldest entries of a log if they are from before `before`; true when there may be more.
    async fn trim_step(&self, id: ConversationId, before: Timestamp) -> Result<bool, Refusal> {
        // Mostly nothing is due, and one entry tells.
        if self.conversations.oldest(id, 1)?.entries.first().is_none_or(|(_, entry)| entry.at >= before) {
            return Ok(false);
        }
        let oldest = self.conversations.oldest(id, STEP)?;
        let (mut batch, mut messages, mut rows) = (Batch::new(), Vec::new(), 0);
        let mut gone = TrimmedRecord::default();
        for (seq, entry) in oldest.entries.iter().take_while(|(_, entry)| entry.at < before) {
            (gone.up_to, gone.at) = (*seq, gone.at.max(entry.at));
            if let Some(message) = entry.change.brings() {
                gone.at = gone.at.max(message.created_at());
                rows += self.delete_for_good(&mut batch, message)?;
                messages.push(message);
            }
            if rows >= MAX_ROWS {
                break;
            }
        }
        oldest.trim(&mut batch, &gone);
        for message in &messages {
            self.notifications.remove_about(*message).await?;
        }
        let this = self.clone();
        let trimmed = self.store.commit_then(batch, move |_| {
            for message in messages {
                this.listeners().for_each(|listener| listener.deleted(id, message));
            }
        });
        match trimmed.await {
            // Somebody changed one of the messages; that was the last time.
            Ok(()) | Err(CommitError::Conflict) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a message with what hangs on it; says how many rows that are.
    fn delete_for_good(&self, batch: &mut Batch, id: MessageId) -> Result<usize, Refusal> {
        let Some(found) = self.store.get_versioned(&MESSAGES, &id)? else { return Ok(0) };
        let record = &found.value;
        batch.require_unchanged(&MESSAGES, &id, &found);
        batch.delete(&MESSAGES, &id);
        if let Some(at) = record.expires_at {
            batch.delete(&EXPIRING, &(at, id));
        }
        if record.pinned.is_some() {
            batch.delete(&PINS, &(record.conversation, id));
        }
        let mut rows = 1;
        if !record.reactions.is_empty() {
            for (key, _) in self.store.scan_prefix(&REACTIONS, &id, MAX_REACTIONS, Direction::Forward)? {
                batch.delete(&REACTIONS, &key);
                rows += 1;
            }
        }
        Ok(rows)
    }
}
