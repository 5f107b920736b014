//! Locking out, taking back, and the keys of the app's backend.

use std::time::Duration;

use serde_json::{Value, json};

use super::{hs256, id, seconds_from_now};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        Features,
        auth::{ApiKeys, Auth, Config, Credentials, Keys, store::REVOKED_TOKENS},
        testing::{SECRET, features},
        users::Users,
    },
    http::Origins,
    storage::Store,
};

async fn sign_in(auth: &Auth, claims: Value) -> Result<(), (ErrorCode, String)> {
    let auth_object = json!({"token": hs256(&claims)}).to_string();
    let credentials = Credentials { auth: Some(&auth_object), ..Credentials::default() };
    auth.sign_in(&credentials).await.map(|_| ()).map_err(|refusal| (refusal.code, refusal.message))
}

fn claims(user: &str, iat: i64) -> Value {
    json!({"id": user, "exp": seconds_from_now(600), "iat": seconds_from_now(iat), "jti": format!("{user}:{iat}")})
}

fn revoked() -> Result<(), (ErrorCode, String)> {
    Err((ErrorCode::TokenInvalid, "Unauthorized - token revoked".to_owned()))
}

fn on(store: &Store) -> Auth {
    let users = Users::new(store.clone(), true);
    Auth::new(Config::default(), Keys::hs256(&[SECRET]), Origins::Any, users, store).expect("a store in memory")
}

#[tokio::test]
async fn a_blocked_user_is_told_so_until_unblocked() {
    let Features { auth, .. } = features();
    auth.block(&id("alice")).await.expect("stored");
    auth.block(&id("alice")).await.expect("again");
    assert!(auth.is_blocked(&id("alice")));
    let refused = sign_in(&auth, claims("alice", 0)).await.expect_err("blocked");
    assert_eq!(refused, (ErrorCode::UserBlocked, "Unauthorized - user blocked".to_owned()));
    sign_in(&auth, claims("bob", 0)).await.expect("somebody else");
    auth.unblock(&id("alice")).await.expect("stored");
    sign_in(&auth, claims("alice", 0)).await.expect("unblocked");
}

/// Compared with when the token was made, never with the present time: a token stays revoked, and a later one is good.
#[tokio::test]
async fn taking_back_all_tokens_refuses_those_made_until_then_and_no_later_ones() {
    let Features { auth, .. } = features();
    sign_in(&auth, claims("alice", -5)).await.expect("good before");
    auth.revoke_user(&id("alice")).await.expect("stored");
    assert_eq!(sign_in(&auth, claims("alice", -5)).await, revoked());
    let same_second = json!({"id": "alice", "exp": seconds_from_now(60), "iat": Timestamp::now().as_millis() / 1000});
    assert_eq!(sign_in(&auth, same_second).await, revoked(), "it may have been made before");
    let without_iat = json!({"id": "alice", "exp": seconds_from_now(60)});
    assert_eq!(sign_in(&auth, without_iat.clone()).await, revoked(), "nobody knows when it was made");
    sign_in(&auth, claims("alice", 2)).await.expect("made later");
    sign_in(&auth, claims("bob", -5)).await.expect("somebody else");
    let mut bobs = without_iat;
    bobs["id"] = "bob".into();
    sign_in(&auth, bobs).await.expect("no revocation, no need for iat");
}

#[tokio::test]
async fn one_token_can_be_taken_back_alone() {
    let Features { auth, .. } = features();
    auth.revoke_token("alice:-1", Some(Timestamp::now().after(Duration::from_mins(10)))).await.expect("stored");
    assert_eq!(sign_in(&auth, claims("alice", -1)).await, revoked());
    sign_in(&auth, claims("alice", -2)).await.expect("another token");
    for (jti, code) in [(String::new(), ErrorCode::InvalidPayload), ("x".repeat(513), ErrorCode::TooLong)] {
        assert_eq!(auth.revoke_token(&jti, None).await.expect_err("no id").code, code);
    }
    let numbered = json!({"id": "alice", "exp": seconds_from_now(60), "jti": 7});
    auth.revoke_token("7", None).await.expect("stored");
    assert_eq!(sign_in(&auth, numbered).await, revoked());
    let mistyped = json!({"id": "alice", "exp": seconds_from_now(60), "jti": {}});
    sign_in(&auth, mistyped).await.expect_err("could not be revoked");
}

#[tokio::test]
async fn who_is_refused_is_refused_after_a_restart_too() {
    let store = Store::memory();
    let auth = on(&store);
    auth.block(&id("alice")).await.expect("stored");
    auth.revoke_user(&id("bob")).await.expect("stored");
    auth.revoke_token("carol:-1", None).await.expect("stored");
    let key = auth.api_keys().create("app").await.expect("a key");
    let auth = on(&store);
    assert_eq!(sign_in(&auth, claims("alice", 0)).await.expect_err("blocked").0, ErrorCode::UserBlocked);
    assert_eq!(sign_in(&auth, claims("bob", -1)).await, revoked());
    assert_eq!(sign_in(&auth, claims("carol", -1)).await, revoked());
    assert_eq!(auth.api_keys().verify(&key).expect("known").1, "app");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_forgotten_once_it_has_ended_by_itself() {
    let store = Store::memory();
    let auth = on(&store);
    auth.revoke_token("short", Some(Timestamp::now().after(Duration::from_mins(10)))).await.expect("stored");
    auth.revoke_token("long", Some(Timestamp::now().after(Duration::from_hours(48)))).await.expect("stored");
    tokio::time::advance(Duration::from_mins(20)).await;
    auth.sweep_tokens().await.expect("swept");
    assert!(store.contains(&REVOKED_TOKENS, &"short".to_owned()).expect("readable"), "clocks may be set back");
    tokio::time::advance(Duration::from_hours(2)).await;
    auth.sweep_tokens().await.expect("swept");
    assert!(!store.contains(&REVOKED_TOKENS, &"short".to_owned()).expect("readable"));
    assert!(store.contains(&REVOKED_TOKENS, &"long".to_owned()).expect("readable"));
    assert_eq!(auth.refused.read(|sets| sets.tokens.len()), 1);
}

#[tokio::test]
async fn an_api_key_is_shown_once_and_accepted_as_a_whole() {
    let store = Store::memory();
    let keys = ApiKeys::load(&store).expect("a store in memory");
    let text = keys.create("shop backend").await.expect("a key");
    let (id, name) = keys.verify(&text).expect("good");
    assert_eq!((name.as_str(), text.starts_with(&format!("hk_{id}_"))), ("shop backend", true));
    let secret = text.rsplit_once(&format!("{id}_")).expect("parts").1;
    let listed = keys.list().expect("readable");
    assert!(!format!("{listed:?}").contains(secret), "the secret is nowhere");
    assert!(listed[0].last_used_at.is_some());
    let flipped = format!("{}{}", &text[..text.len() - 1], if text.ends_with('A') { 'B' } else { 'A' });
    for wrong in [
        String::new(),
        id.clone(),
        format!("hk_{id}_"),
        format!("hk_{id}"),
        format!("hk__{secret}"),
        secret.to_owned(),
        text.to_uppercase(),
        format!("{text} "),
        format!("{text}A"),
        flipped,
        "x".repeat(100_000),
        String::from_utf8_lossy(SECRET).into_owned(),
        hs256(&claims("alice", 0)),
    ] {
        let refused = keys.verify(&wrong).expect_err("no key");
        assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::Unauthorized, "Unauthorized - API key"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_api_key_stays_revoked_although_it_was_just_used() {
    let store = Store::memory();
    let keys = ApiKeys::load(&store).expect("a store in memory");
    let text = keys.create("app").await.expect("a key");
    let (id, _) = keys.verify(&text).expect("good");
    let used = keys.list().expect("readable")[0].last_used_at;
    tokio::time::advance(Duration::from_secs(90)).await;
    keys.verify(&text).expect("good");
    assert!(keys.list().expect("readable")[0].last_used_at > used);
    keys.revoke(&id).await.expect("stored");
    keys.verify(&text).expect_err("revoked");
    assert_eq!(keys.list().expect("readable"), []);
    assert_eq!(keys.revoke(&id).await.expect_err("gone").code, ErrorCode::NotFound);
    ApiKeys::load(&store).expect("readable").verify(&text).expect_err("for ever");
}

#[tokio::test]
async fn names_of_api_keys_are_one_line_and_keys_are_not_without_number() {
    let keys = ApiKeys::load(&Store::memory()).expect("a store in memory");
    for (name, code) in [
        (" ".to_owned(), ErrorCode::InvalidPayload),
        ("a\nb".to_owned(), ErrorCode::InvalidPayload),
        ("x".repeat(101), ErrorCode::TooLong),
    ] {
        assert_eq!(keys.create(&name).await.expect_err("no name").code, code);
    }
    for _ in 0..256 {
        keys.create("app").await.expect("a key");
    }
    assert_eq!(keys.create("app").await.expect_err("enough").code, ErrorCode::TooLong);
}

/// P34: what a stranger sends is judged without the store. On a closed one, whatever looks at it fails otherwise.
#[tokio::test]
async fn p34_nothing_before_authentication_touches_the_store() {
    let store = Store::memory();
    let auth = on(&store);
    auth.block(&id("eve")).await.expect("stored");
    auth.revoke_user(&id("dan")).await.expect("stored");
    store.close().await;
    let expired = json!({"id": "alice", "exp": seconds_from_now(-60)});
    assert_eq!(sign_in(&auth, expired).await.expect_err("expired").0, ErrorCode::TokenExpired);
    assert_eq!(sign_in(&auth, claims("eve", 0)).await.expect_err("blocked").0, ErrorCode::UserBlocked);
    assert_eq!(sign_in(&auth, claims("dan", -9)).await, revoked());
    for token in ["", "rubbish", "a.b.c"] {
        let auth_object = json!({"token": token}).to_string();
        let credentials = Credentials { auth: Some(&auth_object), ..Credentials::default() };
        let refused = auth.sign_in(&credentials).await.expect_err("no token");
        assert!(matches!(refused.code, ErrorCode::TokenMissing | ErrorCode::TokenMalformed), "{refused}");
    }
    assert_eq!(auth.api_keys().verify("hk_0_x").expect_err("no key").code, ErrorCode::Unauthorized);
    assert_eq!(sign_in(&auth, claims("alice", 0)).await.expect_err("closed").0, ErrorCode::Unavailable);
}
