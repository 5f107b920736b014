//! Section `[auth]`: which tokens are accepted, and where they are looked for.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::setting::{self, Secret};

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256: the app's backend and the server share a secret.
    #[default]
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1, version 1.5) with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA with SHA-384.
    #[serde(rename = "RS384")]
    Rs384,
    /// RSA with SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 7] =
        [Self::Hs256, Self::Rs256, Self::Rs384, Self::Rs512, Self::Es256, Self::Es384, Self::EdDsa];

    /// Its name in a token's header and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Settings of authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the operator, not states")]
pub struct Config {
    /// The secret that HS256 tokens are signed with, at least 32 bytes. Without one the server makes its own in the data
    /// directory at the first start.
    #[serde(skip_serializing)]
    pub jwt_secret: Option<Secret>,
    /// Secrets that were in use before, while tokens signed with them are still around.
    #[serde(skip_serializing, deserialize_with = "setting::secrets")]
    pub previous_jwt_secrets: Vec<Secret>,
    /// How tokens are signed. A token that names another algorithm is refused.
    pub algorithm: Algorithm,
    /// PEM files with the public keys of the issuer, for every algorithm but HS256.
    #[serde(deserialize_with = "setting::list")]
    pub public_keys: Vec<String>,
    /// A file with the public keys of the issuer as a JWK set, for every algorithm but HS256.
    pub jwks_file: Option<PathBuf>,
    /// When set, tokens must carry this `iss`.
    pub issuer: Option<String>,
    /// When not empty, tokens must carry one of these as `aud`.
    #[serde(deserialize_with = "setting::list")]
    pub audience: Vec<String>,
    /// How far the clocks of the issuer and of this server may differ, in seconds.
    pub leeway_s: u64,
    /// Whether tokens must carry `exp`.
    pub require_exp: bool,
    /// Whether an unknown user id in a valid token makes a user on the spot.
    pub auto_provision: bool,
    /// Whether the query parameter `token` is looked at.
    pub query_token: bool,
    /// Whether the cookie `token` is looked at; it counts only from an allowed origin.
    pub cookie_token: bool,
    /// Longest token in bytes.
    pub max_token_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            previous_jwt_secrets: Vec::new(),
            algorithm: Algorithm::default(),
            public_keys: Vec::new(),
            jwks_file: None,
            issuer: None,
            audience: Vec::new(),
            leeway_s: 5,
            require_exp: true,
            auto_provision: true,
            query_token: true,
            cookie_token: true,
            max_token_bytes: 4096,
        }
    }
}

impl Config {
    /// How far the clocks of the issuer and of this server may differ.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        Duration::from_secs(self.leeway_s)
    }
}
