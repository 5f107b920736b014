//! The features on an in-memory store, for the tests of their rules.

use std::sync::Arc;

use super::{
    Config, Features,
    auth::{Keys, SignedIn},
    messages::{Draft, Sent},
    offline_queue::Background,
};
use crate::{
    cluster::{Adapter, Single},
    http::Origins,
    ids::{ConversationId, UserId},
    server::Refusal,
    storage::Store,
};

/// The secret of all tests.
pub(super) const SECRET: &[u8] = b"a secret that is long enough for a test";

/// Features without sockets.
pub(super) fn features() -> Features {
    features_with(Config::default())
}

/// The same with other settings.
pub(super) fn features_with(config: Config) -> Features {
    let adapter: Arc<dyn Adapter> = Arc::new(Single);
    Features::new(config, &Store::memory(), Keys::hs256(&[SECRET]), Origins::Any, &adapter, Background::default())
        .expect("a store in memory")
}

/// A user id.
pub(super) fn id(name: &str) -> UserId {
    UserId::new(name).expect("a plain name")
}

impl Features {
    /// A user whose token was accepted.
    pub(super) fn signed_in(&self, name: &str) -> SignedIn {
        let profile = Arc::new(self.users.profile(&id(name)).expect("readable"));
        SignedIn { user: id(name), profile, roles: Vec::new(), expires_at: None }
    }

    /// The direct conversation of two users.
    pub(super) async fn direct(&self, one: &str, other: &str) -> ConversationId {
        self.conversations.direct(&id(one), &id(other)).await.expect("two users").0
    }

    /// A group of `admin` and `members`.
    pub(super) async fn group(&self, admin: &str, members: &[&str]) -> ConversationId {
        let members: Vec<_> = members.iter().map(|name| id(name)).collect();
        self.conversations.create_group(&id(admin), &members, Some("group".to_owned())).await.expect("a group")
    }

    /// Sends a text.
    pub(super) async fn send(&self, from: &str, to: ConversationId, text: &str) -> Result<Sent, Refusal> {
        let draft = Draft { conversation_id: Some(to), content: text.to_owned(), ..Draft::default() };
        self.messages.send(&self.signed_in(from), draft, false).await
    }
}
