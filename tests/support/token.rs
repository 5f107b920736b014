//! Tokens: good ones, and ones that are wrong in a single respect.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hobnob::clock::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// The secret of the servers under test.
pub const SECRET: &str = "Kf0V3v4eZqUu0n9x1v8G6mJm2kq7Yw3RrT5sLcXbHdPzAoNi";

/// A good token of `user`.
pub fn of(user: &str) -> String {
    signed(Algorithm::HS256, &json!({"id": user, "exp": in_seconds(3600)}), SECRET)
}

/// A token with these claims.
pub fn signed(algorithm: Algorithm, claims: &Value, secret: &str) -> String {
    // Another test may have been first; there is one provider for the process.
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().unwrap_or_default();
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("a token")
}

/// A token with this header and these claims, and whatever stands for the signature.
pub fn by_hand(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// The time in so many seconds, as claims have it.
pub fn in_seconds(seconds: i64) -> i64 {
    Timestamp::now().as_millis() / 1000 + seconds
}
