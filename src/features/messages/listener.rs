//! What other features do around messages. They build on this one, so it asks them through a trait.

use super::MessageView;
use crate::{
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::Batch,
};

/// A feature that has a say when messages change, or wants to know.
pub trait MessageListener: Send + Sync {
    /// Whether `user`, who has the right to, may change the text of `message` at the moment; `fence` is the number of the lock under
    /// which the change was made, if the client told one. The change will be stored with `batch`: what has to hold until then is
    /// demanded there.
    ///
    /// # Errors
    ///
    /// The edit is refused with this.
    fn may_edit(
        &self,
        _user: &UserId,
        _message: MessageId,
        _fence: Option<u64>,
        _batch: &mut Batch,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// A message was stored and told to everybody. Called in commit order; must not block.
    fn sent(&self, _message: &MessageView) {}

    /// A message was deleted and everybody was told. Called in commit order; must not block.
    fn deleted(&self, _conversation: ConversationId, _message: MessageId) {}
}
