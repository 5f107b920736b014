//! Tokens that somebody made up, each wrong in one respect.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{SECRET, hs256, id, seconds_from_now, verify};
use crate::features::auth::TokenError;

/// A token with this header and these claims as they are, and an HMAC over both that is right.
fn forged(header: &str, claims: &str, secret: &[u8]) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn good_claims() -> String {
    json!({"id": "alice", "exp": seconds_from_now(60)}).to_string()
}

#[test]
fn only_the_configured_algorithm_in_its_own_spelling_is_accepted() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!("hs256"),
        json!("HS256 "),
        json!("HS384"),
        json!("HS512"),
        json!("RS256"),
        json!("ES256"),
        json!("PS256"),
        json!("EdDSA"),
        json!(""),
        json!(["HS256"]),
        json!({"HS256": true}),
        json!(256),
        json!(true),
        json!(null),
    ] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        for secret in [SECRET, b""] {
            let error = verify(&forged(&header, &good_claims(), secret)).expect_err("not HS256");
            assert_eq!(error, TokenError::Algorithm, "{alg}");
        }
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(good_claims()));
        assert_eq!(verify(&unsigned), Err(TokenError::Algorithm), "{alg}");
    }
    assert_eq!(verify(&forged(r#"{"typ":"JWT"}"#, &good_claims(), SECRET)), Err(TokenError::Algorithm));
    // The last one counts for one reader, the first one for another: refused by whichever looks second.
    let twice = forged(r#"{"alg":"none","alg":"HS256"}"#, &good_claims(), SECRET);
    assert!(verify(&twice).is_err());
}

#[test]
fn a_header_that_changes_the_meaning_of_the_token_is_refused() {
    for extra in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""b64":false,"crit":["b64"]"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{extra}}}"#);
        assert_eq!(verify(&forged(&header, &good_claims(), SECRET)), Err(TokenError::Algorithm), "{extra}");
    }
}

#[test]
fn what_a_header_says_of_keys_chooses_none() {
    let own = b"the key that an attacker has made for himself";
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(own)});
    for extra in [
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "' OR 1=1 --"}),
        json!({"kid": "http://127.0.0.1:1/key"}),
        json!({"jku": "http://127.0.0.1:1/keys.json", "kid": "own"}),
        json!({"x5u": "http://127.0.0.1:1/cert.pem"}),
        json!({"jwk": jwk}),
        json!({"x5c": ["MIIB"], "x5t": "x"}),
    ] {
        let mut header = json!({"alg": "HS256", "typ": "JWT"});
        header.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let header = header.to_string();
        assert_eq!(verify(&forged(&header, &good_claims(), own)), Err(TokenError::Signature), "{extra}");
        assert_eq!(verify(&forged(&header, &good_claims(), b"")), Err(TokenError::Signature), "{extra}");
        assert_eq!(verify(&forged(&header, &good_claims(), SECRET)).expect("ours").user, id("alice"), "{extra}");
    }
}

#[test]
fn a_signature_is_accepted_as_it_is_or_not_at_all() {
    let good = hs256(&serde_json::from_str(&good_claims()).expect("JSON"));
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let (header, claims) = signed.split_once('.').expect("two parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    bytes[0] ^= 1;
    let flipped = URL_SAFE_NO_PAD.encode(&bytes);
    // The last character of 32 bytes carries two bits of nothing.
    let last = signature.chars().last().expect("not empty");
    let respelled = char::from_u32(u32::from(last) + 1).filter(char::is_ascii_alphanumeric).unwrap_or('_');
    let other = URL_SAFE_NO_PAD.encode(json!({"id": "eve", "exp": seconds_from_now(60)}).to_string());
    for bad in [
        format!("{signed}."),
        format!("{signed}.{}", &signature[..signature.len() - 4]),
        format!("{signed}.{signature}AAAA"),
        format!("{signed}.{signature}="),
        format!("{signed}.{}{respelled}", &signature[..signature.len() - 1]),
        format!("{signed}.{flipped}"),
        format!("{header}.{other}.{signature}"),
        format!("{claims}.{header}.{signature}"),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{good}\0"),
    ] {
        verify(&bad).expect_err(&bad);
    }
    verify(&good).expect("good");
}

#[test]
fn known_and_empty_secrets_do_not_sign() {
    for secret in [&b""[..], b"secret", b"devsecret", b"your-256-bit-secret", b"null", b"undefined", &[0; 32]] {
        assert_eq!(verify(&forged(r#"{"alg":"HS256"}"#, &good_claims(), secret)), Err(TokenError::Signature));
    }
}

#[test]
fn times_of_another_type_or_beyond_all_measure_are_refused() {
    let header = r#"{"alg":"HS256"}"#;
    let check = |claims: &str| verify(&forged(header, claims, SECRET));
    for exp in ["\"9999999999\"", "1e400", "NaN", "[9999999999]", "{}", "true", "null", "-1", "0", "1", "-1e300"] {
        check(&format!(r#"{{"id":"alice","exp":{exp}}}"#)).expect_err(exp);
    }
    for nbf in ["\"soon\"", "[1]", "true", "1e300", "99999999999"] {
        check(&format!(r#"{{"id":"alice","exp":{},"nbf":{nbf}}}"#, seconds_from_now(60))).expect_err(nbf);
    }
    for iat in ["\"now\"", "[1]", "true"] {
        check(&format!(r#"{{"id":"alice","exp":{},"iat":{iat}}}"#, seconds_from_now(60))).expect_err(iat);
    }
    check(&format!(r#"{{"id":"alice","exp":{},"exp":1}}"#, seconds_from_now(60))).expect_err("twice");
    let far = check(r#"{"id":"alice","exp":1e300}"#).expect("the far future is a time");
    assert_eq!(far.expires_at.map(crate::clock::Timestamp::as_millis), Some(i64::MAX));
    check(&format!(r#"{{"id":"alice","exp":{}.5,"nbf":1.25,"iat":1}}"#, seconds_from_now(60))).expect("fractions");
}

#[test]
fn a_subject_is_a_name_and_only_a_name() {
    let exp = seconds_from_now(60);
    let check = |user: &Value| verify(&hs256(&json!({"sub": user, "exp": exp})));
    for user in [
        json!(null),
        json!(""),
        json!({}),
        json!({"$ne": null}),
        json!([]),
        json!(["alice"]),
        json!(true),
        json!(1.5),
        json!(-1),
        json!("x".repeat(129)),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("a\u{1b}[2Jb"),
        json!("a\u{202e}b"),
        json!("a\u{200b}b"),
        json!("a\u{2028}b"),
        json!("\u{feff}a"),
    ] {
        let refused = check(&user);
        assert!(matches!(refused, Err(TokenError::User | TokenError::Claims)), "{user:.60}: {refused:?}");
    }
    assert!(check(&json!("x".repeat(5000))).is_err(), "longer than a token may be");
    for name in ["user:*", "__proto__", "constructor", "conversation:1", "*", "'; DROP TABLE users; --", "../etc"] {
        assert_eq!(check(&json!(name)).expect("a name").user, id(name));
    }
    // What `id` says counts, and an `id` of another type does not make `sub` somebody else's.
    assert_eq!(verify(&hs256(&json!({"id": {}, "sub": "bob", "exp": exp}))).expect("sub").user, id("bob"));
}

#[test]
fn audience_and_issuer_are_compared_as_a_whole() {
    use super::{Config, Keys};
    let config = Config { issuer: Some("app".to_owned()), audience: vec!["chat".to_owned()], ..Config::default() };
    let exp = seconds_from_now(60);
    for (iss, aud) in [
        (json!("app"), json!("chat2")),
        (json!("app"), json!([])),
        (json!("app"), json!([["chat"]])),
        (json!("app"), json!({"chat": true})),
        (json!("app"), json!(null)),
        (json!("App"), json!("chat")),
        (json!("app "), json!("chat")),
        (json!(null), json!("chat")),
        (json!({"app": 1}), json!("chat")),
    ] {
        let token = hs256(&json!({"id": "alice", "exp": exp, "iss": iss, "aud": aud}));
        Keys::hs256(&[SECRET]).verify(&token, &config).expect_err("not for here");
    }
}
