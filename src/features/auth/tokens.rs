//! JSON Web Tokens: the keys that are trusted, and the checks.

use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, errors::ErrorKind};
use serde::Deserialize;
use thiserror::Error;

use super::Config;
use crate::{clock::Timestamp, codes::ErrorCode, ids::UserId, server::Refusal};

/// Longest display name and picture address that is taken from a token, in bytes; longer ones are left out.
const MAX_CLAIM_BYTES: usize = 1024;
/// Roles of one token, at most; more are left out.
const MAX_ROLES: usize = 32;

/// The keys of one algorithm family. A key of another family can never be tried with the wrong algorithm.
pub enum Keys {
    /// HS256: the app and the server share a secret. Several while a secret is being replaced; the first one signs.
    Hs256(Vec<DecodingKey>),
}

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

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Missing => ErrorCode::TokenMissing,
            TokenError::Malformed => ErrorCode::TokenMalformed,
            TokenError::Expired => ErrorCode::TokenExpired,
            TokenError::NotActive
            | TokenError::Signature
            | TokenError::Algorithm
            | TokenError::Audience
            | TokenError::Claims
            | TokenError::User => ErrorCode::TokenInvalid,
        };
        Self::new(code, format!("Unauthorized - {error}"))
    }
}

/// The claims as they are in the token. `exp` and `nbf` are checked by the library, and once more by their types here: a
/// mistyped one must not count as absent.
#[derive(Deserialize)]
struct RawClaims {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    sub: Option<serde_json::Value>,
    #[serde(default)]
    username: Option<serde_json::Value>,
    #[serde(default)]
    avatar: Option<serde_json::Value>,
    #[serde(default)]
    roles: Option<serde_json::Value>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default, rename = "nbf")]
    _nbf: Option<f64>,
}

impl Keys {
    /// HS256 with one secret or more; the first is the current one.
    #[must_use]
    pub fn hs256(secrets: &[&[u8]]) -> Self {
        Self::Hs256(secrets.iter().map(|secret| DecodingKey::from_secret(secret)).collect())
    }

    /// Checks `token` in every respect.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn verify(&self, token: &str, config: &Config) -> Result<Claims, TokenError> {
        if token.len() > config.max_token_bytes || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(TokenError::Malformed);
        }
        check_header(token)?;
        let Self::Hs256(keys) = self;
        let validation = validation(Algorithm::HS256, config);
        let mut result = Err(TokenError::Signature);
        for key in keys {
            result = jsonwebtoken::decode::<RawClaims>(token, key, &validation).map_err(|error| explain(error.kind()));
            if !matches!(result, Err(TokenError::Signature)) {
                break;
            }
        }
        let TokenData { claims, .. } = result?;
        claims.check()
    }
}

impl RawClaims {
    fn check(self) -> Result<Claims, TokenError> {
        let user = match (self.id.as_ref().and_then(as_id), self.sub.as_ref().and_then(as_id)) {
            (Some(id), _) | (None, Some(id)) => UserId::new(&id).map_err(|_| TokenError::User)?,
            (None, None) => return Err(TokenError::User),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, and the far future is far enough")]
        let expires_at = self.exp.map(|seconds| Timestamp::from_millis((seconds * 1000.0) as i64));
        let roles = match self.roles {
            Some(serde_json::Value::Array(roles)) => {
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
        })
    }
}

/// A user id is a text; apps with numbered users write a whole number.
fn as_id(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(id) => Some(id.clone()),
        serde_json::Value::Number(id) if id.is_u64() => Some(id.to_string()),
        _ => None,
    }
}

fn short_text(value: Option<&serde_json::Value>) -> Option<String> {
    let text = value?.as_str()?;
    (!text.is_empty() && text.len() <= MAX_CLAIM_BYTES).then(|| text.to_owned())
}

fn validation(algorithm: Algorithm, config: &Config) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = config.leeway_s;
    validation.validate_nbf = true;
    let mut required = Vec::new();
    if config.require_exp {
        required.push("exp");
    }
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

/// The header names the one algorithm there is, and demands nothing that this server does not do: `crit`, `b64` and `zip` change
/// what a token means (RFC 7515, section 4.1.11).
fn check_header(token: &str) -> Result<(), TokenError> {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap_or_default();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
    let demands = ["crit", "b64", "zip"].iter().any(|name| header.contains_key(*name));
    if demands || header.get("alg").and_then(serde_json::Value::as_str) != Some("HS256") {
        return Err(TokenError::Algorithm);
    }
    Ok(())
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
