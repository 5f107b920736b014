//! Tokens over time: they end, are refreshed and taken back while their sockets are connected; every kind of key lets in.

use std::{fs, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hobnob::clock::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    packets::Packets,
    process::{DATA, Server, api_key},
    token::{self, SECRET, in_seconds, signed},
};

const NAMESPACES: [&str; 3] = ["/", "/messages", "/notifications"];

fn token_for(user: &str, seconds: i64) -> String {
    signed(Algorithm::HS256, &json!({"id": user, "exp": in_seconds(seconds), "iat": in_seconds(-10)}), SECRET)
}

fn moment(value: &Value) -> Timestamp {
    value.as_str().and_then(Timestamp::parse).unwrap_or_else(|| panic!("a date: {value}"))
}

async fn backend(server: &Server, key: &str, path: &str, body: &Value) -> http::Answer {
    let headers = [("X-Api-Key", key), ("Content-Type", "application/json")];
    http::request(server.address, "POST", &format!("/api/server/{path}"), &headers, body.to_string().as_bytes()).await
}

async fn rest(server: &Server, token: &str) -> http::Answer {
    http::call(server.address, token, "GET", "/api/conversations", &Value::Null).await
}

/// With a second of leeway a token is good for sockets until its very end.
#[tokio::test]
async fn p31_a_socket_is_told_and_ended_when_its_token_ends_in_every_namespace() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("HOBNOB_AUTH__LEEWAY_S", "1")]).await;
    let mut clients = Vec::new();
    for namespace in NAMESPACES {
        let auth = json!({"token": token_for("ann", 3)});
        let mut client = Client::join(server.address, namespace, auth).await.expect("good for three seconds");
        let told = client.event("auth:expiring").await;
        clients.push((client, moment(&told["expiresAt"])));
    }
    let mut bystander = Client::connect(server.address, "bob").await;
    for (mut client, ends) in clients {
        let told = client.event("auth:expired").await;
        let late = Timestamp::now().as_millis() - ends.as_millis();
        assert!((0..5000).contains(&late), "{late} ms after the end");
        assert_eq!((&told["reason"], moment(&told["expiresAt"])), (&json!("expired"), ends));
        client.closed().await;
    }
    bystander.ok("conversation:create", json!({"type": "direct", "participants": ["ann"]})).await;
    assert!(bystander.event("session:ready").await["userId"] == "bob");
    let old = rest(&server, &token_for("ann", -2)).await;
    assert_eq!(old.refusal(), (401, "token_expired".to_owned()));
    server.calm_log();
}

#[tokio::test]
async fn a_refresh_prolongs_all_namespaces_of_the_connection_and_none_of_another_user() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("HOBNOB_AUTH__LEEWAY_S", "1")]).await;
    for namespace in NAMESPACES {
        let auth = json!({"token": token_for("ann", 3)});
        let mut client = Client::join(server.address, namespace, auth).await.expect("good for three seconds");
        let ends = moment(&client.event("auth:expiring").await["expiresAt"]);
        client.refused("forbidden", "auth:refresh", json!({"token": token_for("bob", 600)})).await;
        client.refused("token_invalid", "auth:refresh", json!({"token": format!("{}x", token_for("ann", 600))})).await;
        client.refused("token_expired", "auth:refresh", json!({"token": token_for("ann", -60)})).await;
        client.refused("token_missing", "auth:refresh", json!({"token": ""})).await;
        client.refused("invalid_payload", "auth:refresh", json!({"token": 5})).await;
        let ack = client.ok("auth:refresh", json!({"token": token_for("ann", 5)})).await;
        let later = moment(&ack["expiresAt"]);
        assert!(later > ends, "{later} {ends}");
        let told = client.event("auth:expired").await;
        assert_eq!(moment(&told["expiresAt"]), later, "the first end has passed without harm");
        client.closed().await;
    }
    server.calm_log();
}

#[tokio::test]
async fn p31_blocking_and_revoking_end_live_sockets_on_every_namespace_and_keep_them_out() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let mut server = Server::start(&sandbox).await;
    for (user, path, body, reason, code, status) in [
        ("ann", "users/ann/block", json!({}), "blocked", "user_blocked", 403),
        ("eve", "tokens/revoke", json!({"userId": "eve"}), "revoked", "token_invalid", 401),
        ("dan", "tokens/revoke", json!({"jti": "dan-1"}), "revoked", "token_invalid", 401),
    ] {
        let claims = json!({"id": user, "exp": in_seconds(600), "iat": in_seconds(-10), "jti": format!("{user}-1")});
        let token = signed(Algorithm::HS256, &claims, SECRET);
        let mut clients = Vec::new();
        for namespace in NAMESPACES {
            clients.push(Client::join(server.address, namespace, json!({"token": token})).await.expect("good"));
        }
        let bystander = Client::connect(server.address, "bob").await;
        assert_eq!(rest(&server, &token).await.status, 200);
        let answer = backend(&server, &key, path, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for client in clients {
            let events = client.closed().await;
            let told = events.iter().find(|event| event.name == "auth:expired").expect("told");
            assert_eq!(told.payload["reason"], reason, "{told:?}");
        }
        assert_eq!(rest(&server, &token).await.refusal(), (status, code.to_owned()));
        for namespace in NAMESPACES {
            let refused = Client::join(server.address, namespace, json!({"token": token})).await.err();
            assert_eq!(refused.expect("refused")["data"]["code"], code, "{user} {namespace}");
        }
        bystander.group(&["ann"]).await;
    }
    let fresh = signed(Algorithm::HS256, &json!({"id": "eve", "exp": in_seconds(600), "iat": in_seconds(5)}), SECRET);
    assert_eq!(rest(&server, &fresh).await.status, 200, "made after the revocation");
    server.terminate();
    server.ended().await;
    let server = Server::start(&sandbox).await;
    for (user, code) in [("ann", "user_blocked"), ("eve", "token_invalid")] {
        assert_eq!(rest(&server, &token::of(user)).await.refusal().1, code, "after a restart");
    }
    assert_eq!(backend(&server, &key, "users/ann/unblock", &json!({})).await.status, 200);
    Client::connect(server.address, "ann").await;
    server.calm_log();
}

#[tokio::test]
async fn the_backend_asks_who_is_there() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let server = Server::start(&sandbox).await;
    let ask = async |key: &str, users: &str| {
        let path = format!("/api/server/presence?users={users}");
        http::request(server.address, "GET", &path, &[("X-Api-Key", key)], b"").await
    };
    let ann = Client::connect(server.address, "ann").await;
    let hidden = Client::connect(server.address, "hidden").await;
    ann.ok("status:set", json!({"status": "busy"})).await;
    hidden.ok("status:set", json!({"status": "offline"})).await;
    let answer = ask(&key, "ann,hidden,nobody").await;
    let statuses = answer.json();
    assert_eq!(answer.status, 200, "{statuses}");
    for (user, status) in [("ann", "busy"), ("hidden", "offline"), ("nobody", "offline")] {
        assert_eq!(statuses["statuses"][user]["status"], status, "{statuses}");
    }
    assert_eq!(ask("hk_1_wrong", "ann").await.status, 401);
    assert_eq!(ask(&key, "").await.refusal(), (400, "invalid_payload".to_owned()));
    assert_eq!(ask(&key, "ann,,bob").await.refusal(), (400, "invalid_payload".to_owned()));
    let many = |count| (0..count).map(|n: usize| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(ask(&key, &many(100)).await.status, 200);
    let refused = ask(&key, &many(101)).await;
    assert_eq!((refused.status, &refused.json()["field"]), (400, &json!("users")), "{refused:?}");
    server.calm_log();
}

#[tokio::test]
async fn the_backend_sends_and_disconnects_and_reaches_live_sockets() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let server = Server::start(&sandbox).await;
    let mut ann = Client::connect(server.address, "ann").await;
    let message = json!({"from": "bob", "to": "ann", "content": "hi"});
    let headers = [("X-Api-Key", key.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "order-1")];
    for status in ["first", "again"] {
        let body = message.to_string();
        let answer = http::request(server.address, "POST", "/api/server/messages", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 201, "{status}: {answer:?}");
        assert_eq!(answer.header("idempotency-replayed").is_some(), status == "again");
    }
    assert_eq!(ann.event("message:new").await["content"], "hi");
    let event = json!({"users": ["ann"], "event": "order:shipped", "args": [{"id": 7}]});
    let answer = backend(&server, &key, "emit", &event).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"receivers": 1})));
    assert_eq!(ann.event("order:shipped").await, json!({"id": 7}));
    let answer = backend(&server, &key, "disconnect", &json!({"userId": "ann"})).await;
    assert_eq!(answer.json(), json!({"userId": "ann", "disconnected": 1}));
    let rest_of_it = ann.closed().await;
    assert!(
        rest_of_it.iter().all(|event| event.name != "message:new" && event.name != "auth:expired"),
        "{rest_of_it:?}"
    );
    Client::connect(server.address, "ann").await;
    server.calm_log();
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn public<K: AsDer<PublicKeyX509Der<'static>>>(key: &K) -> String {
    pem("PUBLIC KEY", key.as_der().expect("DER").as_ref())
}

/// Each algorithm with a signer, and the public key in PEM.
fn key_pairs() -> Vec<(Algorithm, &'static str, EncodingKey, String)> {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let rsa_private = pem("PRIVATE KEY", AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).expect("DER").as_ref());
    let rsa_signer = EncodingKey::from_rsa_pem(rsa_private.as_bytes()).expect("PEM");
    let mut pairs: Vec<_> = [(Algorithm::RS256, "RS256"), (Algorithm::RS384, "RS384"), (Algorithm::RS512, "RS512")]
        .map(|(algorithm, name)| (algorithm, name, rsa_signer.clone(), public(rsa.public_key())))
        .into();
    for (algorithm, name, kind) in [
        (Algorithm::ES256, "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::ES384, "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(kind).expect("a key");
        let signer = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("DER").as_ref());
        pairs.push((algorithm, name, signer, public(pair.public_key())));
    }
    let pair = Ed25519KeyPair::generate().expect("a key");
    let signer = EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("DER").as_ref());
    pairs.push((Algorithm::EdDSA, "EdDSA", signer, public(pair.public_key())));
    pairs
}

#[tokio::test]
async fn every_algorithm_lets_in_over_websocket_and_rest_and_a_shared_secret_beside_it_does_not() {
    // Whoever signs first would install it.
    token::of("ann");
    for (algorithm, name, signer, pem) in key_pairs() {
        let sandbox = Sandbox::new();
        fs::write(sandbox.path("key.pem"), &pem).expect("written");
        let variables = [("HOBNOB_AUTH__ALGORITHM", name), ("HOBNOB_AUTH__PUBLIC_KEYS", "key.pem")];
        let server = Server::start_with(&sandbox, &variables).await;
        let claims = json!({"id": "ann", "exp": in_seconds(600)});
        let good = jsonwebtoken::encode(&Header::new(algorithm), &claims, &signer).expect("signed");
        for namespace in NAMESPACES {
            Client::join(server.address, namespace, json!({"token": good})).await.expect(name);
        }
        assert_eq!(rest(&server, &good).await.status, 200, "{name}");
        for bad in [token::of("ann"), signed(Algorithm::HS256, &claims, &pem)] {
            let refused = Client::join(server.address, "/", json!({"token": bad})).await.err();
            assert_eq!(refused.expect("refused")["data"]["code"], "token_invalid", "{name}");
            assert_eq!(rest(&server, &bad).await.refusal(), (401, "token_invalid".to_owned()), "{name}");
        }
        assert!(!sandbox.path(DATA).join("jwt_secret").exists(), "there is nothing to keep secret");
        server.calm_log();
    }
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_stops_the_start() {
    for (text, told) in [("rubbish", "must hold one public key"), ("-----BEGIN PRIVATE KEY-----", "a private key")] {
        let sandbox = Sandbox::new();
        fs::write(sandbox.path("key.pem"), text).expect("written");
        let mut command = sandbox.command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", DATA]);
        command.env("HOBNOB_AUTH__ALGORITHM", "EdDSA").env("HOBNOB_AUTH__PUBLIC_KEYS", "key.pem");
        let output = command.output().expect("it runs");
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{log}");
        assert!(log.contains(told), "{log}");
    }
}

#[tokio::test]
async fn a_token_from_the_command_line_can_be_taken_back_by_its_id() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let server = Server::start(&sandbox).await;
    let mut command = sandbox.command(&["token", "sign", "--user", "ann", "--jti", "abc"]);
    let output = command.env("JWT_SECRET", SECRET).output().expect("it runs");
    let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(rest(&server, &token).await.status, 200);
    let until = Timestamp::now().after(Duration::from_hours(1));
    let answer = backend(&server, &key, "tokens/revoke", &json!({"jti": "abc", "expiresAt": until})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(rest(&server, &token).await.refusal(), (401, "token_invalid".to_owned()));
    let mut command = sandbox.command(&["token", "sign", "--user", "ann"]);
    command.env("HOBNOB_AUTH__ALGORITHM", "EdDSA").env("HOBNOB_AUTH__PUBLIC_KEYS", "key.pem");
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(78), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A client has one token and several namespaces: one refresh does for all of them.
#[tokio::test]
async fn a_refresh_on_one_namespace_counts_for_the_whole_connection() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("HOBNOB_AUTH__LEEWAY_S", "1")]).await;
    let token = token_for("ann", 3);
    let mut packets = Packets::join(server.address, "", &token).await;
    for prefix in ["/messages,", "/notifications,"] {
        packets.send(&format!(r#"40{prefix}{{"token":"{token}"}}"#)).await;
    }
    let mut warned = 0;
    while warned < 3 {
        let packet = packets.next().await.expect("told of the end");
        warned += usize::from(packet.contains("auth:expiring"));
    }
    let longer = token_for("ann", 600);
    packets.send(&format!(r#"42/notifications,7["auth:refresh",{{"token":"{longer}"}}]"#)).await;
    loop {
        let packet = packets.next().await.expect("an ack");
        if packet.starts_with("43/notifications,7") {
            assert!(packet.contains(r#""ok":true"#), "{packet}");
            break;
        }
    }
    // Past the first end: a token of two more seconds begins and ends meanwhile.
    let auth = json!({"token": token_for("bob", 4)});
    Client::join(server.address, "/", auth).await.expect("good").closed().await;
    packets.send(r#"42/messages,8["status:get",{"userIds":[]}]"#).await;
    loop {
        let packet = packets.next().await.expect("still connected");
        assert!(!packet.contains("auth:expired"), "{packet}");
        if packet.starts_with("43/messages,8") {
            break;
        }
    }
}

#[tokio::test]
async fn secrets_rotate_without_a_restart_and_without_refusing_anybody() {
    let other = "w8Qe5Zt2Lk7Xo1Vb4Nm9Rc6Ys3Hd0Jf8Ga5Pu2Ti7Ec4Wx1B";
    let sandbox = Sandbox::new().with("config.toml", format!("[auth]\njwt_secret = '{SECRET}'\n"));
    let mut server = Server::start_with(&sandbox, &[("JWT_SECRET", "")]).await;
    let fresh = signed(Algorithm::HS256, &json!({"id": "ben", "exp": in_seconds(60)}), other);
    let both = format!("[auth]\njwt_secret = '{other}'\nprevious_jwt_secrets = ['{SECRET}']\n");
    fs::write(sandbox.path("config.toml"), both).expect("written");
    server.signal("HUP");
    server.logged("settings reloaded", 1).await;
    let client = Client::connect(server.address, "ann").await;
    assert_eq!(rest(&server, &fresh).await.status, 200);
    fs::write(sandbox.path("config.toml"), format!("[auth]\njwt_secret = '{other}'\n")).expect("written");
    server.signal("HUP");
    server.logged("settings reloaded", 2).await;
    assert_eq!(rest(&server, &token::of("ann")).await.refusal(), (401, "token_invalid".to_owned()));
    assert_eq!(rest(&server, &fresh).await.status, 200);
    client.group(&["ben"]).await;
}

#[tokio::test]
async fn sighup_reads_the_files_of_keys_again_and_keeps_the_old_ones_when_they_are_broken() {
    token::of("ann");
    let pairs = [Ed25519KeyPair::generate().expect("a key"), Ed25519KeyPair::generate().expect("a key")];
    let [old, new] = pairs.map(|pair| {
        let signer = EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("DER").as_ref());
        let claims = json!({"id": "ann", "exp": in_seconds(60)});
        let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &signer).expect("signed");
        (token, public(pair.public_key()))
    });
    let sandbox = Sandbox::new().with("key.pem", &old.1);
    let variables = [("HOBNOB_AUTH__ALGORITHM", "EdDSA"), ("HOBNOB_AUTH__PUBLIC_KEYS", "key.pem")];
    let mut server = Server::start_with(&sandbox, &variables).await;
    assert_eq!(rest(&server, &old.0).await.status, 200);
    fs::write(sandbox.path("key.pem"), "rubbish").expect("written");
    server.signal("HUP");
    server.logged("the old ones stay in use", 1).await;
    assert_eq!(rest(&server, &old.0).await.status, 200);
    fs::write(sandbox.path("key.pem"), &new.1).expect("written");
    server.signal("HUP");
    server.logged("settings reloaded", 2).await;
    assert_eq!(rest(&server, &old.0).await.refusal(), (401, "token_invalid".to_owned()));
    assert_eq!(rest(&server, &new.0).await.status, 200);
}
