//! P39: every refusal has its code, is counted and logged; and nothing of what is secret is told along.

use std::collections::BTreeSet;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{api_key, group, metrics};
use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    process::Server,
    token::{self, SECRET, in_seconds, signed},
};

/// Stands in every text that is sent here.
const TEXT: &str = "the-text-of-a-message";

/// A mistake of the program cannot be driven, the others need a failing disk (P19, P20) or a reader who does not read (P14), and are
/// driven there.
const NOT_DRIVEN: [&str; 4] = ["internal", "slow_consumer", "storage_full", "unavailable"];
/// Events of one user within the window.
const LIMIT: usize = 250;

fn count(metrics: &str, family: &str, code: &str) -> Option<u64> {
    let start = format!("hobnob_{family}_total{{code=\"{code}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

/// Everything that is refused when somebody comes in; gives the codes and all tokens that were used.
async fn bad_tokens(server: &Server, key: &str) -> (BTreeSet<String>, Vec<String>) {
    let mut codes = BTreeSet::new();
    let expired = signed(Algorithm::HS256, &json!({"id": "eve", "exp": in_seconds(-60)}), SECRET);
    let headers = [("X-Api-Key", key), ("Content-Type", "application/json")];
    let blocked = http::request(server.address, "POST", "/api/server/users/mallory/block", &headers, b"{}").await;
    assert_eq!(blocked.status, 200, "{blocked:?}");
    let tokens =
        [String::new(), format!("rubbish-{TEXT}"), format!("{}x", token::of("eve")), expired, token::of("mallory")];
    for token in &tokens {
        let error = Client::join(server.address, "/", json!({"token": token})).await.err().expect("refused");
        codes.insert(error["data"]["code"].as_str().expect("a code").to_owned());
        let answer = http::call(server.address, token, "GET", "/api/conversations", &Value::Null).await;
        assert_eq!(answer.json()["code"], error["data"]["code"], "one code for both doors");
    }
    let stranger = [("X-Api-Key", "hk_no_such_key"), ("Content-Type", "application/json")];
    let answer = http::request(server.address, "POST", "/api/server/emit", &stranger, b"{}").await;
    codes.insert(answer.refusal().1);
    (codes, tokens.into())
}

/// Everything that is refused of those who are in.
async fn bad_requests(server: &Server, clients: &[Client], id: &str) -> BTreeSet<String> {
    let (ann, ben) = (&clients[0], &clients[1]);
    let draft = |text: &str, key: &str| json!({"conversationId": id, "content": text, "clientId": key});
    let sent = ann.ok("message:send", draft(TEXT, "k")).await;
    let message = json!({"messageId": sent["id"]});
    ann.ok("message:lock", message.clone()).await;
    let mut codes = BTreeSet::new();
    for (client, code, event, payload) in [
        (ann, "conflict", "message:send", draft(&format!("{TEXT} again"), "k")),
        (ann, "too_long", "message:send", draft(&TEXT.repeat(500), "l")),
        (ann, "invalid_payload", "message:send", json!({"conversationId": 5, "content": TEXT})),
        (ann, "not_found", "message:delete", json!({"messageId": "0123456789abcdef01234567"})),
        (ann, "unknown_event", TEXT, json!({"content": TEXT})),
        (ben, "forbidden", "message:edit", json!({"messageId": sent["id"], "content": TEXT})),
        (ben, "locked", "message:lock", message),
    ] {
        client.refused(code, event, payload).await;
        codes.insert(code.to_owned());
    }
    let large = json!({"conversationId": id, "content": TEXT, "data": TEXT.repeat(5000)});
    let answer = http::call(server.address, &token::of("ann"), "POST", "/api/messages", &large).await;
    codes.insert(answer.refusal().1);
    // One lock too many.
    for n in 0..=50 {
        let sent = ann.ok("message:send", draft(TEXT, &format!("lock {n}"))).await;
        let ack = ben.call("message:lock", &json!({"messageId": sent["id"]})).await.expect("an ack");
        codes.extend(ack["code"].as_str().map(str::to_owned));
    }
    let flood: Vec<_> = (0..LIMIT).map(|n| ben.call("message:send", &draft(TEXT, &format!("flood {n}")))).collect();
    for ack in flood {
        codes.extend(ack.await.expect("an ack")["code"].as_str().map(str::to_owned));
    }
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn p39_every_refusal_is_counted_and_logged_and_tells_no_secret() {
    let sandbox = Sandbox::new();
    let key = api_key(&sandbox).await;
    let variables =
        [("SOCKET_LOGGING", "true"), ("HOBNOB_LOG__FILTER", "debug"), ("RATE_LIMIT_MAX", &LIMIT.to_string())];
    let mut server = Server::start_with(&sandbox, &variables).await;
    let ann = Client::connect(server.address, "ann").await;
    let ben = Client::connect(server.address, "ben").await;
    let id = ann.group(&["ben"]).await;
    let before = metrics(&server).await;
    let (mut codes, tokens) = bad_tokens(&server, &key).await;
    codes.extend(bad_requests(&server, &[ann, ben], &id).await);
    let after = metrics(&server).await;

    let document = include_str!("../../../docs/codes.md");
    let documented: BTreeSet<String> =
        document.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    let missing: Vec<_> = documented.iter().filter(|code| !NOT_DRIVEN.contains(&code.as_str())).collect();
    assert_eq!(codes.iter().collect::<Vec<_>>(), missing, "every documented code, and no other");
    for code in &documented {
        assert!(count(&after, "refusals", code).is_some(), "{code} has no counter");
    }
    server.terminate();
    let log = server.ended().await.1;
    for code in &codes {
        let counted = ["refusals", "auth_refusals"]
            .map(|family| count(&after, family, code).unwrap_or(0) > count(&before, family, code).unwrap_or(0));
        assert!(counted.contains(&true), "{code} was not counted: {after}");
        let logged = log.lines().any(|line| line.contains("refused") && line.contains(&format!("\"{code}\"")));
        assert!(logged, "{code} was not logged: {log}");
    }
    let parts = tokens.iter().flat_map(|token| token.split('.').skip(1)).filter(|part| part.len() > 20);
    for secret in parts.chain([SECRET, &key, "rubbish-"]) {
        assert!(!log.contains(secret) && !after.contains(secret), "{secret} is told");
    }
    // The name of an unknown event is no text of a message; it is what its sender is told, and cut to a length.
    let texts = log.lines().filter(|line| line.contains(TEXT) && !line.contains(&format!("\"eventName\":\"{TEXT}\"")));
    assert_eq!(texts.collect::<Vec<_>>(), [""; 0]);
    assert!(!after.contains(TEXT));
    assert!(log.lines().all(|line| line.len() < 2048), "a line is too long");
}

/// The title of the process and what it was started with.
#[tokio::test]
async fn p39_the_command_line_of_the_process_tells_no_secret() {
    let sandbox = Sandbox::new();
    let (server, ..) = group(&sandbox, &["ann", "ben"]).await;
    let shown = std::fs::read_to_string(format!("/proc/{}/cmdline", server.id())).expect("Linux");
    assert!(!shown.contains(SECRET), "{shown}");
}
