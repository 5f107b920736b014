//! Signing in: where a token is looked for, whether it is good, and who its bearer is; when it ends, and what ends it before.
//!
//! One function for every namespace and for REST, [`Auth::sign_in`]; the algorithm and the keys come from the configuration and
//! never from the token. Sockets are let go when their tokens end ([`LiveSockets`]). An app's backend shows a key of its own
//! ([`Backend`]).
//!
//! Spec: contract, section 2; feature document, "JWT Authentication".

mod api_keys;
mod config;
mod credentials;
mod events;
mod follow;
mod idempotency;
mod key_file;
mod keys;
mod listener;
mod live;
mod refused;
mod rest;
mod revocation;
mod signed_in;
mod signing;
mod socket;
mod store;
#[cfg(test)]
mod tests;
mod tokens;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

pub use self::{
    api_keys::{ApiKey, ApiKeys},
    config::{Algorithm, Config},
    credentials::Credentials,
    events::{AuthExpired, AuthExpiring, EndReason, RefreshToken, Refreshed, SERVER_EVENTS},
    idempotency::{IDEMPOTENCY_KEY, Idempotency, Idempotent, REPLAYED},
    keys::{Keys, KeysError},
    listener::{RequestListener, SocketListener},
    live::LiveSockets,
    rest::{Backend, Caller},
    signed_in::SignedIn,
    signing::{Signed, standard_claims},
    socket::routes as socket_routes,
    tokens::{Claims, TokenError},
};
use self::{key_file::LastLook, refused::Refused};
use super::users::{Claimed, Users};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    http::Origins,
    server::{Refusal, Socket},
    storage::{CommitError, StorageError, Store, expiry::SteadyClock},
};

/// How often what is past its time is swept.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// Decides who may come in.
pub struct Auth {
    config: Config,
    keys: RwLock<Arc<Keys>>,
    last_look: tokio::sync::Mutex<LastLook>,
    origins: Origins,
    users: Users,
    store: Store,
    refused: Arc<Refused>,
    live: Arc<LiveSockets>,
    api_keys: ApiKeys,
    idempotency: Idempotency,
}

impl Auth {
    /// Accepts tokens signed with one of `keys`, unless `store` says that they or their users are refused.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn new(
        config: Config,
        keys: Keys,
        origins: Origins,
        users: Users,
        store: &Store,
    ) -> Result<Self, StorageError> {
        let refused = Arc::new(Refused::load(store)?);
        Ok(Self {
            keys: RwLock::new(Arc::new(keys)),
            last_look: tokio::sync::Mutex::default(),
            origins,
            users,
            store: store.clone(),
            live: Arc::new(LiveSockets::new(Arc::clone(&refused), config.leeway())),
            refused,
            api_keys: ApiKeys::load(store)?,
            idempotency: Idempotency::new(store.clone()),
            config,
        })
    }

    /// Finds the token, checks it, and makes sure that its user is known.
    ///
    /// # Errors
    ///
    /// `token_missing`, `token_malformed`, `token_expired`, `token_invalid` or `user_blocked`; the sentence begins with
    /// `Unauthorized - `, which is what clients of the reference app look for.
    pub async fn sign_in(&self, credentials: &Credentials<'_>) -> Result<SignedIn, Refusal> {
        let token = credentials.token(&self.config, &self.origins).ok_or(TokenError::Missing)?;
        // Before the signature is known to be good nothing touches the store.
        let claims = self.verify(&token).await?;
        let claimed = Claimed { username: claims.username.clone(), avatar: claims.avatar.clone() };
        let profile = self.users.sign_in(&claims.user, claimed).await?;
        Ok(SignedIn::new(&claims, profile))
    }

    /// Takes another token for the user of `socket` in place of the present one; gives when it ends.
    ///
    /// # Errors
    ///
    /// Those of [`sign_in`](Self::sign_in), and `forbidden` for the token of another user.
    pub async fn refresh(&self, socket: &Socket, token: &str) -> Result<Option<Timestamp>, Refusal> {
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        if token.is_empty() {
            return Err(TokenError::Missing.into());
        }
        let claims = self.verify(token).await?;
        if claims.user != SignedIn::of(socket)?.user {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                "the token is another user's: connect again to change users",
            ));
        }
        self.live.refresh(socket, &claims)?;
        Ok(claims.expires_at)
    }

    /// What hears of sockets on behalf of authentication.
    pub fn live(&self) -> Arc<LiveSockets> {
        Arc::clone(&self.live)
    }

    /// The keys of the app's backend.
    pub fn api_keys(&self) -> &ApiKeys {
        &self.api_keys
    }

    /// The answers to repeated requests of the app's backend.
    pub fn idempotency(&self) -> &Idempotency {
        &self.idempotency
    }

    /// Ends sockets when their tokens end, and forgets what is past its time, until told to stop.
    pub async fn run(&self, stop: CancellationToken, clock: SteadyClock) {
        let sweep = async {
            loop {
                if clock.is_steady()
                    && let Err(error) = self.sweep().await
                {
                    tracing::warn!(%error, "old rows of authentication could not be swept; trying again");
                }
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        };
        tokio::select! {
            () = self.live.run(&stop) => {}
            () = sweep => {}
        }
    }

    async fn sweep(&self) -> Result<(), CommitError> {
        self.sweep_tokens().await?;
        self.idempotency.sweep().await
    }

    /// Checks a token in every respect.
    async fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let keys = self.keys();
        let mut claims = keys.verify(token, &self.config);
        if claims == Err(TokenError::Signature) && keys.misses_key_of(token) {
            self.look_for_keys().await;
            claims = self.keys().verify(token, &self.config);
        }
        let claims = claims?;
        self.refused.check(&claims.user, claims.issued_at, claims.token_id.as_deref()).map_err(TokenError::from)?;
        Ok(claims)
    }

    /// The present keys.
    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}
