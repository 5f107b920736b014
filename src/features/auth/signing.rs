//! Tokens that this server makes: for an app's backend that asks for one, and for `hobnob token sign`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Auth, Config};
use crate::{clock::Timestamp, codes::ErrorCode, ids::UserId, server::Refusal};

/// The claims of a token for `user` that a server with this configuration accepts: `id`, `sub`, `iat`, `exp`, and `iss` and `aud`
/// where they are demanded. `iat` is what taking back all tokens of a user goes by.
#[must_use]
pub fn standard_claims(user: &UserId, now: Timestamp, ttl: Duration, config: &Config) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("id".to_owned(), user.as_str().into());
    claims.insert("sub".to_owned(), user.as_str().into());
    claims.insert("iat".to_owned(), seconds(now).into());
    claims.insert("exp".to_owned(), seconds(now.after(ttl)).into());
    if let Some(issuer) = &config.issuer {
        claims.insert("iss".to_owned(), issuer.as_str().into());
    }
    if let Some(audience) = config.audience.first() {
        claims.insert("aud".to_owned(), audience.as_str().into());
    }
    claims
}

const fn seconds(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(1000)
}

/// A token that was made here.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The token.
    pub token: String,
    /// Its id, by which it can be taken back.
    pub id: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Auth {
    /// Makes a token for `user` that is good for `ttl`, with `extra` claims.
    ///
    /// # Errors
    ///
    /// `forbidden` where tokens are signed with a private key, which this server does not have.
    pub fn sign(&self, user: &UserId, ttl: Duration, extra: Map<String, Value>) -> Result<Signed, Refusal> {
        let now = Timestamp::now();
        let mut claims = extra;
        claims.extend(standard_claims(user, now, ttl, &self.config));
        let id = crate::ids::MessageId::fresh().to_string();
        claims.insert("jti".to_owned(), id.as_str().into());
        let token = self.keys().sign(&claims).ok_or_else(|| {
            let message = "this server has public keys only: tokens are made by whoever has the private one";
            Refusal::new(ErrorCode::Forbidden, message)
        })?;
        let expires_at = Timestamp::from_millis(seconds(now.after(ttl)).saturating_mul(1000));
        Ok(Signed { token, id, expires_at })
    }
}
