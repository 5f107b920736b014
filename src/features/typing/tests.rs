//! The rules of typing, seen from devices without a connection.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::advance;

use super::rules::MAX_PLACES;
use crate::{
    features::{
        Config, Features, compat,
        testing::{features, features_with, id},
    },
    ids::ConversationId,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a device was told of typing under the present name: `isTyping` and the activity.
fn told(heard: Vec<(String, Value)>) -> Vec<(bool, String)> {
    let typing = heard.into_iter().filter(|(name, _)| name == "user:typing");
    let told = typing.map(|(_, event)| {
        (event["isTyping"].as_bool().expect("a switch"), event["activity"].as_str().expect("a word").to_owned())
    });
    told.collect()
}

fn starts() -> (bool, String) {
    (true, "typing".to_owned())
}

fn ends() -> (bool, String) {
    (false, "typing".to_owned())
}

async fn group(features: &Features) -> (ConversationId, Value) {
    let group = features.group("ann", &["bob", "cid"]).await;
    (group, json!({"conversationId": group}))
}

#[tokio::test(start_paused = true)]
async fn the_others_hear_it_and_no_socket_of_the_one_who_types_does() {
    let features = features();
    let (group, place) = group(&features).await;
    let (mut ann, mut own, mut bob) = (features.device("ann"), features.device("ann"), features.device("bob"));
    let (mut own_too, mut cid) = (features.device_in("ann", "/messages"), features.device_in("cid", "/messages"));
    ann.ok("user:typing", &place);
    let event = json!({
        "from": "ann", "userId": "ann", "conversationId": group, "groupId": group, "isTyping": true, "activity": "typing",
    });
    for device in [&mut bob, &mut cid] {
        let heard = device.heard();
        assert!(heard.contains(&("user:typing".to_owned(), event.clone())), "{heard:?}");
        assert!(heard.contains(&("typing".to_owned(), event.clone())), "{heard:?}");
    }
    ann.ok("typing:stop", &place);
    assert_eq!(bob.names(), ["user:typing", "typing", "typing-stopped"]);
    for device in [&mut ann, &mut own, &mut own_too] {
        let names = device.names();
        assert!(!names.iter().any(|name| name.contains("typing")), "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn beats_within_three_seconds_are_told_once() {
    let features = features();
    let (_, place) = group(&features).await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    let mut times = Vec::new();
    for second in 0..10 {
        ann.ok("user:typing", &place);
        times.extend(told(bob.heard()).into_iter().map(|_| second));
        advance(SECOND).await;
        features.typing.sweep();
    }
    assert_eq!(times, [0, 3, 6, 9]);
}

#[tokio::test(start_paused = true)]
async fn another_activity_and_the_end_are_told_at_once() {
    let features = features();
    let (group, place) = group(&features).await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    ann.ok("typing", &place);
    ann.ok("typing:start", &json!({"groupId": group, "activity": "recording-audio"}));
    ann.ok("user:typing", &json!({"conversationId": group, "isTyping": false}));
    let recording = |is_typing| (is_typing, "recording-audio".to_owned());
    assert_eq!(told(bob.heard()), [starts(), recording(true), recording(false)]);
    ann.ok("typing:stop", &place);
    assert!(bob.heard().is_empty(), "it had ended");
    ann.ok("user:typing", &place);
    assert_eq!(told(bob.heard()), [starts()], "a new start is news");
}

#[tokio::test(start_paused = true)]
async fn without_a_beat_it_ends_after_eight_seconds() {
    let features = features();
    let (_, place) = group(&features).await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    ann.ok("user:typing", &place);
    advance(2 * SECOND).await;
    ann.ok("user:typing", &place);
    bob.heard();
    advance((8 * SECOND).saturating_sub(Duration::from_millis(1))).await;
    features.typing.sweep();
    assert!(bob.heard().is_empty(), "the second beat counts, although it was not told");
    advance(Duration::from_millis(1)).await;
    features.typing.sweep();
    assert_eq!(told(bob.heard()), [ends()]);
    features.typing.sweep();
    assert!(bob.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_message_ends_it_wherever_it_was_sent_from() {
    let features = features();
    let (group, place) = group(&features).await;
    let other = features.group("ann", &["bob"]).await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    ann.ok("user:typing", &place);
    ann.ok("user:typing", &json!({"conversationId": other}));
    bob.heard();
    features.send("ann", group, "here it is").await.expect("a member");
    let heard = bob.heard();
    let ended = heard.iter().find(|(name, _)| name == "user:typing").expect("ended").1.clone();
    assert_eq!((&ended["conversationId"], &ended["isTyping"]), (&json!(group), &json!(false)));
    assert_eq!(told(heard), [ends()], "elsewhere it goes on");
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_last_device_that_was_typing() {
    let features = features();
    let (_, place) = group(&features).await;
    let (mut phone, mut laptop) = (features.device("ann"), features.device_in("ann", "/messages"));
    let (tablet, mut bob) = (features.device("ann"), features.device("bob"));
    phone.ok("user:typing", &place);
    laptop.ok("user:typing", &place);
    assert_eq!(told(bob.heard()), [starts()]);
    tablet.close();
    phone.ok("typing:stop", &place);
    assert!(bob.heard().is_empty(), "the laptop still types");
    laptop.close();
    assert_eq!(told(bob.heard()), [ends()]);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_user_is_no_member_any_more() {
    let features = features();
    let (group, place) = group(&features).await;
    let (mut cid, mut bob) = (features.device("cid"), features.device("bob"));
    cid.ok("user:typing", &place);
    features.conversations.remove_members(&id("ann"), group, &[id("cid")]).await.expect("an admin");
    bob.heard();
    features.typing.sweep();
    assert_eq!(told(bob.heard()), [ends()]);
    assert_eq!(cid.refused("user:typing", &place), "not_found");
    assert!(bob.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_user_or_a_group_may_be_named_by_to_and_nothing_is_made() {
    let features = features();
    let (group, _) = group(&features).await;
    let direct = features.direct("ann", "bob").await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    ann.ok("typing", &json!({"to": "bob"}));
    ann.ok("typing", &json!({"to": group}));
    let heard = bob.heard();
    let places: Vec<_> = heard.iter().filter(|(name, _)| name == "user:typing").map(|(_, event)| event).collect();
    assert_eq!((&places[0]["conversationId"], &places[0]["groupId"]), (&json!(direct), &Value::Null));
    assert_eq!((&places[1]["conversationId"], &places[1]["groupId"]), (&json!(group), &json!(group)));

    let before = features.conversations.of_user(&id("ann")).expect("readable");
    assert_eq!(ann.refused("typing", &json!({"to": "nobody"})), "not_found");
    assert_eq!(features.conversations.of_user(&id("ann")).expect("readable"), before);
}

#[tokio::test(start_paused = true)]
async fn strangers_and_bad_input_are_refused_and_heard_by_nobody() {
    let features = features();
    let (group, place) = group(&features).await;
    let (mut eve, mut bob) = (features.device("eve"), features.device("bob"));
    for event in ["user:typing", "typing:stop"] {
        assert_eq!(eve.refused(event, &place), "not_found");
        assert_eq!(eve.refused(event, &json!({"to": group})), "not_found");
        assert_eq!(eve.refused(event, &json!({"conversationId": ConversationId::fresh()})), "not_found");
        assert_eq!(eve.refused(event, &json!({})), "invalid_payload");
    }
    let mut ann = features.device("ann");
    let bad = ann.call("user:typing", &json!({"conversationId": 5}));
    assert_eq!((&bad["code"], &bad["field"]), (&json!("invalid_payload"), &json!("conversationId")));
    for activity in [json!(""), json!("a word"), json!("x".repeat(33)), json!(7), json!("<b>")] {
        let event = json!({"conversationId": group, "activity": activity});
        assert_eq!(ann.refused("user:typing", &event), "invalid_payload");
    }
    assert!(told(bob.heard()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn in_the_twenty_first_conversation_the_oldest_one_ends() {
    let features = features();
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    let mut groups = Vec::new();
    for _ in 0..=MAX_PLACES {
        groups.push(features.group("ann", &["bob"]).await);
    }
    bob.heard();
    for group in &groups {
        ann.ok("user:typing", &json!({"conversationId": group}));
        advance(Duration::from_millis(1)).await;
    }
    let heard = bob.heard().into_iter().filter(|(name, event)| name == "user:typing" && event["isTyping"] == false);
    let ended: Vec<_> = heard.map(|(_, event)| event["conversationId"].clone()).collect();
    assert_eq!(ended, [json!(groups[0])]);
}

#[tokio::test(start_paused = true)]
async fn older_names_are_silent_when_they_are_switched_off() {
    let compat = compat::Config { legacy_events: false };
    let features = features_with(Config { compat, ..Config::default() });
    let (_, place) = group(&features).await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    ann.ok("user:typing", &place);
    ann.ok("typing:stop", &place);
    assert_eq!(bob.names(), ["user:typing", "user:typing"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_spared_it_and_hears_everything_else() {
    let features = features();
    let (group, _) = group(&features).await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    for turn in 0..4000 {
        let activity = if turn % 2 == 0 { "typing" } else { "uploading" };
        ann.ok("user:typing", &json!({"conversationId": group, "activity": activity}));
    }
    features.send("ann", group, "at last").await.expect("a member");
    let names = bob.names();
    assert!(names.len() < 5100, "typing stopped at half of what the queue takes: {}", names.len());
    assert!(names.iter().any(|name| name == "message:new"));
}
