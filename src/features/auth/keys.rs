//! The keys that tokens may be signed with: one algorithm, one key of it or several.
//!
//! A key is checked against the configured algorithm when it is read, so a public key can never be tried as an HMAC secret, nor
//! one kind of key with the algorithm of another. Nothing here reaches into the network.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::signature as aws;
use jsonwebtoken::{
    DecodingKey, DecodingKeyKind, EncodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse},
};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Algorithm, Config};

/// Largest file of keys that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most keys that a token is tried with. More would make one bad token expensive.
const MAX_KEYS: usize = 32;
/// A public RSA key of 2048 bits has at least so many bytes in DER (PKCS #1); shorter ones can be broken.
const MIN_RSA_DER_BYTES: usize = 266;
/// The bytes of a modulus of 2048 bits.
const MIN_RSA_MODULUS_BYTES: usize = 256;

/// The keys of the one algorithm that is configured. A key of another kind cannot get in here.
pub struct Keys {
    algorithm: Algorithm,
    all: Vec<Key>,
    /// Signs what the server itself makes; only where it shares a secret with the app.
    signer: Option<EncodingKey>,
    source: Source,
}

/// The files that public keys were read from.
#[derive(Clone, Debug, Default)]
struct Source {
    pem: Vec<String>,
    jwks: Option<PathBuf>,
}

/// A key with the name by which tokens may choose it.
struct Key {
    id: Option<String>,
    key: DecodingKey,
}

/// Why the configured keys cannot be used.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file holds something else than was expected.
    #[error("{} {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There are more keys than a token is tried with.
    #[error("more than {MAX_KEYS} keys are configured: remove those that nobody signs with any more")]
    TooMany,
}

impl Keys {
    /// HS256 with one secret or more; the first is the current one.
    #[must_use]
    pub fn hs256(secrets: &[&[u8]]) -> Self {
        let keys = secrets.iter().map(|secret| Key { id: None, key: DecodingKey::from_secret(secret) }).collect();
        let signer = secrets.first().map(|secret| EncodingKey::from_secret(secret));
        Self { algorithm: Algorithm::Hs256, all: keys, signer, source: Source::default() }
    }

    /// The keys that `config` names. `secret` is the current secret of HS256; the other algorithms do not look at it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or holds no public key for the algorithm.
    pub fn load(config: &Config, secret: &[u8]) -> Result<Self, KeysError> {
        let algorithm = config.algorithm;
        if algorithm == Algorithm::Hs256 {
            let previous = config.previous_jwt_secrets.iter().map(crate::setting::Secret::as_bytes);
            let secrets: Vec<&[u8]> = std::iter::once(secret).chain(previous).collect();
            return if secrets.len() > MAX_KEYS { Err(KeysError::TooMany) } else { Ok(Self::hs256(&secrets)) };
        }
        Self::read(algorithm, Source { pem: config.public_keys.clone(), jwks: config.jwks_file.clone() })
    }

    /// Reads the public keys from where they were read before.
    pub(super) fn read_again(&self) -> Result<Self, KeysError> {
        Self::read(self.algorithm, self.source.clone())
    }

    /// The file that is looked at when a token names a key that is not there.
    pub(super) fn jwks_file(&self) -> Option<&Path> {
        self.source.jwks.as_deref()
    }

    fn read(algorithm: Algorithm, source: Source) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for path in &source.pem {
            keys.push(Key { id: None, key: read_pem(Path::new(path), algorithm)? });
        }
        if let Some(path) = &source.jwks {
            keys.extend(read_jwks(path, algorithm)?);
        }
        if keys.len() > MAX_KEYS {
            Err(KeysError::TooMany)
        } else {
            Ok(Self { algorithm, all: keys, signer: None, source })
        }
    }

    /// The algorithm that tokens have to name.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs claims with the secret that is shared with the app; `None` where only the issuer can sign.
    #[must_use]
    pub fn sign(&self, claims: &Map<String, Value>) -> Option<String> {
        let header = jsonwebtoken::Header::new(library(self.algorithm));
        jsonwebtoken::encode(&header, claims, self.signer.as_ref()?).ok()
    }

    /// The keys to try for a token: those with its `kid` if there are any, else those without a name, else, for a token without
    /// `kid`, all.
    pub(super) fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a DecodingKey> {
        let is_known = self.knows(id);
        let fits = move |key: &&Key| match id {
            Some(id) if is_known => key.id.as_deref() == Some(id),
            Some(_) => key.id.is_none(),
            None => true,
        };
        self.all.iter().filter(fits).map(|key| &key.key)
    }

    /// Whether a key has this name. Without a name there is nothing to be known.
    pub(super) fn knows(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.all.iter().any(|key| key.id.as_deref() == Some(id)))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("algorithm", &self.algorithm)
            .field("keys", &self.all.len())
            .finish_non_exhaustive()
    }
}

/// The algorithm as the library calls it.
pub(super) const fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

fn read(path: &Path) -> Result<String, KeysError> {
    let unreadable = |source| KeysError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    if u64::try_from(read.map_err(unreadable)?).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(unusable(path, format!("has more than {MAX_FILE_BYTES} bytes: these are no keys")));
    }
    Ok(text)
}

fn unusable(path: &Path, what: impl Into<String>) -> KeysError {
    KeysError::Unusable { path: path.to_owned(), what: what.into() }
}

fn read_pem(path: &Path, algorithm: Algorithm) -> Result<DecodingKey, KeysError> {
    let text = read(path)?;
    if text.contains("PRIVATE KEY") {
        let what = "holds a private key, which only the issuer should have: give the public one (openssl pkey -pubout)";
        return Err(unusable(path, what));
    }
    if text.contains("BEGIN CERTIFICATE") {
        let what = "holds a certificate: give its public key (openssl x509 -pubkey -noout)";
        return Err(unusable(path, what));
    }
    if text.matches("-----BEGIN").count() != 1 {
        return Err(unusable(path, "must hold one public key in PEM"));
    }
    let key = match algorithm {
        Algorithm::Hs256 => return Err(unusable(path, "is a public key, and HS256 has none")),
        Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => DecodingKey::from_rsa_pem(text.as_bytes()),
        Algorithm::Es256 | Algorithm::Es384 => DecodingKey::from_ec_pem(text.as_bytes()),
        Algorithm::EdDsa => DecodingKey::from_ed_pem(text.as_bytes()),
    };
    let key = key.map_err(|_| unusable(path, format!("holds no public key for {}", algorithm.name())))?;
    check(&key, algorithm).map_err(|what| unusable(path, what))?;
    Ok(key)
}

/// The keys of a JWK set that are for this algorithm; the others belong to somebody else's purposes.
fn read_jwks(path: &Path, algorithm: Algorithm) -> Result<Vec<Key>, KeysError> {
    let set: JwkSet =
        serde_json::from_str(&read(path)?).map_err(|error| unusable(path, format!("is no JWK set: {error}")))?;
    let mut keys = Vec::new();
    for jwk in set.keys.iter().filter(|jwk| is_for(jwk, algorithm)) {
        let key = DecodingKey::from_jwk(jwk).map_err(|_| "cannot be read");
        let key = key.and_then(|key| check(&key, algorithm).map(|()| key));
        let name = jwk.common.key_id.as_deref().unwrap_or("without a name");
        let key = key.map_err(|what| unusable(path, format!("holds the key {name:?}, which {what}")))?;
        keys.push(Key { id: jwk.common.key_id.clone(), key });
    }
    if keys.is_empty() {
        return Err(unusable(path, format!("holds no key for {}", algorithm.name())));
    }
    Ok(keys)
}

fn is_for(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let kind = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::Es256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::Es384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDsa) => key.curve == EllipticCurve::Ed25519,
        // A secret (`oct`) in a set of public keys is never used: it would let whoever reads the set sign.
        _ => false,
    };
    let common = &jwk.common;
    kind && common.public_key_use.as_ref().is_none_or(|what| *what == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|list| list.contains(&KeyOperations::Verify))
        && common.key_algorithm.is_none_or(|named| named.to_string() == algorithm.name())
}

/// What makes a key unfit for the algorithm, if anything does: the library would find out with the first token only.
fn check(key: &DecodingKey, algorithm: Algorithm) -> Result<(), &'static str> {
    let kind: &'static dyn aws::VerificationAlgorithm = match algorithm {
        Algorithm::Hs256 => return Err("is no secret"),
        Algorithm::Rs256 => &aws::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &aws::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &aws::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Es256 => &aws::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &aws::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDsa => &aws::ED25519,
    };
    let is_rsa = matches!(algorithm, Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512);
    match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => {
            if is_rsa && bytes.len() < MIN_RSA_DER_BYTES {
                return Err("has fewer than 2048 bits");
            }
            aws::ParsedPublicKey::new(kind, bytes).map(|_| ()).map_err(|_| "is of another kind than the algorithm")
        }
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            if n.iter().skip_while(|byte| **byte == 0).count() < MIN_RSA_MODULUS_BYTES {
                return Err("has fewer than 2048 bits");
            }
            let parts = aws::RsaPublicKeyComponents { n, e };
            let parsed = parts.to_parsed_public_key(&aws::RSA_PKCS1_2048_8192_SHA256);
            parsed.map(|_| ()).map_err(|_| "is no RSA key")
        }
    }
}
