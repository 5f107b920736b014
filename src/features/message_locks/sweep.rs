//! Locks that end by themselves, and what sockets and messages have to do with it.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{Locks, Release};
use crate::{
    clock,
    features::{
        auth::{SignedIn, SocketListener},
        messages::MessageListener,
    },
    ids::{ConversationId, MessageId, UserId},
    server::{Refusal, Socket},
    storage::Batch,
};

/// How long the sweeper waits with a lock that is over and could not be ended: the store failed, or it is being renewed.
const RETRY: Duration = Duration::from_secs(1);
/// How long it sleeps while no lock is held.
const IDLE: Duration = Duration::from_hours(1);
/// Locks that are ended together, with one sync.
const TOGETHER: usize = 256;

impl Locks {
    /// Ends what has to end, when it has to, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let sweep = async {
            loop {
                let now = clock::now();
                let over = self.shared.leases().over(now, TOGETHER);
                let ends = over.into_iter().map(|(id, fence, reason)| self.end(id, Some(fence), reason, None));
                let mut is_done = true;
                for ended in join_all(ends).await {
                    is_done &= ended.unwrap_or_else(|error| {
                        tracing::warn!(%error, "a lock that is over could not be removed; trying again");
                        false
                    });
                }
                let next = self.shared.leases().next_end().unwrap_or(now + IDLE);
                let next = if is_done { next } else { next.max(now + RETRY) };
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = self.shared.changed.notified() => {}
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sweep => {}
        }
    }
}

impl SocketListener for Locks {
    fn connected(&self, _: &Arc<Socket>, user: &SignedIn) {
        let mut leases = self.shared.leases();
        // A socket of the notifications alone does not edit.
        if self.shared.conversations.rooms().is_connected(&user.user) {
            leases.abandon(&user.user, None);
        }
    }

    fn disconnected(&self, _: &Arc<Socket>, user: &SignedIn, _: &str) {
        let config = self.shared.config();
        let mut leases = self.shared.leases();
        let end = self.shared.abandoned_at(&user.user, clock::now(), &config);
        if end.is_some() && leases.abandon(&user.user, end) {
            self.shared.changed.notify_one();
        }
    }
}

impl MessageListener for Locks {
    fn may_edit(
        &self,
        user: &UserId,
        message: MessageId,
        fence: Option<u64>,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        self.check_edit(user, message, fence, batch)
    }

    fn deleted(&self, _: ConversationId, message: MessageId) {
        if self.shared.leases().end_now(message, Release::Deleted, clock::now()) {
            self.shared.changed.notify_one();
        }
    }
}
