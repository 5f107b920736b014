//! What this feature asks of others that it does not build on.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{
    features::status::Statuses,
    ids::{MessageId, UserId},
};

/// Knows who does not want to be disturbed.
pub trait Muting: Send + Sync {
    /// Whether `user` is told of nothing but what is urgent for now. Must not block.
    fn is_muted(&self, user: &UserId) -> bool;
}

/// Knows what a user has missed and makes notifications of it only once somebody asks.
pub trait Absences: Send + Sync {
    /// Makes the notifications that are due for `user`. Called before the list or a count is answered; a failure is the
    /// implementation's to log, for the answer is given in any case.
    fn settle<'a>(&'a self, user: &'a UserId) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// Knows what is in messages.
pub trait Previews: Send + Sync {
    /// The beginning of a message, for a user who may see it; `None` for anybody else, and when it is gone. Must not block.
    fn preview(&self, user: &UserId, message: MessageId) -> Option<String>;
}

impl Muting for Arc<Statuses> {
    fn is_muted(&self, user: &UserId) -> bool {
        self.is_dnd(user)
    }
}
