//! The events of changes that are in the log already, for somebody who was not there.

use std::collections::HashMap;

use super::{
    Deleted, MESSAGES, MessageNew, MessageRecord, MessageView, Messages, ReactionUpdated, Updated,
    around::Around,
    events::{Pinned, Unpinned},
};
use crate::{
    features::conversations::{Change, ChangeRecord},
    ids::{ConversationId, MessageId, UserId},
    server::{Refusal, ServerEvent},
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
        Ok(changes.iter().map(|change| tell(change, known.get(&change.entry.change.message())?, &around)).collect())
    }
}

fn tell(change: &LoggedChange, record: &MessageRecord, around: &Around) -> Option<Replayed> {
    let LoggedChange { conversation, seq: change_seq, entry } = change;
    let (conversation_id, change_seq, message_id) = (*conversation, *change_seq, entry.change.message());
    if let Some(deletion) = &record.deleted {
        let event = Deleted::new(message_id, conversation_id, &deletion.by, change_seq);
        return replayed(&event, &deletion.by, message_id);
    }
    let view = || around.show(message_id, record.clone());
    match &entry.change {
        Change::New(_) => Some(Replayed {
            name: MessageNew::NAME,
            json: MessageNew::json(&to_json(&view())?, change_seq),
            by: record.sender.clone(),
            message: message_id,
        }),
        Change::Edited(_) => {
            let (by, view): (_, MessageView) = (&record.sender, view());
            replayed(&Updated { message: &view, message_id, edited_by: by, change_seq }, by, message_id)
        }
        Change::Reacted { by, emoji, added, .. } => {
            let reactions = view().reactions;
            let event = ReactionUpdated::new((message_id, conversation_id), by, (emoji, *added), reactions, change_seq);
            replayed(&event, by, message_id)
        }
        Change::Pinned { by, .. } => {
            replayed(&Pinned::new((message_id, conversation_id), record, by, change_seq), by, message_id)
        }
        Change::Unpinned { by, .. } => {
            replayed(&Unpinned(Pinned::new((message_id, conversation_id), record, by, change_seq)), by, message_id)
        }
        // Its message says so itself.
        Change::Deleted { .. } => None,
    }
}

fn replayed<E: ServerEvent>(event: &E, by: &UserId, message: MessageId) -> Option<Replayed> {
    Some(Replayed { name: E::NAME, json: to_json(event)?, by: by.clone(), message })
}

/// The payload of an event.
pub(crate) fn to_json(event: &impl serde::Serialize) -> Option<String> {
    let json = serde_json::to_string(event);
    json.inspect_err(|error| tracing::error!(%error, "a change could not be written as JSON")).ok()
}
