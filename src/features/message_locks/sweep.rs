//! Locks that end by themselves, and what sockets and messages have to do with it.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Locks;
use crate::{
    clock,
    features::{
        auth::{SignedIn, SocketListener},
        messages::MessageListener,
    },
    ids::{ConversationId, MessageId, UserId},
    server::{Refusal, Socket},
};

/// How long the sweeper waits after a failure of the store.
const RETRY: Duration = Duration::from_secs(1);
/// How long it sleeps while no lock is held.
const IDLE: Duration = Duration::from_hours(1);

impl Locks {
    /// Ends what has to end, when it has to, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let now = clock::now();
            let over = self.leases().over(now);
            let mut wait = None;
            for (id, fence, reason) in over {
                if let Err(error) = self.end(id, Some(fence), reason, None).await {
                    tracing::warn!(%error, "a lock that is over could not be removed; trying again");
                    wait = Some(now + RETRY);
                }
            }
            let next = wait.or_else(|| self.leases().next_end(clock::now())).unwrap_or(now + IDLE);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

impl SocketListener for Locks {
    fn connected(&self, _: &Arc<Socket>, user: &SignedIn) {
        self.leases().abandon(&user.user, None);
    }

    fn disconnected(&self, _: &Arc<Socket>, user: &SignedIn, _: &str) {
        if self.conversations.rooms().is_connected(&user.user) {
            return;
        }
        let end = clock::now() + self.config().grace();
        if self.leases().abandon(&user.user, Some(end)) {
            self.changed.notify_one();
        }
    }
}

impl MessageListener for Locks {
    fn may_edit(&self, user: &UserId, message: MessageId, fence: Option<u64>) -> Result<(), Refusal> {
        self.check_edit(user, message, fence)
    }

    fn deleted(&self, _: ConversationId, message: MessageId) {
        if let Some(lease) = self.leases().held.get_mut(&message) {
            lease.deleted = true;
            self.changed.notify_one();
        }
    }
}
