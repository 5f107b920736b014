//! "Socket.IO Architecture", and "Connection Issues" of "Troubleshooting".

use serde_json::{Value, json};

use super::{Walk, send};
use crate::support::http;

/// Sends the event without a payload that would do, and tells whether the namespace has it at all.
async fn has(client: &crate::support::client::Client, event: &str) -> bool {
    let ack = client.call(event, &json!({})).await.expect("an ack");
    ack["code"] != "unknown_event"
}

/// "Namespace Design".
#[tokio::test]
async fn each_namespace_has_the_events_of_the_document() {
    let walk = Walk::start().await;
    let chat =
        ["heartbeat", "typing", "message:read", "message:lock", "message:unlock", "conversation:view", "metrics:get"];
    let notifications = [
        "notifications:unread",
        "notification:read",
        "notifications:mark-all-read",
        "notification:delete",
        "notifications:subscribe",
        "notifications:unsubscribe",
    ];
    let legacy = ["send-message", "join-conversation", "get-missed-messages", "message-read"];
    let root = walk.connect("ann").await;
    let messages = walk.join("/messages", "ben").await;
    let told = walk.join("/notifications", "cem").await;
    for event in chat {
        assert!(has(&messages, event).await && has(&root, event).await, "{event}");
        assert!(!has(&told, event).await, "{event}");
    }
    for event in notifications {
        assert!(has(&told, event).await && has(&root, event).await, "{event}");
        assert!(!has(&messages, event).await, "{event}");
    }
    for event in legacy {
        assert!(has(&root, event).await, "{event}");
    }
}

/// "Namespace Design": `message:read` of `/messages` reaches the other side.
#[tokio::test]
async fn a_reading_is_told_to_the_conversation() {
    let walk = Walk::start().await;
    let mut ann = walk.connect("ann").await;
    let ben = walk.join("/messages", "ben").await;
    let group = ann.group(&["ben"]).await;
    let message = send(&ann, &group, "read me").await;
    ben.ok("message:read", json!({"messageId": message})).await;
    let read = ann.event("message:read").await;
    assert_eq!((&read["messageId"], &read["readBy"]), (&json!(message), &json!("ben")));
}

/// "Advanced Socket.IO Configuration": what a handshake shows of it. `allowEIO3` is the version in the query.
#[tokio::test]
async fn the_handshake_shows_the_configuration_of_the_document() {
    let walk = Walk::start().await;
    for (version, skipped) in [("4", 1), ("3", "97:0".len())] {
        let path = format!("/socket.io/?EIO={version}&transport=polling");
        let answer = http::request(walk.server.address, "GET", &path, &[], b"").await;
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None), "{answer:?}");
        let start = answer.body.find('{').expect("an object");
        assert!(start >= 1 && start <= skipped + 1, "{answer:?}");
        let end = answer.body.find('}').expect("its end");
        let handshake: Value = serde_json::from_str(&answer.body[start..=end]).expect("JSON");
        assert_eq!((&handshake["pingTimeout"], &handshake["pingInterval"]), (&json!(60_000), &json!(25_000)));
        assert_eq!(handshake["upgrades"], json!(["websocket"]));
        if version == "4" {
            assert_eq!(handshake["maxPayload"], 1_000_000);
        }
    }
}

/// "Connection Issues".
#[tokio::test]
async fn a_namespace_that_was_taken_for_a_path_is_answered_with_the_line_to_write() {
    let walk = Walk::start().await;
    for namespace in ["/messages", "/notifications"] {
        for path in [format!("{namespace}/?EIO=4&transport=polling"), format!("{namespace}?EIO=3&transport=polling")] {
            let answer = http::request(walk.server.address, "GET", &path, &[], b"").await;
            assert_eq!(answer.refusal(), (404, "not_found".to_owned()));
            let line = format!("io('http://{}{namespace}', {{ auth: {{ token }} }})", walk.server.address);
            assert!(answer.json()["error"].as_str().is_some_and(|error| error.contains(&line)), "{answer:?}");
        }
    }
}
