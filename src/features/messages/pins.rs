//! Pinned messages.

use super::{
    MessageView, Messages,
    alter::Alteration,
    store::{PINS, Pin, PinRecord},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::conversations::Change,
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::{Batch, Direction},
};

/// Pinned messages of one conversation. More are refused.
pub const MAX_PINS: usize = 100;

impl Messages {
    /// Pins a message, or takes the pin off, and tells everybody. When it is so already nothing happens.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that is deleted or in a foreign conversation, `forbidden` for everybody but admins in a group,
    /// `queue_full` for too many pins.
    pub async fn pin(&self, user: &UserId, id: MessageId, pinned: bool) -> Result<(), Refusal> {
        // They are counted, so nobody else may pin meanwhile.
        let _turn = self.turns.pins.lock().await;
        let altered = self.alter(Some(user), id, |found| {
            if found.deleted.is_some() {
                return Err(Refusal::not_found("message"));
            }
            let conversation = found.conversation;
            if found.recipient.is_none() && !self.conversations.is_admin(user, conversation)? {
                return Err(Refusal::new(ErrorCode::Forbidden, "only an admin of the group may pin messages"));
            }
            if found.pinned.is_some() == pinned {
                return Ok(None);
            }
            if pinned && self.pins(conversation)?.len() >= MAX_PINS {
                let message = format!("at most {MAX_PINS} pinned messages in a conversation");
                return Err(Refusal::new(ErrorCode::QueueFull, message).with("limit", MAX_PINS));
            }
            let mut record = found.clone();
            record.pinned = pinned.then(|| Pin { by: user.clone(), at: Timestamp::now() });
            let (mut batch, by) = (Batch::new(), user.clone());
            let change = if pinned {
                batch.put(&PINS, &(conversation, id), &PinRecord);
                Change::Pinned { message: id, by }
            } else {
                batch.delete(&PINS, &(conversation, id));
                Change::Unpinned { message: id, by }
            };
            Ok(Some(Alteration { record, change, batch }))
        });
        altered.await.map(|_| ())
    }

    /// The pinned messages of a conversation, the oldest message first.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members.
    pub fn pinned(&self, user: &UserId, conversation: ConversationId) -> Result<Vec<MessageView>, Refusal> {
        self.conversations.access(user, conversation)?;
        self.load(&self.pins(conversation)?)
    }

    fn pins(&self, conversation: ConversationId) -> Result<Vec<MessageId>, Refusal> {
        let rows = self.store.scan_prefix(&PINS, &conversation, MAX_PINS, Direction::Forward)?;
        Ok(rows.into_iter().map(|((_, id), _)| id).collect())
    }
}
