//! JSON Web Tokens: the checks.

use jsonwebtoken::{TokenData, Validation, errors::ErrorKind};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::{Algorithm, Config, EndReason, Keys, keys::library};
use crate::{clock::Timestamp, codes::ErrorCode, ids::UserId, server::Refusal};

/// Longest display name and picture address that is taken from a token, in bytes; longer ones are left out.
const MAX_CLAIM_BYTES: usize = 1024;
/// Roles of one token, at most; more are left out.
const MAX_ROLES: usize = 32;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user: claim `id`, else `sub`.
    pub user: UserId,
    /// Claim `username`.
    pub username: Option<String>,
    /// Claim `avatar`.
    pub avatar: Option<String>,
    /// Claim `roles`.
    pub roles: Vec<String>,
    /// Claim `exp`.
    pub expires_at: Option<Timestamp>,
    /// Claim `iat`: what a revocation of all the user's tokens is compared with.
    pub issued_at: Option<Timestamp>,
    /// Claim `jti`: by it the token alone can be revoked.
    pub token_id: Option<String>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// There is none.
    #[error("No token")]
    Missing,
    /// It is no JWT, or too long.
    #[error("jwt malformed")]
    Malformed,
    /// Its time is over.
    #[error("jwt expired")]
    Expired,
    /// Its time has not come.
    #[error("jwt not active")]
    NotActive,
    /// The signature does not fit any trusted key.
    #[error("invalid signature")]
    Signature,
    /// The header names another algorithm, or demands what this server does not do.
    #[error("invalid algorithm")]
    Algorithm,
    /// It was good once and has been taken back, alone or with all that its user had.
    #[error("token revoked")]
    Revoked,
    /// The operator or the app has locked its user out.
    #[error("user blocked")]
    Blocked,
    /// Issuer or audience are not the configured ones.
    #[error("issuer or audience not accepted")]
    Audience,
    /// A claim is missing or of the wrong type.
    #[error("invalid claims")]
    Claims,
    /// Neither `id` nor `sub` names a user that could exist.
    #[error("User not found")]
    User,
}

impl From<EndReason> for TokenError {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Expired => Self::Expired,
            EndReason::Revoked => Self::Revoked,
            EndReason::Blocked => Self::Blocked,
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Missing => ErrorCode::TokenMissing,
            TokenError::Malformed => ErrorCode::TokenMalformed,
            TokenError::Expired => ErrorCode::TokenExpired,
            TokenError::Blocked => ErrorCode::UserBlocked,
            TokenError::NotActive
            | TokenError::Revoked
            | TokenError::Signature
            | TokenError::Algorithm
            | TokenError::Audience
            | TokenError::Claims
            | TokenError::User => ErrorCode::TokenInvalid,
        };
        Self::new(code, format!("Unauthorized - {error}"))
    }
}

/// The claims as they are in the token. A mistyped one is an error: it must not count as absent.
#[derive(Deserialize)]
struct RawClaims {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    sub: Option<Value>,
    #[serde(default)]
    username: Option<Value>,
    #[serde(default)]
    avatar: Option<Value>,
    #[serde(default)]
    roles: Option<Value>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    jti: Option<Value>,
}

impl Keys {
    /// Checks `token` in every respect but revocation.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn verify(&self, token: &str, config: &Config) -> Result<Claims, TokenError> {
        if token.len() > config.max_token_bytes || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(TokenError::Malformed);
        }
        let header = header(token)?;
        check_header(&header, self.algorithm())?;
        let validation = validation(self.algorithm(), config);
        let mut result = Err(TokenError::Signature);
        for key in self.candidates(key_id(&header)) {
            result = jsonwebtoken::decode::<RawClaims>(token, key, &validation).map_err(|error| explain(error.kind()));
            if !matches!(result, Err(TokenError::Signature)) {
                break;
            }
        }
        let TokenData { claims, .. } = result?;
        claims.check(config)
    }

    /// Whether `token` asks for a key that none has the name of, and a file may have it meanwhile.
    pub(super) fn misses_key_of(&self, token: &str) -> bool {
        self.jwks_file().is_some() && header(token).is_ok_and(|header| !self.knows(key_id(&header)))
    }
}

impl RawClaims {
    fn check(self, config: &Config) -> Result<Claims, TokenError> {
        let (now, leeway) = (Timestamp::now(), config.leeway());
        let expires_at = self.exp.map(moment);
        if expires_at.is_none() && config.require_exp {
            return Err(TokenError::Claims);
        }
        if expires_at.is_some_and(|end| end.after(leeway) <= now) {
            return Err(TokenError::Expired);
        }
        if self.nbf.is_some_and(|start| moment(start) > now.after(leeway)) {
            return Err(TokenError::NotActive);
        }
        let user = match (self.id.as_ref().and_then(as_id), self.sub.as_ref().and_then(as_id)) {
            (Some(id), _) | (None, Some(id)) => UserId::new(&id).map_err(|_| TokenError::User)?,
            (None, None) => return Err(TokenError::User),
        };
        let token_id = self.jti.as_ref().map(|jti| as_id(jti).ok_or(TokenError::Claims)).transpose()?;
        let roles = match self.roles {
            Some(Value::Array(roles)) => {
                roles.iter().filter_map(|role| short_text(Some(role))).take(MAX_ROLES).collect()
            }
            _ => Vec::new(),
        };
        Ok(Claims {
            user,
            username: short_text(self.username.as_ref()),
            avatar: short_text(self.avatar.as_ref()),
            roles,
            expires_at,
            issued_at: self.iat.map(moment),
            token_id,
        })
    }
}

/// Seconds since 1970, perhaps with a fraction, as a moment.
fn moment(seconds: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, and the far future is far enough")]
    Timestamp::from_millis((seconds * 1000.0) as i64)
}

/// A user id is a text; apps with numbered users write a whole number.
fn as_id(value: &Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) if id.is_u64() => Some(id.to_string()),
        _ => None,
    }
}

fn short_text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    (!text.is_empty() && text.len() <= MAX_CLAIM_BYTES).then(|| text.to_owned())
}

fn validation(algorithm: Algorithm, config: &Config) -> Validation {
    let mut validation = Validation::new(library(algorithm));
    // The times are checked by `RawClaims::check`, against the clock that everything else here follows.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let mut required = Vec::new();
    if let Some(issuer) = &config.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    if config.audience.is_empty() {
        validation.validate_aud = false;
    } else {
        validation.set_audience(&config.audience);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn header(token: &str) -> Result<serde_json::Map<String, Value>, TokenError> {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap_or_default();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// The header must name the one algorithm there is, and demand nothing that this server does not do: `crit`, `b64` and `zip`
/// change what a token means (RFC 7515, section 4.1.11). Keys and addresses of keys (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
fn check_header(header: &serde_json::Map<String, Value>, algorithm: Algorithm) -> Result<(), TokenError> {
    let demands = ["crit", "b64", "zip"].iter().any(|name| header.contains_key(*name));
    if demands || header.get("alg").and_then(Value::as_str) != Some(algorithm.name()) {
        return Err(TokenError::Algorithm);
    }
    Ok(())
}

/// The name of the key that the token asks for. It chooses among the configured keys and nothing else.
fn key_id(header: &serde_json::Map<String, Value>) -> Option<&str> {
    header.get("kid").and_then(Value::as_str)
}

fn explain(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotActive,
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::MissingAlgorithm => {
            TokenError::Algorithm
        }
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenError::Audience,
        // The header has been read by now, so what is wrong with the JSON is wrong with the claims.
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            TokenError::Claims
        }
        // Whatever else the library says, the token could not be understood.
        _ => TokenError::Malformed,
    }
}
