//! "Security & Rate Limiting".

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::Walk;
use crate::support::{client::Client, http, token};

const NAMESPACES: [&str; 3] = ["/", "/messages", "/notifications"];

/// "JWT Authentication", "Rejection".
#[tokio::test]
async fn a_missing_malformed_forged_or_expired_token_is_rejected_in_every_namespace_and_over_rest() {
    let walk = Walk::start().await;
    let claims = |seconds| json!({"id": "ann", "exp": token::in_seconds(seconds)});
    let expired = token::signed(Algorithm::HS256, &claims(-3600), token::SECRET);
    let forged = token::signed(Algorithm::HS256, &claims(3600), "a secret that this server has never had, not once");
    for (auth, code) in [
        (Value::Null, "token_missing"),
        (json!({"token": "no token at all"}), "token_malformed"),
        (json!({"token": forged}), "token_invalid"),
        (json!({"token": expired}), "token_expired"),
    ] {
        for namespace in NAMESPACES {
            let refusal = Client::join(walk.server.address, namespace, auth.clone()).await.err().expect("rejected");
            assert_eq!(refusal["data"]["code"], code, "{namespace}: {refusal}");
            assert!(refusal["message"].as_str().is_some_and(|text| text.starts_with("Unauthorized")), "{refusal}");
        }
        let bearer = auth["token"].as_str().map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let answer = http::request(walk.server.address, "GET", "/api/conversations", &headers, b"").await;
        assert_eq!(answer.refusal(), (401, code.to_owned()));
    }
}

/// "JWT Authentication", "User Attachment".
#[tokio::test]
async fn a_socket_is_the_user_of_its_token() {
    let walk = Walk::start().await;
    let claims = json!({"id": "ann", "username": "Ann", "avatar": "/ann.png", "exp": token::in_seconds(60)});
    let auth = json!({"token": token::signed(Algorithm::HS256, &claims, token::SECRET)});
    for namespace in ["/", "/messages"] {
        let ann = Client::join(walk.server.address, namespace, auth.clone()).await.expect("admitted");
        let sent = ann.ok("message:send", json!({"to": "ben", "content": "hello", "sender": "eve"})).await;
        let sender = &sent["message"]["sender"];
        assert_eq!((&sender["id"], &sender["username"]), (&json!("ann"), &json!("Ann")), "{sent}");
        assert_eq!(sender["avatar"], "/ann.png");
    }
}
