//! Where a message is, for features that know it by its id.

use super::{MESSAGES, MessageView, Messages};
use crate::{
    features::conversations::ChangeRecord,
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
};

/// The place of a message, for somebody who may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place in the conversation's log.
    pub seq: u64,
    /// Who sent it.
    pub sender: UserId,
    /// Whether it was deleted.
    pub deleted: bool,
}

impl Messages {
    /// Finds a message that `user` may see.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that does not exist or is in a foreign conversation.
    pub fn locate(&self, user: &UserId, id: MessageId) -> Result<Located, Refusal> {
        let found = self.find(user, id)?.value;
        Ok(Located {
            conversation: found.conversation,
            seq: found.seq,
            sender: found.sender,
            deleted: found.deleted.is_some(),
        })
    }

    /// A message that `user` may see, as clients see it.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that does not exist, is deleted, or is in a foreign conversation.
    pub(crate) fn show(&self, user: &UserId, id: MessageId) -> Result<MessageView, Refusal> {
        let record = self.find(user, id)?.value;
        if record.deleted.is_some() {
            return Err(Refusal::not_found("message"));
        }
        Ok(self.around(std::iter::once((id, &record)), false)?.show(id, record))
    }

    /// Who sent the messages that these log entries brought in: sender and message, in the order of the entries.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn senders(&self, entries: &[(u64, ChangeRecord)]) -> Result<Vec<(UserId, MessageId)>, Refusal> {
        let ids: Vec<MessageId> = entries.iter().filter_map(|(_, entry)| entry.change.brings()).collect();
        let records = self.store.get_many(&MESSAGES, &ids)?;
        let found = ids.into_iter().zip(records).filter_map(|(id, record)| record.map(|record| (record.sender, id)));
        Ok(found.collect())
    }
}
