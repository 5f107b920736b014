//! "Core Real-Time Features".

use hobnob::clock::Timestamp;
use serde_json::json;

use super::{Walk, count, heard_until, send};

/// "1. Message Deletion Notifications".
#[tokio::test]
async fn a_deletion_is_told_to_all_participants_with_the_three_keys() {
    let walk = Walk::start().await;
    let mut ann = walk.connect("ann").await;
    let mut others = [walk.connect("ben").await, walk.join("/messages", "cem").await];
    let mut stranger = walk.connect("dot").await;
    let group = ann.group(&["ben", "cem"]).await;
    let message = send(&ann, &group, "to be deleted").await;
    ann.ok("message:delete", json!({"messageId": message})).await;
    for participant in others.iter_mut().chain([&mut ann]) {
        let deleted = participant.event("message:deleted").await;
        assert_eq!(deleted["messageId"], message);
        assert_eq!(deleted["conversationId"], group);
        assert_eq!(deleted["deletedBy"], "ann");
    }
    let elsewhere = ann.group(&["dot"]).await;
    send(&ann, &elsewhere, "marker").await;
    assert_eq!(count(&heard_until(&mut stranger, "marker").await, "message:deleted"), 0);
}

/// "2. Conversation Rooms", "Auto-join".
#[tokio::test]
async fn a_socket_is_in_the_rooms_of_its_conversations_from_the_start() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let first = ann.group(&["ben"]).await;
    let second = ann.group(&["ben"]).await;
    // No event of the client's joins anything.
    for namespace in ["/", "/messages"] {
        let mut ben = walk.join(namespace, "ben").await;
        for group in [&first, &second] {
            let text = format!("{namespace} {group}");
            send(&ann, group, &text).await;
            heard_until(&mut ben, &text).await;
        }
    }
}

/// "2. Conversation Rooms": the membership of the moment, not that of the connection.
#[tokio::test]
async fn live_sockets_move_with_the_membership() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let mut ben = walk.connect("ben").await;
    let direct = ann.ok("message:send", json!({"to": "ben", "content": "hello"})).await;
    let direct = direct["message"]["conversationId"].as_str().expect("an id").to_owned();
    let group = ann.group(&["cem"]).await;
    send(&ann, &group, "before").await;
    ann.ok("conversation:add-members", json!({"conversationId": group, "members": ["ben"]})).await;
    send(&ann, &group, "within").await;
    let heard = heard_until(&mut ben, "within").await;
    assert!(heard.iter().all(|event| event.payload["content"] != "before"), "{heard:?}");
    assert_eq!(count(&heard, "conversation:joined"), 2, "the direct one and the group: {heard:?}");

    ann.ok("conversation:remove-members", json!({"conversationId": group, "members": ["ben"]})).await;
    send(&ann, &group, "after").await;
    send(&ann, &direct, "marker").await;
    let heard = heard_until(&mut ben, "marker").await;
    assert!(heard.iter().all(|event| event.payload["content"] != "after"), "{heard:?}");
    assert_eq!(count(&heard, "conversation:left"), 1, "{heard:?}");
}

/// "3. Missed Messages Recovery".
#[tokio::test]
async fn messages_after_the_last_sync_date_come_by_ack_and_as_an_event() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let group = ann.group(&["ben"]).await;
    let seen = ann.ok("message:send", json!({"conversationId": group, "content": "seen"})).await;
    let last_sync_date = seen["message"]["createdAt"].clone();
    let date = Timestamp::parse(last_sync_date.as_str().expect("a date")).expect("ISO-8601");
    // A date has milliseconds; what comes within the same one is not after it.
    while Timestamp::now().as_millis() <= date.as_millis() {
        tokio::task::yield_now().await;
    }
    for text in ["one", "two", "three"] {
        send(&ann, &group, text).await;
    }
    let mut ben = walk.connect("ben").await;
    for last_sync_date in [last_sync_date, json!(date.as_millis())] {
        let request = json!({"lastSyncDate": last_sync_date});
        let acked = ben.ok("get-missed-messages", request.clone()).await;
        ben.emit("get-missed-messages", &request);
        for answer in [acked, ben.event("missed-messages").await] {
            let messages = answer["messages"].as_array().expect("an array");
            let texts: Vec<_> = messages.iter().map(|message| &message["content"]).collect();
            assert_eq!(texts, ["one", "two", "three"], "{answer}");
            assert_eq!((&answer["count"], &answer["hasMore"]), (&json!(3), &json!(false)));
        }
    }
}

/// "4. Advanced Typing Indicators".
#[tokio::test]
async fn typing_is_debounced_and_told_to_the_other_participants_alone() {
    let walk = Walk::start().await;
    let ann = walk.connect("ann").await;
    let mut laptop = walk.join("/messages", "ann").await;
    let mut stranger = walk.connect("dot").await;
    let mut others = vec![walk.connect("ben").await, walk.join("/messages", "ben").await];
    let group = ann.group(&["ben"]).await;
    for _ in 0..10 {
        ann.ok("user:typing", json!({"conversationId": group, "isTyping": true})).await;
    }
    ann.ok("user:typing", json!({"conversationId": group, "isTyping": false})).await;
    send(&ann, &group, "typed").await;
    for other in &mut others {
        let heard = heard_until(other, "typed").await;
        let typing: Vec<_> = heard.iter().filter(|event| event.name == "user:typing").collect();
        let told: Vec<_> = typing.iter().map(|event| (&event.payload["userId"], &event.payload["isTyping"])).collect();
        assert_eq!(told, [(&json!("ann"), &json!(true)), (&json!("ann"), &json!(false))], "ten beats are told once");
        assert!(typing.iter().all(|event| event.payload["conversationId"] == group));
    }
    assert_eq!(count(&heard_until(&mut laptop, "typed").await, "user:typing"), 0);
    let elsewhere = ann.group(&["dot"]).await;
    send(&ann, &elsewhere, "marker").await;
    assert_eq!(count(&heard_until(&mut stranger, "marker").await, "user:typing"), 0);
}
