//! Changing a message that is there: one change after the other, each stored together with its entry in the log and told in that order.

use tokio::sync::{Mutex, MutexGuard};

use super::{ChangeEvent, MESSAGES, MessageRecord, Messages};
use crate::{
    clock::Timestamp,
    features::conversations::{Change, ChangeRecord, LOG},
    ids::{MessageId, UserId},
    server::Refusal,
    storage::{Batch, CommitError, Versioned},
};

/// How often a change is tried again because another one was faster; that happens only when the one before was given up by its
/// client while it was being stored.
pub(super) const ATTEMPTS: usize = 8;
/// Turns that messages share by their ids: two that meet wait for each other, no more.
const TURNS: usize = 64;

/// Whose turn it is to change a message. When hundreds react to it at once, all but the first of those who are stored together would
/// have to begin again, and again; here they wait for each other.
pub(super) struct Turns {
    messages: [Mutex<()>; TURNS],
    /// Pins of all conversations: they are counted before another one is put up.
    pub(super) pins: Mutex<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { messages: std::array::from_fn(|_| Mutex::default()), pins: Mutex::default() }
    }
}

impl Turns {
    /// Waits until nobody else is changing this message.
    pub(super) async fn of(&self, id: MessageId) -> MutexGuard<'_, ()> {
        let [.., last] = id.as_bytes();
        #[expect(clippy::indexing_slicing, reason = "the index was taken modulo the length")]
        self.messages[usize::from(*last) % TURNS].lock().await
    }
}

/// How a message is to change.
#[derive(Debug)]
pub(crate) struct Alteration {
    /// The message after it.
    pub(crate) record: MessageRecord,
    /// What the log says of it.
    pub(crate) change: Change,
    /// What is stored together with it.
    pub(crate) batch: Batch,
}

impl Messages {
    /// Changes a message as `decide` says, then tells everybody in its conversation; `None` leaves it as it is. Returns the message
    /// after it. Without a `user` it is the server itself that changes it. `decide` may be called again.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that `user` may not see; what `decide` refuses.
    pub(crate) async fn alter(
        &self,
        user: Option<&UserId>,
        id: MessageId,
        decide: impl Fn(&MessageRecord) -> Result<Option<Alteration>, Refusal> + Send,
    ) -> Result<MessageRecord, Refusal> {
        let _turn = self.turns.of(id).await;
        for _ in 0..ATTEMPTS {
            let found = match user {
                Some(user) => self.find(user, id)?,
                None => self.store.get_versioned(&MESSAGES, &id)?.ok_or_else(|| Refusal::not_found("message"))?,
            };
            let Some(alteration) = decide(&found.value)? else { return Ok(found.value) };
            match self.store_alteration(id, &found, alteration)?.await {
                Err(CommitError::Conflict) => {}
                Ok(record) => {
                    if record.deleted.is_some() {
                        self.notifications.withdraw(id)?;
                    }
                    return Ok(record);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    fn store_alteration(
        &self,
        id: MessageId,
        found: &Versioned<MessageRecord>,
        alteration: Alteration,
    ) -> Result<impl Future<Output = Result<MessageRecord, CommitError>> + Send + 'static + use<>, Refusal> {
        let Alteration { record, change, mut batch } = alteration;
        batch.require_unchanged(&MESSAGES, &id, found);
        batch.put(&MESSAGES, &id, &record);
        let entry = ChangeRecord { change: change.clone(), at: Timestamp::now() };
        let appended = batch.append(&LOG, &record.conversation, &entry);
        let around = self.around(std::iter::once((id, &record)), false)?;
        let this = self.clone();
        Ok(self.store.commit_then(batch, move |committed| {
            let (seq, conversation) = (committed.seq(appended), record.conversation);
            let event = ChangeEvent::new(seq, &change, &record, &around);
            event.tell(this.conversations.rooms(), conversation, seq);
            match change {
                Change::Deleted { .. } => this.listeners().for_each(|listener| listener.deleted(conversation, id)),
                Change::Reacted { .. } => this.after_announcements(),
                Change::New(_) | Change::Edited(_) | Change::Pinned { .. } | Change::Unpinned { .. } => {}
            }
            record
        }))
    }
}
