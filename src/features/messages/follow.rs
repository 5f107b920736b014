//! What other nodes store in the logs of conversations, told to the sockets of this one.
//!
//! Each node tells it from its own log, once it is on its disk: so nothing depends on what the bus carries, and the order is
//! that of the log.

use std::iter::once;

use super::{ChangeEvent, MESSAGES, Messages};
use crate::{
    features::conversations::{Change, ChangeRecord, LOG},
    ids::ConversationId,
    server::Refusal,
};

impl Messages {
    /// Tells the sockets of this node what other nodes append to the logs.
    pub fn follow(&self) {
        let this = self.clone();
        self.store.watch_log(&LOG, move |conversation, seq, entry| {
            if let Err(error) = this.tell_foreign(conversation, seq, &entry) {
                tracing::error!(%error, %conversation, seq, "a change by another node was not told");
            }
        });
    }

    /// Tells a change with the message as it is by now.
    fn tell_foreign(&self, conversation: ConversationId, seq: u64, entry: &ChangeRecord) -> Result<(), Refusal> {
        let id = entry.change.message();
        if matches!(entry.change, Change::Deleted { .. }) {
            self.notifications.withdraw(id)?;
        }
        let Some(record) = self.store.get(&MESSAGES, &id)? else {
            // Another node has trimmed the log in the same moment.
            return Ok(self.check_missing(conversation, once(id))?);
        };
        let around = self.around(once((id, &record)), false)?;
        ChangeEvent::new(seq, &entry.change, &record, &around).tell(
            &self.conversations.rooms().here(),
            conversation,
            seq,
        );
        Ok(())
    }
}
