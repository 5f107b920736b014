//! `messages.retention_s`: what is too old goes, and whoever missed it is told.

use serde_json::{Value, json};

use crate::support::{client::Client, command::Sandbox, http, process::Server, token};

const RETENTION: &str = "HOBNOB_MESSAGES__RETENTION_S";

async fn get(server: &Server, user: &str, path: &str) -> Value {
    http::call(server.address, &token::of(user), "GET", path, &Value::Null).await.json()
}

#[tokio::test]
async fn p9_p10_what_is_too_old_is_gone_after_a_kill_the_numbers_go_on_and_who_missed_it_is_told() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[(RETENTION, "3")]).await;
    let mut ann = Client::connect(server.address, "ann").await;
    let group = ann.group(&["ben"]).await;
    let mut last = Value::Null;
    for text in ["one", "two", "three"] {
        last = ann.ok("message:send", json!({"conversationId": group, "content": text})).await["id"].take();
    }
    // Its lock goes with the message, which tells that it has gone.
    ann.ok("message:lock", json!({"messageId": last})).await;
    let unlocked = ann.event("message:unlocked").await;
    assert_eq!(unlocked["messageId"], last);
    let history = format!("/api/messages/conversation/{group}");
    let page = get(&server, "ann", &history).await;
    assert_eq!((&page["messages"], &page["truncatedBefore"]), (&json!([]), &json!(4)));
    server.kill().await;

    let server = Server::start_with(&sandbox, &[(RETENTION, "3600")]).await;
    let ann = Client::connect(server.address, "ann").await;
    let sent = ann.ok("message:send", json!({"conversationId": group, "content": "four"})).await;
    assert_eq!(sent["seq"], 4, "no number is given twice");
    assert_eq!(get(&server, "ben", "/api/queue/size").await["size"], 1);
    let mut ben = Client::connect(server.address, "ben").await;
    assert_eq!(ben.event("queue:truncated").await["dropped"], 3);
    let message = ben.event("message:new").await;
    assert_eq!((&message["content"], &message["seq"]), (&json!("four"), &json!(4)));
    let missed = ben.ok("get-missed-messages", json!({"cursors": {(group.as_str()): 1}})).await;
    assert_eq!((&missed["count"], &missed["complete"]), (&json!(1), &json!(false)));
    assert_eq!(missed["truncatedBefore"], json!({(group.as_str()): 4}));
    let missed = ben.ok("get-missed-messages", json!({"cursors": {(group.as_str()): 3}})).await;
    assert_eq!((&missed["count"], &missed["complete"]), (&json!(1), &json!(true)));
    assert_eq!(missed["truncatedBefore"], Value::Null);
    let page = get(&server, "ben", &history).await;
    assert_eq!((&page["messages"][0]["content"], &page["truncatedBefore"]), (&json!("four"), &json!(4)));
}
