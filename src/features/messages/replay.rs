//! The events of changes that are in the log already, for somebody who was not there.

use std::collections::HashMap;

use super::{ChangeEvent, MESSAGES, MessageRecord, Messages};
use crate::{
    features::conversations::ChangeRecord,
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
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
    /// The events of these changes, each with the present state of its message, in this order. `None` for a change of which nothing
    /// is left to tell. A message that was deleted since is told as deleted, never with its text.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn replay(&self, changes: &[LoggedChange]) -> Result<Vec<Option<Replayed>>, Refusal> {
        let mut ids: Vec<MessageId> = changes.iter().map(|change| change.entry.change.message()).collect();
        ids.sort_unstable();
        ids.dedup();
        let records = self.store.get_many(&MESSAGES, &ids)?;
        let known: HashMap<MessageId, MessageRecord> =
            ids.into_iter().zip(records).filter_map(|(id, record)| Some((id, record?))).collect();
        let around = self.around(known.iter().map(|(id, record)| (*id, record)), false)?;
        let tell = |change: &LoggedChange| {
            let message = change.entry.change.message();
            let event = ChangeEvent::new(change.seq, &change.entry.change, known.get(&message)?, &around);
            Some(Replayed { name: event.name(), json: event.json()?, by: event.by().clone(), message })
        };
        Ok(changes.iter().map(tell).collect())
    }
}
