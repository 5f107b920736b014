//! The events of changes that are in the log already, for somebody who was not there.

use std::collections::HashMap;

use super::{ChangeEvent, MESSAGES, MessageRecord, Messages};
use crate::{
    features::conversations::ChangeRecord,
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::StorageError,
};

/// A change of a conversation, as the log has it.
#[derive(Clone, Debug)]
pub(crate) struct LoggedChange {
    /// The conversation.
    pub(crate) conversation: ConversationId,
    /// Its place in the log.
    pub(crate) seq: u64,
    /// What happened.
    pub(crate) entry: ChangeRecord,
}

/// A change as the event that tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Replayed {
    /// The event.
    pub(crate) name: &'static str,
    /// Its payload.
    pub(crate) json: String,
    /// Whose change it is.
    pub(crate) by: UserId,
    /// The message, with the present state of it.
    pub(crate) message: MessageId,
}

impl Messages {
    /// The events of these changes, each with the present state of its message, in this order. `None` for a change of a message that
    /// the retention has taken. A message that was deleted since is told as deleted, never with its text.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or a message is missing for no reason.
    pub(crate) fn replay(&self, changes: &[LoggedChange]) -> Result<Vec<Option<Replayed>>, Refusal> {
        let mut ids: Vec<MessageId> = changes.iter().map(|change| change.entry.change.message()).collect();
        ids.sort_unstable();
        ids.dedup();
        let records = self.store.get_many(&MESSAGES, &ids)?;
        let known: HashMap<MessageId, MessageRecord> =
            ids.into_iter().zip(records).filter_map(|(id, record)| Some((id, record?))).collect();
        for change in changes {
            let message = change.entry.change.message();
            if !known.contains_key(&message) {
                self.check_missing(change.conversation, std::iter::once(message))?;
            }
        }
        let around = self.around(known.iter().map(|(id, record)| (*id, record)), false)?;
        let tell = |change: &LoggedChange| {
            let message = change.entry.change.message();
            let event = ChangeEvent::new(change.seq, &change.entry.change, known.get(&message)?, &around);
            Some(Replayed { name: event.name(), json: event.json()?, by: event.by().clone(), message })
        };
        Ok(changes.iter().map(tell).collect())
    }

    /// Looks whether the retention has taken these messages of a conversation, which its log names and which are not there.
    ///
    /// # Errors
    ///
    /// When it has not: then there is damage, which must not look like a conversation without them.
    pub(crate) fn check_missing(
        &self,
        conversation: ConversationId,
        messages: impl Iterator<Item = MessageId>,
    ) -> Result<(), StorageError> {
        // Read now: they may have gone a moment ago.
        let trimmed = self.conversations.trimmed(conversation)?;
        for message in messages {
            if !trimmed.covers(message) {
                self.metrics.messages_missing().inc();
                tracing::error!(%conversation, %message, "a message that is in the log is missing in the store");
                return Err(StorageError::Damaged { table: MESSAGES.name() });
            }
        }
        Ok(())
    }
}
