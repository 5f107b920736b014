//! Who and what other nodes refuse or let in again, carried out on this one.

use std::sync::Arc;

use super::{
    Auth, EndReason,
    store::{BLOCKED_USERS, REVOKED_TOKENS, REVOKED_USERS},
};

impl Auth {
    /// Locks out here who is locked out by another node, and ends his sockets; the same for tokens and keys that are taken back.
    pub fn follow(&self) {
        let (refused, live) = (Arc::clone(&self.refused), Arc::clone(&self.live));
        self.store.watch(&BLOCKED_USERS, move |user, row| {
            let is_blocked = row.is_some();
            refused.update(|sets| {
                if is_blocked {
                    sets.blocked.insert(user.clone());
                } else {
                    sets.blocked.remove(&user);
                }
            });
            if is_blocked {
                live.end_user(&user, EndReason::Blocked);
            }
        });
        let (refused, live) = (Arc::clone(&self.refused), Arc::clone(&self.live));
        self.store.watch(&REVOKED_USERS, move |user, row| {
            let is_revoked = row.is_some();
            refused.update(|sets| {
                match row {
                    Some(row) => sets.users.insert(user.clone(), row.revoked_at),
                    None => sets.users.remove(&user),
                };
            });
            if is_revoked {
                live.end_user(&user, EndReason::Revoked);
            }
        });
        let (refused, live) = (Arc::clone(&self.refused), Arc::clone(&self.live));
        self.store.watch(&REVOKED_TOKENS, move |id, row| {
            let is_revoked = row.is_some();
            refused.update(|sets| {
                match row {
                    Some(row) => sets.tokens.insert(id.clone(), row.expires_at),
                    None => sets.tokens.remove(&id),
                };
            });
            if is_revoked {
                live.end_token(&id);
            }
        });
        self.api_keys.follow();
    }
}
