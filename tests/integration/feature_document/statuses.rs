//! "Advanced Status Features".

use hobnob::clock::Timestamp;
use serde_json::{Value, json};

use super::{Walk, event_that, send};

/// "Custom User Statuses", "Available Statuses". Who is `offline` by choice cannot be told from who is not there.
#[tokio::test]
async fn every_status_of_the_document_can_be_set_and_is_seen() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let mut ben = walk.connect("ben").await;
    ann.group(&["ben"]).await;
    for status in ["away", "busy", "dnd", "offline", "online"] {
        ann.ok("status:set", json!({"status": status})).await;
        event_that(&mut ben, "user-status", |told| told["userId"] == "ann" && told["status"] == status).await;
        assert_eq!(walk.rest("ben", "GET", "/api/users/ann/status").await["status"], status);
    }
    ann.refused("invalid_payload", "status:set", json!({"status": "asleep"})).await;
}

/// "Custom Status Object" and "Auto-expiry".
#[tokio::test]
async fn a_custom_status_is_shown_until_it_expires() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let mut ben = walk.connect("ben").await;
    ann.group(&["ben"]).await;
    let expires_at = Timestamp::now().as_millis() + 1500;
    let custom = json!({"message": "In a meeting", "emoji": "📞", "expiresAt": expires_at});
    ann.ok("status:set", json!({"status": "busy", "customStatus": custom})).await;
    let is_busy = |told: &Value| told["userId"] == "ann" && told["status"] == "busy";
    let told = event_that(&mut ben, "user-status", is_busy).await;
    assert_eq!(told["customStatus"]["message"], "In a meeting");
    assert_eq!(told["customStatus"]["emoji"], "📞");
    let shown = told["customStatus"]["expiresAt"].as_str().and_then(Timestamp::parse).expect("a date");
    assert_eq!(shown.as_millis(), expires_at);

    let told = event_that(&mut ben, "user-status", |told| told["customStatus"].is_null()).await;
    assert!(is_busy(&told), "the text ends, the status stays: {told}");
    assert!(Timestamp::now().as_millis() >= expires_at);
}

/// "Last Seen Per Conversation".
#[tokio::test]
async fn last_seen_is_kept_per_conversation_by_a_view_and_by_a_reading() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let ben = walk.join("/messages", "ben").await;
    let viewed = ann.group(&["ben"]).await;
    let read = ann.group(&["ben"]).await;
    let untouched = ann.group(&["ben"]).await;
    let message = send(&ann, &read, "read me").await;
    ben.ok("conversation:view", json!({"conversationId": viewed})).await;
    ben.ok("message:read", json!({"messageId": message})).await;
    for (group, seen) in [(&viewed, true), (&read, true), (&untouched, false)] {
        let answer = walk.rest("ann", "GET", &format!("/api/conversations/{group}/last-seen")).await;
        let at = answer["lastSeen"]["ben"].as_str().and_then(Timestamp::parse);
        assert_eq!(at.is_some(), seen, "{answer}");
    }
}
