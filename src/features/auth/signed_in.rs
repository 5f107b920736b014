//! The bearer of an accepted token: who it is, and what the token grants at the moment.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::{Claims, EndReason};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::users::Profile,
    ids::UserId,
    server::{Refusal, Socket},
};

/// A user whose token was accepted. Clones share what the token grants: a refresh changes it for all of them.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who it is.
    pub user: UserId,
    /// How others see them.
    pub profile: Arc<Profile>,
    grant: Arc<RwLock<Grant>>,
}

/// What the present token of a socket grants.
#[derive(Debug, Default)]
struct Grant {
    roles: Arc<[String]>,
    expires_at: Option<Timestamp>,
    issued_at: Option<Timestamp>,
    token_id: Option<Arc<str>>,
    /// Why it grants nothing any more.
    ended: Option<EndReason>,
    /// When [`LiveSockets`](super::LiveSockets) looks at the socket again.
    look_at: Option<Timestamp>,
}

impl Grant {
    fn of(claims: &Claims) -> Self {
        Self {
            roles: claims.roles.clone().into(),
            expires_at: claims.expires_at,
            issued_at: claims.issued_at,
            token_id: claims.token_id.as_deref().map(Arc::from),
            ended: None,
            look_at: None,
        }
    }
}

impl SignedIn {
    /// The bearer of a token with these claims.
    pub(super) fn new(claims: &Claims, profile: Arc<Profile>) -> Self {
        Self { user: claims.user.clone(), profile, grant: Arc::new(RwLock::new(Grant::of(claims))) }
    }

    /// A user in whose name the server or the app's backend acts. There is no token, so nothing ends by itself.
    #[must_use]
    pub fn without_token(user: UserId, profile: Arc<Profile>) -> Self {
        Self { user, profile, grant: Arc::default() }
    }

    /// The user behind a socket. Every socket of the chat namespaces has one.
    ///
    /// # Errors
    ///
    /// `unauthorized` for a socket that the chat's middleware has not let in.
    pub fn of(socket: &Socket) -> Result<&Self, Refusal> {
        socket.data::<Self>().ok_or_else(|| Refusal::new(ErrorCode::Unauthorized, "Unauthorized - not signed in"))
    }

    /// What the token grants beyond being a user.
    #[must_use]
    pub fn roles(&self) -> Arc<[String]> {
        Arc::clone(&self.grant().roles)
    }

    /// When the token ends; `None` only where the configuration allows tokens without an end.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.grant().expires_at
    }

    /// When the token was made, and its id.
    pub(super) fn token(&self) -> (Option<Timestamp>, Option<Arc<str>>) {
        let grant = self.grant();
        (grant.issued_at, grant.token_id.clone())
    }

    /// Takes what another token of the same user grants.
    pub(super) fn refresh(&self, claims: &Claims) {
        let mut grant = self.grant.write().unwrap_or_else(PoisonError::into_inner);
        *grant = Grant { look_at: grant.look_at, ended: grant.ended, ..Grant::of(claims) };
    }

    /// Grants nothing from now on. False when that was so before.
    pub(super) fn end(&self, why: EndReason) -> bool {
        let mut grant = self.grant.write().unwrap_or_else(PoisonError::into_inner);
        let was_good = grant.ended.is_none();
        grant.ended.get_or_insert(why);
        was_good
    }

    /// Why it grants nothing any more, if so.
    pub(super) fn ended(&self) -> Option<EndReason> {
        self.grant().ended
    }

    /// Keeps when the socket is looked at again, and gives what was kept before.
    pub(super) fn replace_look_at(&self, look_at: Option<Timestamp>) -> Option<Timestamp> {
        let mut grant = self.grant.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut grant.look_at, look_at)
    }

    fn grant(&self) -> RwLockReadGuard<'_, Grant> {
        self.grant.read().unwrap_or_else(PoisonError::into_inner)
    }
}
