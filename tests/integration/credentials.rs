//! Bad tokens of every kind, and what a page of another origin can do: nothing.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    process::Server,
    token::{self, SECRET, by_hand, in_seconds, signed},
};

/// Every token that is wrong, with the code it is refused with.
fn bad_tokens() -> Vec<(&'static str, &'static str, String)> {
    let good = token::of("ann");
    let (exp, past) = (in_seconds(3600), in_seconds(-3600));
    let hs256 = |claims: Value| signed(Algorithm::HS256, &claims, SECRET);
    let [header, claims, signature] = [0, 1, 2].map(|part| good.split('.').nth(part).expect("three parts"));
    let claims_of = json!({"id": "ann", "exp": exp});
    let none = |alg: &str| by_hand(&json!({"alg": alg, "typ": "JWT"}), &claims_of, "");
    vec![
        ("text", "token_malformed", "rubbish".to_owned()),
        ("two parts", "token_malformed", format!("{header}.{claims}")),
        ("four parts", "token_malformed", format!("{good}.x")),
        ("blanks", "token_malformed", format!("{header} .{claims}.{signature}")),
        ("over 4 KiB", "token_malformed", hs256(json!({"id": "ann", "exp": exp, "x": "x".repeat(4096)}))),
        ("expired", "token_expired", hs256(json!({"id": "ann", "exp": past}))),
        ("another secret", "token_invalid", signed(Algorithm::HS256, &claims_of, &SECRET.to_uppercase())),
        ("no signature", "token_invalid", format!("{header}.{claims}.")),
        ("cut signature", "token_invalid", format!("{header}.{claims}.{}", &signature[..20])),
        (
            "other claims",
            "token_invalid",
            format!(
                "{header}.{}.{signature}",
                by_hand(&json!({}), &json!({"id": "eve", "exp": exp}), "").split('.').nth(1).expect("claims")
            ),
        ),
        ("alg none", "token_invalid", none("none")),
        ("alg None", "token_invalid", none("None")),
        ("no alg", "token_invalid", by_hand(&json!({"typ": "JWT"}), &claims_of, signature)),
        ("HS384", "token_invalid", signed(Algorithm::HS384, &claims_of, SECRET)),
        ("HS512", "token_invalid", signed(Algorithm::HS512, &claims_of, SECRET)),
        ("RS256 in the header", "token_invalid", by_hand(&json!({"alg": "RS256"}), &claims_of, signature)),
        ("crit", "token_invalid", by_hand(&json!({"alg": "HS256", "crit": ["x"]}), &claims_of, signature)),
        ("future nbf", "token_invalid", hs256(json!({"id": "ann", "exp": exp, "nbf": in_seconds(600)}))),
        ("nbf as text", "token_invalid", hs256(json!({"id": "ann", "exp": exp, "nbf": "soon"}))),
        ("exp as text", "token_invalid", hs256(json!({"id": "ann", "exp": exp.to_string()}))),
        ("exp as list", "token_invalid", hs256(json!({"id": "ann", "exp": [exp]}))),
        ("no exp", "token_invalid", hs256(json!({"id": "ann"}))),
        ("nobody", "token_invalid", hs256(json!({"exp": exp}))),
        ("an empty id", "token_invalid", hs256(json!({"id": "", "exp": exp}))),
        ("an id in disguise", "token_invalid", hs256(json!({"id": "a\u{202e}nn", "exp": exp}))),
    ]
}

#[tokio::test]
async fn a_bad_token_is_refused_in_every_namespace_and_over_rest_with_its_code() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    for (what, code, bad) in bad_tokens() {
        for namespace in ["/", "/messages", "/notifications"] {
            let refused = Client::join(server.address, namespace, json!({"token": bad})).await.err();
            let error = refused.unwrap_or_else(|| panic!("{what} was let into {namespace}"));
            assert_eq!(error["data"]["code"], code, "{what} in {namespace}: {error}");
            assert!(error["message"].as_str().is_some_and(|text| text.starts_with("Unauthorized - ")), "{error}");
        }
        let answer = http::call(server.address, &bad, "GET", "/api/conversations", &Value::Null).await;
        assert_eq!(answer.refusal(), (401, code.to_owned()), "{what}");
    }
    let log = server.calm_log();
    assert!(!log.contains("eyJ"), "a token is in the log: {log}");
}

#[tokio::test]
async fn without_a_token_nobody_comes_in_anywhere() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    for namespace in ["/", "/messages", "/notifications"] {
        for auth in [json!(null), json!({}), json!({"token": ""}), json!({"token": 5}), json!({"token": null})] {
            let error = Client::join(server.address, namespace, auth.clone()).await.err().expect("refused");
            assert_eq!(error["data"]["code"], "token_missing", "{auth}: {error}");
        }
    }
    for (method, path) in [
        ("GET", "/api/conversations"),
        ("POST", "/api/conversations"),
        ("POST", "/api/conversations/direct"),
        ("GET", "/api/conversations/0123456789abcdef01234567"),
        ("POST", "/api/conversations/0123456789abcdef01234567/members"),
        ("DELETE", "/api/conversations/0123456789abcdef01234567/members"),
        ("GET", "/api/messages/conversation/0123456789abcdef01234567"),
        ("POST", "/api/messages"),
        ("PUT", "/api/messages/0123456789abcdef01234567"),
        ("DELETE", "/api/messages/0123456789abcdef01234567"),
    ] {
        let answer = http::request(server.address, method, path, &[], b"").await;
        assert_eq!(answer.refusal(), (401, "token_missing".to_owned()), "{method} {path}");
    }
    let error = Client::join(server.address, "/nowhere", json!({"token": token::of("ann")})).await.err();
    assert_eq!(error.expect("refused"), json!({"message": "Invalid namespace"}));
}

#[tokio::test]
async fn only_an_allowed_origin_gets_leave_to_read_the_answer() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("CLIENT_ORIGIN", "https://chat.example.org")]).await;
    let handshake = "/socket.io/?EIO=4&transport=polling";
    for path in [handshake, "/api/conversations", "/healthz"] {
        let headers = [("Origin", "https://chat.example.org")];
        let allowed = http::request(server.address, "GET", path, &headers, b"").await;
        assert_eq!(allowed.header("access-control-allow-origin"), Some("https://chat.example.org"), "{path}");
        assert_eq!(allowed.header("access-control-allow-credentials"), Some("true"), "{path}");
        for foreign in ["https://evil.test", "https://chat.example.org.evil.test", "http://chat.example.org", "null"] {
            for method in ["GET", "OPTIONS"] {
                let headers = [("Origin", foreign), ("Access-Control-Request-Method", "POST")];
                let answer = http::request(server.address, method, path, &headers, b"").await;
                assert_eq!(answer.header("access-control-allow-origin"), None, "{foreign} {method} {path}");
            }
        }
    }
}

/// A browser adds the cookie whoever has caused the request: without a good origin it is not looked at.
#[tokio::test]
async fn a_token_in_a_cookie_counts_only_from_an_allowed_origin() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("CLIENT_ORIGIN", "https://chat.example.org")]).await;
    let cookie = format!("a=b; token={}", token::of("ann"));
    let cases: [(&[(&str, &str)], bool); 7] = [
        (&[("Origin", "https://chat.example.org")], true),
        (&[("Sec-Fetch-Site", "same-origin")], true),
        (&[("Origin", "https://evil.test")], false),
        (&[("Origin", "null")], false),
        (&[("Origin", "https://evil.test"), ("Sec-Fetch-Site", "same-origin")], false),
        (&[("Sec-Fetch-Site", "cross-site")], false),
        (&[], false),
    ];
    for (headers, counts) in cases {
        let headers = [&[("Cookie", cookie.as_str())], headers].concat();
        let answer = http::request(server.address, "GET", "/api/conversations", &headers, b"").await;
        let joined = Client::join_with(server.address, "/", Value::Null, "", &headers).await;
        if counts {
            assert_eq!(answer.status, 200, "{headers:?}");
            assert!(joined.is_ok(), "{headers:?}");
        } else {
            assert_eq!(answer.refusal(), (401, "token_missing".to_owned()), "{headers:?}");
            assert_eq!(joined.err().expect("refused")["data"]["code"], "token_missing", "{headers:?}");
        }
    }
    for query in [format!("&token={}", token::of("ann")), String::new()] {
        let joined = Client::join_with(server.address, "/", Value::Null, &query, &[]).await;
        assert_eq!(joined.is_ok(), !query.is_empty());
    }
}
