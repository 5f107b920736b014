//! The rules of signing in.

mod attacks;
mod key_files;
mod revocation;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{Config, Credentials, Keys, TokenError};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::testing::{SECRET, features, id},
    http::Origins,
};

fn seconds_from_now(seconds: i64) -> i64 {
    Timestamp::now().as_millis() / 1000 + seconds
}

fn sign(claims: &Value, header: &Header, secret: &[u8]) -> String {
    // The test binary has one provider of cryptography; which test comes first does not matter.
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
    encode(header, claims, &EncodingKey::from_secret(secret)).expect("signed")
}

fn hs256(claims: &Value) -> String {
    sign(claims, &Header::new(Algorithm::HS256), SECRET)
}

fn verify(token: &str) -> Result<super::Claims, TokenError> {
    Keys::hs256(&[SECRET]).verify(token, &Config::default())
}

#[test]
fn a_good_token_names_its_user_in_id_or_sub() {
    let exp = seconds_from_now(60);
    for (claims, user) in [
        (json!({"id": "alice", "sub": "other", "exp": exp}), "alice"),
        (json!({"sub": "bob", "exp": exp}), "bob"),
        (json!({"id": 42, "exp": exp}), "42"),
    ] {
        assert_eq!(verify(&hs256(&claims)).expect("good").user, id(user));
    }
}

#[test]
fn bad_tokens_are_told_apart() {
    let exp = seconds_from_now(60);
    let good = json!({"id": "alice", "exp": exp});
    let mut cut = hs256(&good);
    cut.truncate(cut.len() - 3);
    let mut critical = Header::new(Algorithm::HS256);
    critical.extras.insert("zip".to_owned(), "DEF".to_owned());
    for (token, error) in [
        ("rubbish".to_owned(), TokenError::Malformed),
        (".".repeat(5000), TokenError::Malformed),
        (sign(&good, &Header::new(Algorithm::HS256), b"another secret, also long enough"), TokenError::Signature),
        (sign(&good, &Header::new(Algorithm::HS512), SECRET), TokenError::Algorithm),
        (sign(&good, &critical, SECRET), TokenError::Algorithm),
        ("eyJhbGciOiJub25lIn0.eyJpZCI6ImFsaWNlIn0.".to_owned(), TokenError::Algorithm),
        (hs256(&json!({"id": "alice", "exp": seconds_from_now(-6)})), TokenError::Expired),
        (hs256(&json!({"id": "alice", "exp": exp, "nbf": seconds_from_now(30)})), TokenError::NotActive),
        (hs256(&json!({"id": "alice"})), TokenError::Claims),
        (hs256(&json!({"exp": exp})), TokenError::User),
        (hs256(&json!({"id": "", "exp": exp})), TokenError::User),
        (hs256(&json!({"id": "a\u{202e}b", "exp": exp})), TokenError::User),
        (hs256(&json!({"id": ["alice"], "exp": exp})), TokenError::User),
    ] {
        assert_eq!(verify(&token).expect_err("bad"), error, "{token:.60}");
    }
    assert!(verify(&cut).is_err());
}

#[test]
fn mistyped_times_do_not_count_as_absent() {
    for claims in [json!({"id": "a", "exp": "9999999999"}), json!({"id": "a", "exp": seconds_from_now(60), "nbf": "1"})]
    {
        assert_eq!(verify(&hs256(&claims)), Err(TokenError::Claims), "{claims}");
    }
}

#[test]
fn issuer_and_audience_are_demanded_when_configured() {
    let exp = seconds_from_now(60);
    let config = Config { issuer: Some("app".to_owned()), audience: vec!["chat".to_owned()], ..Config::default() };
    let check = |claims: Value| Keys::hs256(&[SECRET]).verify(&hs256(&claims), &config);
    check(json!({"id": "a", "exp": exp, "iss": "app", "aud": ["other", "chat"]})).expect("both fit");
    check(json!({"id": "a", "exp": exp, "iss": "app"})).expect_err("no audience");
    check(json!({"id": "a", "exp": exp, "iss": "foe", "aud": "chat"})).expect_err("another issuer");
}

#[test]
fn a_token_is_looked_for_in_the_order_of_the_contract() {
    let all = Credentials {
        auth: Some(r#"{"token":"auth"}"#),
        queries: [Some("token=namespace"), Some("EIO=4&token=query")],
        authorization: Some("Bearer header"),
        cookie: Some("a=b; token=cookie"),
        origin: Some("https://app.test"),
        ..Credentials::default()
    };
    let (config, origins) = (Config::default(), Origins::Listed(vec!["https://app.test".to_owned()]));
    let found = |credentials: Credentials<'_>| credentials.token(&config, &origins).unwrap_or_default();
    assert_eq!(found(all), "auth");
    assert_eq!(found(Credentials { header_first: true, ..all }), "header");
    let all = Credentials { auth: Some(r#"{"token":7}"#), ..all };
    assert_eq!(found(all), "namespace");
    let all = Credentials { queries: [None, None], ..all };
    assert_eq!(found(all), "header");
    let all = Credentials { authorization: None, ..all };
    assert_eq!(found(all), "cookie");
    assert_eq!(found(Credentials { origin: Some("https://evil.test"), ..all }), "", "not from a foreign page");
    assert_eq!(found(Credentials { origin: None, ..all }), "", "nor from who knows where");
}

#[tokio::test]
async fn the_refusal_begins_with_the_word_that_old_clients_look_for() {
    let refused = features().auth.sign_in(&Credentials::default()).await.expect_err("no token");
    assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::TokenMissing, "Unauthorized - No token"));
}

#[tokio::test]
async fn a_token_makes_its_user_known_with_name_and_picture() {
    let features = features();
    let token = hs256(&json!({"id": "alice", "exp": seconds_from_now(60), "username": "Alice", "avatar": "a.png"}));
    let authorization = format!("Bearer {token}");
    let credentials = Credentials { authorization: Some(&authorization), ..Credentials::default() };
    features.auth.sign_in(&credentials).await.expect("good");
    let profile = features.users.profile(&id("alice")).expect("readable");
    assert_eq!((profile.username.as_str(), profile.avatar.as_deref()), ("Alice", Some("a.png")));
}
