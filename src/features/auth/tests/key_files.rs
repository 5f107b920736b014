//! Public keys: from PEM files and JWK sets, one algorithm at a time.

use std::{fs, path::Path, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RsaKeyPair,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{SECRET, id, seconds_from_now};
use crate::{
    features::{
        auth::{Algorithm, Auth, Config, Credentials, Keys, TokenError},
        users::Users,
    },
    http::Origins,
    storage::Store,
};

/// A key pair as an issuer has it.
struct Issuer {
    algorithm: Algorithm,
    signer: EncodingKey,
    pem: String,
    jwk: Value,
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Issuer {
    fn new(algorithm: Algorithm) -> Self {
        jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (signer, public, jwk) = match algorithm {
            Algorithm::Hs256 => unreachable!("it has no public key"),
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
                let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).expect("DER");
                let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("DER");
                let parts = aws_lc_rs::signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let jwk = json!({"kty": "RSA", "n": b64(&parts.n), "e": b64(&parts.e)});
                let signer = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("PEM");
                (signer, public.as_ref().to_vec(), jwk)
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                let (kind, curve) = if algorithm == Algorithm::Es256 {
                    (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
                } else {
                    (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
                };
                let pair = EcdsaKeyPair::generate(kind).expect("a key");
                let private = pair.to_pkcs8v1().expect("DER");
                let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("DER");
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                let jwk = json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)});
                (EncodingKey::from_ec_der(private.as_ref()), public.as_ref().to_vec(), jwk)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().expect("a key");
                let private = pair.to_pkcs8v1().expect("DER");
                let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("DER");
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())});
                (EncodingKey::from_ed_der(private.as_ref()), public.as_ref().to_vec(), jwk)
            }
        };
        Self { algorithm, signer, pem: pem("PUBLIC KEY", &public), jwk }
    }

    /// Its public key in a set, under a name.
    fn jwk(&self, name: &str, more: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        let object = jwk.as_object_mut().expect("an object");
        object.insert("kid".to_owned(), name.into());
        object.extend(more.as_object().expect("an object").clone());
        jwk
    }

    fn token(&self, key_id: Option<&str>) -> String {
        let mut header = Header::new(super::super::keys::library(self.algorithm));
        header.kid = key_id.map(str::to_owned);
        encode(&header, &json!({"id": "alice", "exp": seconds_from_now(60)}), &self.signer).expect("signed")
    }
}

fn with_pem(dir: &Path, issuer: &Issuer) -> Config {
    let path = dir.join("key.pem");
    fs::write(&path, &issuer.pem).expect("written");
    Config { algorithm: issuer.algorithm, public_keys: vec![path.display().to_string()], ..Config::default() }
}

fn with_jwks(dir: &Path, algorithm: Algorithm, keys: &[Value]) -> Config {
    let path = dir.join("keys.json");
    fs::write(&path, json!({"keys": keys}).to_string()).expect("written");
    Config { algorithm, jwks_file: Some(path), ..Config::default() }
}

fn refusal(config: &Config) -> String {
    Keys::load(config, &[]).map(|_| ()).expect_err("no key").to_string()
}

fn issuers() -> Vec<Issuer> {
    Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::Hs256).map(Issuer::new).collect()
}

#[test]
fn every_algorithm_verifies_with_a_pem_file_and_with_a_jwk_set() {
    let dir = tempfile::tempdir().expect("a directory");
    for issuer in issuers() {
        let name = issuer.algorithm.name();
        for config in [
            with_pem(dir.path(), &issuer),
            with_jwks(dir.path(), issuer.algorithm, &[issuer.jwk("a", &json!({"alg": name, "use": "sig"}))]),
        ] {
            let keys = Keys::load(&config, &[]).expect(name);
            for key_id in [None, Some("a")] {
                let claims = keys.verify(&issuer.token(key_id), &config).expect(name);
                assert_eq!(claims.user, id("alice"));
            }
            let stranger = Issuer::new(issuer.algorithm);
            assert_eq!(keys.verify(&stranger.token(None), &config), Err(TokenError::Signature), "{name}");
            assert!(keys.sign(&serde_json::Map::new()).is_none(), "only the issuer signs");
        }
    }
}

#[test]
fn a_public_key_is_no_secret_and_a_signature_of_zeros_is_none() {
    use aws_lc_rs::hmac;
    let dir = tempfile::tempdir().expect("a directory");
    for issuer in issuers() {
        let config = with_pem(dir.path(), &issuer);
        let keys = Keys::load(&config, &[]).expect("a key");
        let claims = URL_SAFE_NO_PAD.encode(json!({"id": "eve", "exp": seconds_from_now(60)}).to_string());
        for alg in ["HS256", issuer.algorithm.name(), "none"] {
            let text = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(json!({"alg": alg}).to_string()));
            let trimmed = issuer.pem.trim();
            for secret in [issuer.pem.as_bytes(), trimmed.as_bytes(), SECRET, b""] {
                let hmac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
                let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac));
                keys.verify(&token, &config).expect_err(alg);
            }
            for length in [0, 1, 64, 96, 256] {
                let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(vec![0; length]));
                keys.verify(&token, &config).expect_err(alg);
            }
        }
        // And the other way round: where a secret is shared, a public key signs nothing.
        assert_eq!(super::verify(&issuer.token(None)), Err(TokenError::Algorithm));
    }
}

#[test]
fn a_key_of_another_kind_is_refused_when_it_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuers = issuers();
    for issuer in &issuers {
        for other in issuers
            .iter()
            .filter(|other| other.jwk["kty"] != issuer.jwk["kty"] || other.jwk["crv"] != issuer.jwk["crv"])
        {
            let config = Config { algorithm: issuer.algorithm, ..with_pem(dir.path(), other) };
            assert!(refusal(&config).contains("key.pem "), "{}", refusal(&config));
            let config = with_jwks(dir.path(), issuer.algorithm, std::slice::from_ref(&other.jwk));
            assert!(refusal(&config).ends_with(&format!("holds no key for {}", issuer.algorithm.name())));
        }
    }
}

#[test]
fn files_that_hold_something_else_say_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(Algorithm::EdDsa);
    let config = with_pem(dir.path(), &issuer);
    let path = dir.path().join("key.pem");
    for (text, told) in [
        (pem("PRIVATE KEY", b"x"), "holds a private key"),
        (pem("CERTIFICATE", b"x"), "holds a certificate"),
        (format!("{0}{0}", issuer.pem), "must hold one public key"),
        ("rubbish".to_owned(), "must hold one public key"),
        (pem("PUBLIC KEY", b"rubbish"), "holds no public key for EdDSA"),
        ("x".repeat(1 << 21), "these are no keys"),
    ] {
        fs::write(&path, text).expect("written");
        assert!(refusal(&config).contains(told), "{}", refusal(&config));
    }
    fs::remove_file(&path).expect("ours");
    assert!(refusal(&config).starts_with("cannot read "), "{}", refusal(&config));
    let config = with_jwks(dir.path(), Algorithm::EdDsa, &[]);
    assert!(refusal(&config).contains("holds no key"), "{}", refusal(&config));
    fs::write(dir.path().join("keys.json"), "[]").expect("written");
    assert!(refusal(&config).contains("is no JWK set"), "{}", refusal(&config));
    let many = vec![issuer.jwk.clone(); 33];
    assert!(refusal(&with_jwks(dir.path(), Algorithm::EdDsa, &many)).contains("more than 32 keys"));
}

#[test]
fn short_rsa_keys_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let modulus = URL_SAFE_NO_PAD.encode([&[0_u8; 128][..], &[0xc5; 128]].concat());
    let jwk = json!({"kty": "RSA", "n": modulus, "e": "AQAB", "kid": "short"});
    let refusal = refusal(&with_jwks(dir.path(), Algorithm::Rs256, &[jwk]));
    assert!(refusal.ends_with("holds the key \"short\", which has fewer than 2048 bits"), "{refusal}");
}

#[test]
fn keys_for_other_purposes_and_secrets_in_a_set_are_passed_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let [signing, encryption, other] = [(); 3].map(|()| Issuer::new(Algorithm::Rs256));
    let secret = json!({"kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let set = [
        encryption.jwk("enc", &json!({"use": "enc"})),
        other.jwk("other", &json!({"alg": "RS512"})),
        secret,
        signing.jwk("sig", &json!({"key_ops": ["verify"]})),
    ];
    let config = with_jwks(dir.path(), Algorithm::Rs256, &set);
    let keys = Keys::load(&config, &[]).expect("one key");
    keys.verify(&signing.token(Some("sig")), &config).expect("for signing");
    for (issuer, name) in [(&encryption, "enc"), (&other, "other")] {
        for key_id in [Some(name), Some("sig"), None] {
            assert_eq!(keys.verify(&issuer.token(key_id), &config), Err(TokenError::Signature), "{name} {key_id:?}");
        }
    }
}

#[test]
fn a_name_chooses_among_the_keys_and_never_a_wrong_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let [one, two] = [(); 2].map(|()| Issuer::new(Algorithm::Es256));
    let config = with_jwks(dir.path(), Algorithm::Es256, &[one.jwk("1", &json!({})), two.jwk("2", &json!({}))]);
    let keys = Keys::load(&config, &[]).expect("two keys");
    for (issuer, key_id, fits) in [
        (&one, Some("1"), true),
        (&two, Some("2"), true),
        (&one, None, true),
        (&two, None, true),
        (&one, Some("2"), false),
        (&one, Some("3"), false),
    ] {
        assert_eq!(keys.verify(&issuer.token(key_id), &config).is_ok(), fits, "{key_id:?}");
    }
}

#[test]
fn tokens_of_the_previous_secret_are_good_while_it_is_listed() {
    use crate::setting::Secret;
    const NEW: &[u8] = b"the new secret, which is long enough as well";
    let old = super::hs256(&json!({"id": "alice", "exp": seconds_from_now(60)}));
    let previous = Secret::new(String::from_utf8_lossy(SECRET));
    let config = Config { previous_jwt_secrets: vec![previous], ..Config::default() };
    let keys = Keys::load(&config, NEW).expect("secrets");
    keys.verify(&old, &config).expect("the old secret");
    let claims = json!({"id": "alice", "exp": seconds_from_now(60)});
    let signed = keys.sign(claims.as_object().expect("an object")).expect("the new secret signs");
    Keys::hs256(&[NEW]).verify(&signed, &config).expect("the new secret");
    assert_eq!(Keys::hs256(&[NEW]).verify(&old, &config), Err(TokenError::Signature));
}

/// The file is read again for a key that is not there, once in ten seconds.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_added_to_the_file_is_found_when_a_token_names_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let [one, two] = [(); 2].map(|()| Issuer::new(Algorithm::EdDsa));
    let config = with_jwks(dir.path(), Algorithm::EdDsa, &[one.jwk("1", &json!({}))]);
    let (store, keys) = (Store::memory(), Keys::load(&config, &[]).expect("a key"));
    let users = Users::new(store.clone(), true);
    let auth = Auth::new(config, keys, Origins::Any, users, &store).expect("a store in memory");
    let sign_in = async |token: String| {
        let auth_object = json!({"token": token}).to_string();
        let credentials = Credentials { auth: Some(&auth_object), ..Credentials::default() };
        auth.sign_in(&credentials).await.map(|_| ())
    };
    sign_in(one.token(Some("1"))).await.expect("there from the start");
    sign_in(two.token(Some("2"))).await.expect_err("not there yet");
    with_jwks(dir.path(), Algorithm::EdDsa, &[one.jwk("1", &json!({})), two.jwk("2", &json!({}))]);
    sign_in(two.token(Some("2"))).await.expect_err("looked a moment ago");
    tokio::time::advance(Duration::from_secs(11)).await;
    sign_in(two.token(Some("2"))).await.expect("found");
    sign_in(one.token(Some("1"))).await.expect("still there");
    // A file that is broken meanwhile changes nothing.
    fs::write(dir.path().join("keys.json"), "{").expect("written");
    tokio::time::advance(Duration::from_secs(11)).await;
    sign_in(two.token(Some("3"))).await.expect_err("unknown");
    sign_in(two.token(Some("2"))).await.expect("kept");
}
