//! Pinned messages.

use super::{
    MESSAGES, MessageRecord, MessageView, Messages,
    events::{Pinned, Unpinned},
    replay::to_json,
    store::{PINS, Pin, PinRecord},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::conversations::{Change, ChangeRecord, LOG},
    ids::{ConversationId, MessageId, UserId},
    server::{Refusal, ServerEvent},
    storage::{Batch, CommitError, Direction, Versioned},
};

/// Pinned messages of one conversation. More are refused.
const MAX_PINS: usize = 100;
/// How often a change is tried again because another one of the message was faster.
const ATTEMPTS: usize = 8;

impl Messages {
    /// Pins a message, or takes the pin off, and tells everybody. When it is so already nothing happens.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that is deleted or in a foreign conversation, `forbidden` for everybody but admins in a group,
    /// `queue_full` for too many pins.
    pub async fn pin(&self, user: &UserId, id: MessageId, pinned: bool) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS {
            let found = self.find(user, id)?;
            if found.value.deleted.is_some() {
                return Err(Refusal::not_found("message"));
            }
            let conversation = found.value.conversation;
            if found.value.recipient.is_none() && !self.conversations.is_admin(user, conversation)? {
                return Err(Refusal::new(ErrorCode::Forbidden, "only an admin of the group may pin messages"));
            }
            if found.value.pinned.is_some() == pinned {
                return Ok(());
            }
            if pinned && self.pins(conversation)?.len() >= MAX_PINS {
                let message = format!("at most {MAX_PINS} pinned messages in a conversation");
                return Err(Refusal::new(ErrorCode::QueueFull, message).with("limit", MAX_PINS));
            }
            match self.store_pin(user, id, &found, pinned).await {
                Err(CommitError::Conflict) => {}
                result => return result.map_err(Refusal::from),
            }
        }
        Err(CommitError::Conflict.into())
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

    async fn store_pin(
        &self,
        user: &UserId,
        id: MessageId,
        found: &Versioned<MessageRecord>,
        pinned: bool,
    ) -> Result<(), CommitError> {
        let (conversation, at) = (found.value.conversation, Timestamp::now());
        let mut record = found.value.clone();
        record.pinned = pinned.then(|| Pin { by: user.clone(), at });
        let mut batch = Batch::new();
        batch.require_unchanged(&MESSAGES, &id, found);
        batch.put(&MESSAGES, &id, &record);
        let by = user.clone();
        let change = if pinned {
            batch.put(&PINS, &(conversation, id), &PinRecord);
            Change::Pinned { message: id, by }
        } else {
            batch.delete(&PINS, &(conversation, id));
            Change::Unpinned { message: id, by }
        };
        let appended = batch.append(&LOG, &conversation, &ChangeRecord { change, at });
        let (this, user) = (self.clone(), user.clone());
        let stored = self.store.commit_then(batch, move |committed| {
            let seq = committed.seq(appended);
            let event = Pinned::new((id, conversation), &record, &user, seq);
            if pinned {
                this.tell(conversation, seq, &event);
            } else {
                this.tell(conversation, seq, &Unpinned(event));
            }
        });
        stored.await
    }

    /// Tells everybody of a change of the log.
    pub(crate) fn tell<E: ServerEvent>(&self, conversation: ConversationId, seq: u64, event: &E) {
        if let Some(json) = to_json(event) {
            self.conversations.rooms().emit_change::<E>(conversation, seq, &json);
        }
    }
}
