//! The queue as the operator sees it: how much waits for whom, and getting rid of it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{OfflineQueue, backlog::Backlog, positions::Position};
use crate::{
    clock::Timestamp,
    features::conversations::{LOG, seq_before},
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
};

/// What waits for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueSize {
    /// Changes of others that have not arrived yet: messages, edits, deletions.
    pub size: usize,
    /// How many conversations they are in.
    pub conversations: usize,
    /// When the oldest one happened.
    pub oldest_at: Option<Timestamp>,
}

/// One change that waits; never its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueEntry {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its place in the conversation's log.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The event that it will come as.
    pub event: &'static str,
    /// The message it is about.
    pub message_id: MessageId,
    /// Whose change it is.
    pub from: UserId,
}

impl OfflineQueue {
    /// How much waits for `user`: `getQueueSize` of the feature document. Reads for milliseconds: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn size(&self, user: &UserId) -> Result<QueueSize, Refusal> {
        let waiting = self.show(user, self.shared.config.max_per_user)?;
        let mut conversations: Vec<_> = waiting.iter().map(|entry| entry.conversation_id).collect();
        conversations.sort_unstable();
        conversations.dedup();
        Ok(QueueSize {
            size: waiting.len(),
            conversations: conversations.len(),
            oldest_at: waiting.first().map(|entry| entry.at),
        })
    }

    /// What waits for `user`, oldest first, `limit` at most. Reads for milliseconds: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn show(&self, user: &UserId, limit: usize) -> Result<Vec<QueueEntry>, Refusal> {
        let conversations = self.shared.conversations.of_user(user)?;
        let mut backlog = Backlog::open(
            &self.shared.store,
            &self.shared.config,
            self.shared.positions_of(user, conversations, false),
        )?;
        let mut entries = Vec::new();
        loop {
            let page = backlog.page(limit.saturating_sub(entries.len()).min(500))?;
            if page.changes.is_empty() {
                return Ok(entries);
            }
            let replayed = self.shared.messages.replay(&page.changes)?;
            for (change, event) in page.changes.iter().zip(replayed) {
                let Some(event) = event.filter(|event| event.by != *user) else { continue };
                entries.push(QueueEntry {
                    conversation_id: change.conversation,
                    seq: change.seq,
                    at: change.entry.at,
                    event: event.name,
                    message_id: event.message,
                    from: event.by,
                });
            }
            if entries.len() >= limit {
                return Ok(entries);
            }
        }
    }

    /// Leaves to the history what waits for `user` and is older than `older_than`; everything without it. With `dry_run` nothing
    /// changes. Returns how many changes it is.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or written.
    pub async fn purge(&self, user: &UserId, older_than: Option<Duration>, dry_run: bool) -> Result<usize, Refusal> {
        let before = older_than.map(|age| Timestamp::now().before(age));
        let mut purged = 0;
        for (id, position) in self.shared.positions_of(user, self.shared.conversations.of_user(user)?, false) {
            let start = position.delivered.max(self.shared.conversations.trimmed(id)?.up_to);
            let end = self.end_of(id, before)?;
            if end <= start {
                continue;
            }
            purged += usize::try_from(end - start).unwrap_or(usize::MAX);
            if !dry_run {
                self.shared.conversations.pass_over(user, id, end).await?;
                self.shared.positions.advance(user, id, Position { delivered: end, sent: end });
            }
        }
        Ok(purged)
    }

    fn end_of(&self, id: ConversationId, before: Option<Timestamp>) -> Result<u64, Refusal> {
        let reader = self.shared.store.read()?;
        Ok(match before {
            Some(date) => seq_before(&reader, id, date)?,
            None => reader.head(&LOG, &id)?,
        })
    }
}
