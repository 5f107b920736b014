//! Signing in: where a token is looked for, whether it is good, and who its bearer is.
//!
//! One function for every namespace and for REST, [`Auth::sign_in`]; the algorithm and the key come from the configuration and
//! never from the token.
//!
//! Spec: contract, section 2; feature document, "JWT Authentication".

mod config;
mod credentials;
mod listener;
mod rest;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::{Arc, PoisonError, RwLock};

pub use self::{
    config::Config,
    credentials::Credentials,
    listener::{RequestListener, SocketListener},
    rest::Caller,
    tokens::{Claims, Keys, TokenError},
};
use super::users::{Claimed, Profile, Users};
use crate::{
    clock::Timestamp,
    http::Origins,
    ids::UserId,
    server::{Refusal, Socket},
};

/// A user whose token was accepted.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who it is.
    pub user: UserId,
    /// How others see them.
    pub profile: Arc<Profile>,
    /// What the token grants beyond being a user.
    pub roles: Vec<String>,
    /// When the token ends; `None` only where the configuration allows tokens without an end.
    pub expires_at: Option<Timestamp>,
}

impl SignedIn {
    /// The user behind a socket. Every socket of the chat namespaces has one.
    ///
    /// # Errors
    ///
    /// `unauthorized` for a socket that the chat's middleware has not let in.
    pub fn of(socket: &Socket) -> Result<&Self, Refusal> {
        socket
            .data::<Self>()
            .ok_or_else(|| Refusal::new(crate::codes::ErrorCode::Unauthorized, "Unauthorized - not signed in"))
    }
}

/// Decides who may come in.
pub struct Auth {
    config: Config,
    keys: RwLock<Arc<Keys>>,
    origins: Origins,
    users: Users,
}

impl Auth {
    /// Accepts tokens signed with one of `keys`.
    #[must_use]
    pub fn new(config: Config, keys: Keys, origins: Origins, users: Users) -> Self {
        Self { config, keys: RwLock::new(Arc::new(keys)), origins, users }
    }

    /// Accepts tokens signed with one of `keys` from now on, and no others. Who is signed in stays.
    pub fn set_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds the token, checks it, and makes sure that its user is known.
    ///
    /// # Errors
    ///
    /// `token_missing`, `token_malformed`, `token_expired` or `token_invalid`; the sentence begins with `Unauthorized - `, which
    /// is what clients of the reference app look for.
    pub async fn sign_in(&self, credentials: &Credentials<'_>) -> Result<SignedIn, Refusal> {
        let token = credentials.token(&self.config, &self.origins).ok_or(TokenError::Missing)?;
        // Before the signature is known to be good nothing touches the store.
        let claims = self.keys().verify(&token, &self.config)?;
        let claimed = Claimed { username: claims.username, avatar: claims.avatar };
        let profile = self.users.sign_in(&claims.user, claimed).await?;
        Ok(SignedIn { user: claims.user, profile, roles: claims.roles, expires_at: claims.expires_at })
    }
}
