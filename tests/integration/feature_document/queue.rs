//! "Message Queue & Offline Support".

use serde_json::{Value, json};

use super::{Walk, count, event_that, heard_until, send};
use crate::support::command::Sandbox;

/// "How It Works", steps 1 to 4, and the size of "Queue Management".
#[tokio::test]
async fn what_was_sent_to_somebody_away_comes_as_message_new_and_leaves_the_queue() {
    const PATH: &str = "/api/queue/size";
    let walk = Walk::start().await;
    let mut ann = walk.connect("ann").await;
    let group = ann.group(&["ben"]).await;
    for text in ["one", "two", "three"] {
        send(&ann, &group, text).await;
    }
    assert_eq!(walk.rest("ben", "GET", PATH).await["size"], 3);

    let mut ben = walk.connect("ben").await;
    for text in ["one", "two", "three"] {
        assert_eq!(ben.event("message:new").await["content"], text);
    }
    // The answer to a ping confirms what came before it.
    event_that(&mut ann, "message:delivered", |told| told["deliveredTo"] == "ben" && told["upToSeq"] == 3).await;
    assert_eq!(walk.rest("ben", "GET", PATH).await["size"], 0);

    let mut again = walk.connect("ben").await;
    send(&ann, &group, "live").await;
    assert_eq!(count(&heard_until(&mut again, "live").await, "message:new"), 0, "nothing comes twice");
}

/// "Features", "Dual Storage": here the disk is what the queue is kept on.
#[tokio::test]
async fn the_queue_outlives_a_kill_of_the_server() {
    let sandbox = Sandbox::new();
    let server = crate::support::process::Server::start(&sandbox).await;
    let ann = crate::support::client::Client::connect(server.address, "ann").await;
    ann.ok("message:send", json!({"to": "ben", "content": "kept"})).await;
    server.kill().await;
    let server = crate::support::process::Server::start(&sandbox).await;
    let mut ben = crate::support::client::Client::connect(server.address, "ben").await;
    assert_eq!(ben.event("message:new").await["content"], "kept");
}

/// "Features", "Expiration", and "Configuration".
#[test]
fn a_message_waits_for_seven_days_unless_message_queue_expiry_says_otherwise() {
    for (env, seconds, origin) in [
        ("", 604_800, "default"),
        ("MESSAGE_QUEUE_EXPIRY=604800  # 7 days in seconds\n", 604_800, ".env:1: MESSAGE_QUEUE_EXPIRY"),
        ("MESSAGE_QUEUE_EXPIRY=3600\n", 3600, ".env:1: MESSAGE_QUEUE_EXPIRY"),
    ] {
        let text = Sandbox::new().with(".env", env).run(&["config", "show", "--json", "--origin"]).succeeded();
        let settings: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(settings["queue.expiry_s"], json!({"value": seconds, "origin": origin}));
    }
}
