//! The events of changes that are in the log already, for somebody who was not there.

use std::collections::HashMap;

use super::{Deleted, MESSAGES, MessageNew, MessageRecord, MessageView, Messages, Updated};
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
        let mut ids: Vec<MessageId> = changes.iter().map(|change| message_of(&change.entry.change)).collect();
        ids.sort_unstable();
        ids.dedup();
        let records = self.store.get_many(&MESSAGES, &ids)?;
        let authors = self.authors(records.iter().flatten())?;
        let known: HashMap<MessageId, MessageRecord> =
            ids.into_iter().zip(records).filter_map(|(id, record)| Some((id, record?))).collect();
        let tell = |change: &LoggedChange| {
            let id = message_of(&change.entry.change);
            let record = known.get(&id)?;
            let conversation = change.conversation;
            if let Some(deletion) = &record.deleted {
                let json = to_json(&Deleted::new(id, conversation, &deletion.by, change.seq))?;
                return Some(Replayed { name: Deleted::NAME, json, by: deletion.by.clone(), message: id });
            }
            let (by, view) = (record.sender.clone(), MessageView::by_author(id, record.clone(), &authors));
            match &change.entry.change {
                Change::New(_) => {
                    let json = MessageNew::json(&to_json(&view)?, change.seq);
                    Some(Replayed { name: MessageNew::NAME, json, by, message: id })
                }
                Change::Edited(_) => {
                    let event = Updated { message: &view, message_id: id, edited_by: &by, change_seq: change.seq };
                    Some(Replayed { name: Updated::NAME, json: to_json(&event)?, by: by.clone(), message: id })
                }
                Change::Deleted { .. } => None,
            }
        };
        Ok(changes.iter().map(tell).collect())
    }
}

/// The message that a change is about.
fn message_of(change: &Change) -> MessageId {
    let (Change::New(id) | Change::Edited(id) | Change::Deleted { message: id, .. }) = change;
    *id
}

/// The payload of an event.
pub(super) fn to_json(event: &impl serde::Serialize) -> Option<String> {
    let json = serde_json::to_string(event);
    json.inspect_err(|error| tracing::error!(%error, "a change could not be written as JSON")).ok()
}
