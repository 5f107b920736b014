//! The Socket.IO handlers of edit locks.

use std::sync::Arc;

use super::{
    LockError, Locks,
    events::{LockFailed, LockMessage, LockedAck, UnlockMessage, UnlockedAck},
};
use crate::{
    features::auth::SignedIn,
    server::{Refusal, Routes, Socket},
};

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, locks: &Arc<Locks>) -> Routes {
    let (lock_in, unlock_in) = (Arc::clone(locks), Arc::clone(locks));
    routes
        .on::<LockMessage, _, _>(move |socket, event| lock(Arc::clone(&lock_in), socket, event))
        .on::<UnlockMessage, _, _>(move |socket, event| unlock(Arc::clone(&unlock_in), socket, event))
}

/// Handles `message:lock`. A refusal because of somebody else's lock comes twice: clients of the feature document listen to the event.
async fn lock(locks: Arc<Locks>, socket: Arc<Socket>, event: LockMessage) -> Result<LockedAck, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    match locks.acquire(user, event.message_id, event.advisory).await {
        Ok(lock) => Ok(LockedAck {
            message_id: lock.message_id,
            locked_by: lock.locked_by,
            expires_at: lock.expires_at,
            fence: lock.fence,
        }),
        Err(error) => {
            if let LockError::Held { holder, expires_at } = &error {
                socket.emit(&LockFailed {
                    message_id: event.message_id,
                    locked_by: holder.clone(),
                    reason: error.to_string(),
                    expires_at: *expires_at,
                });
            }
            Err(error.into())
        }
    }
}

/// Handles `message:unlock`.
async fn unlock(locks: Arc<Locks>, socket: Arc<Socket>, event: UnlockMessage) -> Result<UnlockedAck, Refusal> {
    locks.unlock(&SignedIn::of(&socket)?.user, event.message_id).await?;
    Ok(UnlockedAck { message_id: event.message_id })
}
