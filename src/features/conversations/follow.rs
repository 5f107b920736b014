//! What other nodes store about conversations, carried out on the sockets of this one.

use super::{Conversations, Joined, store::MEMBERSHIPS};

impl Conversations {
    /// Moves the sockets of this node as other nodes change who is a member, and tells those who have become one: what comes over the bus
    /// may be quicker than the log.
    pub fn follow(&self) {
        let this = self.clone();
        self.store.watch(&MEMBERSHIPS, move |(user, conversation), membership| {
            let user = std::slice::from_ref(&user);
            match membership {
                Some(_) => {
                    this.move_in(conversation, user);
                    match this.view(conversation) {
                        Ok(conversation) => this.tell_joined(user, &Joined { conversation }),
                        Err(error) => tracing::error!(%error, %conversation, "a member was not told"),
                    }
                }
                None => this.move_out(conversation, user),
            }
        });
    }
}
