//! "Persistent Notifications System".

use serde_json::{Value, json};

use super::{Walk, event_that, send};
use crate::support::{command::Sandbox, http, token};

/// The types of the document.
const TYPES: [&str; 10] = [
    "message",
    "mention",
    "reaction",
    "group_invite",
    "group_update",
    "contact_request",
    "contact_accept",
    "call",
    "forward",
    "system",
];

/// "Notification Types".
#[tokio::test]
async fn every_type_of_the_document_is_known_and_no_other() {
    let walk = Walk::start().await;
    let ann = walk.join("/notifications", "ann").await;
    let subscribed = ann.ok("notifications:subscribe", json!({"types": TYPES})).await;
    assert_eq!(subscribed["subscribedTo"], json!(TYPES));
    for kind in TYPES {
        ann.ok("notifications:list", json!({"type": kind})).await;
    }
    ann.refused("invalid_payload", "notifications:subscribe", json!({"types": ["gossip"]})).await;
}

/// "Notification Types": those that the server makes by itself.
#[tokio::test]
async fn invitations_changes_mentions_reactions_forwards_and_missed_messages_are_told() {
    let walk = Walk::start().await;
    let mut ben = walk.join("/notifications", "ben").await;
    let chat = walk.connect("ben").await;
    let ann = walk.connect("ann").await;
    let group = ann.group(&["ben"]).await;
    ann.ok("conversation:rename", json!({"conversationId": group, "name": "New name"})).await;
    let draft = json!({"conversationId": group, "content": "@ben", "mentions": ["ben"]});
    let mention = ann.ok("message:send", draft).await["id"].take();
    let own = send(&chat, &group, "of ben").await;
    ann.ok("message:react", json!({"messageId": own, "emoji": "👍"})).await;
    ann.ok("message:forward", json!({"messageId": mention, "conversationIds": [group]})).await;
    for kind in ["group_invite", "group_update", "mention", "reaction", "forward"] {
        let told = event_that(&mut ben, "notification:new", |told| told["type"] == kind).await;
        assert_eq!(told["data"]["conversationId"], group, "{told}");
        assert_eq!(told["data"]["fromUserId"], "ann", "{told}");
    }
    // Whoever is away is told of messages, too.
    send(&ann, &group, "while cem was away").await;
    ann.ok("conversation:add-members", json!({"conversationId": group, "members": ["cem"]})).await;
    send(&ann, &group, "for cem").await;
    let cem = walk.join("/notifications", "cem").await;
    let missed = cem.ok("notifications:list", json!({"type": "message"})).await;
    assert_eq!(missed["notifications"].as_array().map(Vec::len), Some(1), "{missed}");
    assert_eq!(missed["notifications"][0]["data"]["conversationId"], group);
}

/// "Schema Features".
#[tokio::test]
async fn a_notification_has_a_priority_data_an_action_url_and_an_end() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let mut ben = walk.join("/notifications", "ben").await;
    let group = ann.group(&["ben"]).await;
    let told = ben.event("notification:new").await;
    assert_eq!((&told["priority"], &told["status"]), (&json!("normal"), &json!("unread")));
    assert_eq!(told["data"], json!({"conversationId": group, "groupId": group, "fromUserId": "ann"}));
    for key in ["actionUrl", "expiresAt", "readAt"] {
        assert_eq!(told.get(key), Some(&Value::Null), "{key}: {told}");
    }
}

/// "Schema Features", "TTL Index".
#[test]
fn read_notifications_are_kept_for_seven_days_unless_set_otherwise() {
    let text = Sandbox::new().run(&["config", "show", "--json"]).succeeded();
    let settings: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(settings["notifications.read_retention_s"], 7 * 24 * 60 * 60);
}

/// "API Endpoints".
#[tokio::test]
async fn every_endpoint_of_the_document_answers() {
    const PATH: &str = "/api/notifications";
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let mut ben = walk.join("/notifications", "ben").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ann.group(&["ben"]).await;
        ids.push(ben.event("notification:new").await["id"].as_str().expect("an id").to_owned());
    }
    let [first, second, ..] = &*ids else { panic!("four of them") };
    assert_eq!(walk.rest("ben", "GET", PATH).await["total"], 4);
    assert_eq!(walk.rest("ben", "GET", "/api/notifications/unread").await["count"], 4);
    let shown = walk.rest("ben", "GET", &format!("{PATH}/{first}")).await;
    assert_eq!((&shown["id"], &shown["_id"]), (&json!(first), &json!(first)));
    let read = walk.rest("ben", "POST", &format!("{PATH}/{first}/read")).await;
    assert_eq!(read["notification"]["status"], "read");
    assert_eq!(walk.rest("ben", "POST", "/api/notifications/mark-all-read").await["modifiedCount"], 3);
    walk.rest("ben", "DELETE", &format!("{PATH}/{second}")).await;
    assert_eq!(walk.rest("ben", "DELETE", PATH).await["deletedCount"], 3);
    assert_eq!(walk.rest("ben", "GET", PATH).await["total"], 0);

    for (method, path) in [
        ("GET", PATH.to_owned()),
        ("GET", format!("{PATH}/unread")),
        ("GET", format!("{PATH}/{first}")),
        ("POST", format!("{PATH}/{first}/read")),
        ("POST", format!("{PATH}/mark-all-read")),
        ("DELETE", format!("{PATH}/{first}")),
        ("DELETE", PATH.to_owned()),
    ] {
        let answer = http::request(walk.server.address, method, &path, &[], b"").await;
        assert_eq!(answer.refusal(), (401, "token_missing".to_owned()), "{method} {path}");
    }
}

/// "Real-Time Events (via /notifications namespace)".
#[tokio::test]
async fn every_event_of_the_document_works_in_the_namespace() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let mut ben = walk.join("/notifications", "ben").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ann.group(&["ben"]).await;
        ids.push(ben.event("notification:new").await["id"].take());
    }
    assert_eq!(ben.ok("notifications:unread", json!({})).await["count"], 3);
    ben.ok("notification:read", json!({"notificationId": ids[0]})).await;
    assert_eq!(ben.event("notification:read").await["notificationId"], ids[0]);
    assert_eq!(ben.ok("notifications:mark-all-read", json!({})).await["count"], 2);
    ben.ok("notification:delete", json!({"notificationId": ids[1]})).await;
    assert_eq!(ben.event("notification:deleted").await["notificationId"], ids[1]);
    ben.ok("notifications:subscribe", json!({"types": ["group_invite", "mention"]})).await;
    let left = ben.ok("notifications:unsubscribe", json!({"types": ["group_invite"]})).await;
    assert_eq!(left["types"], json!(["mention"]));
}

/// "Persistent".
#[tokio::test]
async fn notifications_outlive_a_kill_of_the_server() {
    let sandbox = Sandbox::new();
    let server = crate::support::process::Server::start(&sandbox).await;
    let ann = crate::support::client::Client::connect(server.address, "ann").await;
    let auth = json!({"token": token::of("ben")});
    let join = |address, auth| crate::support::client::Client::join(address, "/notifications", auth);
    let mut ben = join(server.address, auth.clone()).await.expect("admitted");
    ann.group(&["ben"]).await;
    let told = ben.event("notification:new").await;
    server.kill().await;
    let server = crate::support::process::Server::start(&sandbox).await;
    let ben = join(server.address, auth).await.expect("admitted");
    let unread = ben.ok("notifications:unread", json!({})).await;
    assert_eq!((&unread["count"], &unread["notifications"][0]["id"]), (&json!(1), &told["id"]));
}
