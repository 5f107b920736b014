//! Who wants to know of changes of groups. They build on this feature, so it asks them through a trait.

use crate::{
    features::users::Profile,
    ids::{ConversationId, UserId},
    storage::Batch,
};

/// A change of a group that is about to be committed.
#[derive(Clone, Copy, Debug)]
pub struct MembershipChange<'a> {
    /// The group.
    pub conversation: ConversationId,
    /// Its name after the change.
    pub name: Option<&'a str>,
    /// Who makes the change.
    pub by: &'a Profile,
    /// Who is in it afterwards and was not before.
    pub added: &'a [UserId],
    /// Who was in it before and is not afterwards.
    pub removed: &'a [UserId],
    /// Whether the name changes.
    pub renamed: bool,
}

/// A feature that does something about changes of groups.
pub trait MembershipListener: Send + Sync {
    /// Adds to the batch of a change what is to be kept if and only if the change is. May be called again for the same change.
    fn ordered(&self, batch: &mut Batch, change: &MembershipChange<'_>);

    /// A batch that was shown to [`ordered`](Self::ordered) is committed. Must not block.
    fn committed(&self);
}
