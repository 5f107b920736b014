//! The rules of statuses, seen from devices without a connection.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::advance;

use super::rules::MAX_ASKED;
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        Config, Features, presence,
        testing::{Device, features, features_on, features_with, id},
    },
    storage::Store,
};

const GRACE: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_hours(1);

/// Events about others: name, user and status.
fn told(device: &mut Device) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = device.heard().into_iter().filter(|(name, _)| name.starts_with("user-"));
    events.map(|(name, event)| (name, text(&event["userId"]), text(&event["status"]))).collect()
}

fn event(name: &str, user: &str, status: &str) -> (String, String, String) {
    (name.to_owned(), user.to_owned(), status.to_owned())
}

/// How `user` is in the eyes of `device`; null for a stranger.
fn ask(device: &mut Device, user: &str) -> Value {
    device.ok("status:get", &json!({"userIds": [user]}))["statuses"][user].take()
}

/// The grace is over.
async fn let_go(features: &Features) {
    advance(GRACE).await;
    features.presence.sweep().await;
}

#[tokio::test(start_paused = true)]
async fn coming_and_going_is_told_once_to_those_who_share_a_conversation_and_to_nobody_else() {
    let features = features();
    features.direct("ann", "bob").await;
    features.group("ann", &["bob"]).await;
    let (mut bob, mut eve) = (features.device("bob"), features.device("eve"));
    let (mut ann, mut own) = (features.device("ann"), features.device_in("ann", "/messages"));
    assert_eq!(told(&mut bob), [event("user-status", "ann", "online"), event("user-online", "ann", "online")]);
    assert!(told(&mut ann).is_empty() && told(&mut own).is_empty());
    ann.close();
    own.close();
    assert!(told(&mut bob).is_empty());
    let_go(&features).await;
    let heard = bob.heard();
    let names: Vec<_> = heard.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["user-status", "user-offline"]);
    for (_, event) in &heard {
        assert_eq!((&event["userId"], &event["status"]), (&json!("ann"), &json!("offline")));
        assert!(event["lastSeen"].is_string() && event["customStatus"].is_null(), "{event}");
    }
    assert!(told(&mut eve).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_quick_reconnect_is_heard_by_nobody_and_keeps_the_status() {
    let features = features();
    features.direct("ann", "bob").await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    ann.ok("status:set", &json!({"status": "busy"}));
    bob.heard();
    ann.close();
    advance(GRACE / 2).await;
    features.presence.sweep().await;
    let _ann = features.device("ann");
    let_go(&features).await;
    assert!(told(&mut bob).is_empty());
    assert_eq!(ask(&mut bob, "ann")["status"], "busy");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_acknowledged_told_to_others_and_to_all_own_devices() {
    let features = features();
    features.direct("ann", "bob").await;
    let (mut ann, mut own, mut bob) = (features.device("ann"), features.device("ann"), features.device("bob"));
    for device in [&mut ann, &mut own, &mut bob] {
        device.heard();
    }
    let custom = json!({"message": "In a meeting", "emoji": "📞", "expiresAt": Timestamp::now().after(HOUR)});
    let ack = ann.ok("status:set", &json!({"status": "busy", "customStatus": custom}));
    assert_eq!((&ack["status"], &ack["customStatus"]), (&json!("busy"), &custom));
    for device in [&mut ann, &mut own, &mut bob] {
        let heard = device.heard();
        let (_, event) = heard.iter().find(|(name, _)| name == "user-status").expect("told");
        assert_eq!(*event, json!({"userId": "ann", "status": "busy", "customStatus": custom, "lastSeen": null}));
    }
    let ack = ann.ok("presence:update", &json!({"status": "away"}));
    assert_eq!(ack["customStatus"], custom, "what is left out stays");
    let ack = ann.ok("status:set", &json!({"customStatus": null}));
    assert_eq!((&ack["status"], &ack["customStatus"]), (&json!("away"), &Value::Null));
    assert_eq!(told(&mut bob), [event("user-status", "ann", "away"), event("user-status", "ann", "away")]);
    ann.ok("status:set", &json!({"status": "away"}));
    assert!(told(&mut bob).is_empty(), "nothing new");
}

#[tokio::test(start_paused = true)]
async fn invisible_is_offline_to_others_in_every_way() {
    let features = features();
    features.direct("ann", "bob").await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    bob.heard();
    ann.ok("status:set", &json!({"status": "offline"}));
    assert_eq!(told(&mut bob), [event("user-status", "ann", "offline"), event("user-offline", "ann", "offline")]);
    let seen = ask(&mut bob, "ann");
    assert_eq!(seen["status"], "offline");
    assert!(seen["lastSeen"].is_string(), "{seen}");
    assert_eq!(ask(&mut ann, "ann")["status"], "offline");

    advance(HOUR).await;
    features.presence.note_all(Duration::ZERO).await;
    ann.close();
    let_go(&features).await;
    let mut ann = features.device("ann");
    assert!(told(&mut bob).is_empty(), "neither going nor coming is told");
    assert_eq!(ask(&mut bob, "ann"), seen, "nor does it count as being seen");
    ann.ok("status:set", &json!({"status": "online"}));
    assert_eq!(told(&mut bob), [event("user-status", "ann", "online"), event("user-online", "ann", "online")]);
}

#[tokio::test(start_paused = true)]
async fn a_text_ends_on_time_and_the_status_stays() {
    let features = features();
    features.direct("ann", "bob").await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    let custom = json!({"message": "lunch", "expiresAt": Timestamp::now().after(HOUR)});
    ann.ok("status:set", &json!({"status": "away", "customStatus": custom}));
    ann.heard();
    bob.heard();
    advance(HOUR.saturating_sub(Duration::from_secs(2))).await;
    features.statuses.expire().await.expect("stored");
    assert!(bob.heard().is_empty());
    // Dates lag behind the paused clock by what the test itself took.
    advance(Duration::from_secs(3)).await;
    assert!(ask(&mut bob, "ann")["customStatus"].is_null(), "not seen any more before it was swept");
    features.statuses.expire().await.expect("stored");
    for device in [&mut ann, &mut bob] {
        let heard = device.heard();
        let [(name, event)] = heard.as_slice() else { panic!("{heard:?}") };
        assert_eq!(name, "user-status");
        assert_eq!((&event["status"], &event["customStatus"]), (&json!("away"), &Value::Null));
    }
    features.statuses.expire().await.expect("stored");
    assert!(bob.heard().is_empty(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_later_end_replaces_the_earlier_one() {
    let features = features();
    let mut ann = features.device("ann");
    for hours in [1, 3] {
        let custom = json!({"message": "away", "expiresAt": Timestamp::now().after(hours * HOUR)});
        ann.ok("status:set", &json!({"customStatus": custom}));
    }
    advance(2 * HOUR).await;
    features.statuses.expire().await.expect("stored");
    assert_eq!(ask(&mut ann, "ann")["customStatus"]["message"], "away");
}

#[tokio::test(start_paused = true)]
async fn what_was_chosen_survives_a_restart_and_a_text_ends_during_it() {
    let store = Store::memory();
    let before = features_on(&store, Config::default());
    before.direct("ann", "bob").await;
    before.direct("cid", "bob").await;
    let custom = |hours: u32| json!({"message": "in a meeting", "expiresAt": Timestamp::now().after(hours * HOUR)});
    before.device("ann").ok("status:set", &json!({"status": "dnd", "customStatus": custom(1)}));
    before.device("cid").ok("status:set", &json!({"status": "busy", "customStatus": custom(9)}));
    drop(before);
    advance(2 * HOUR).await;

    let after = features_on(&store, Config::default());
    assert!(after.statuses.is_dnd(&id("ann")) && !after.statuses.is_dnd(&id("bob")));
    let mut bob = after.device("bob");
    let of = |status: Value| (status["status"].clone(), status["customStatus"]["message"].clone());
    assert_eq!(of(ask(&mut bob, "ann")), (json!("offline"), Value::Null), "nobody is here yet");
    assert_eq!(of(ask(&mut bob, "cid")), (json!("offline"), json!("in a meeting")), "a text is shown meanwhile");
    after.statuses.expire().await.expect("stored");
    assert_eq!(told(&mut bob), [event("user-status", "ann", "offline")]);
    let (_ann, _cid) = (after.device("ann"), after.device("cid"));
    assert_eq!(of(ask(&mut bob, "ann")), (json!("dnd"), Value::Null));
    assert_eq!(of(ask(&mut bob, "cid")), (json!("busy"), json!("in a meeting")));
}

#[tokio::test(start_paused = true)]
async fn bad_choices_are_refused_and_change_nothing() {
    let features = features();
    let mut ann = features.device("ann");
    let past = Timestamp::now().before(HOUR);
    for (change, code) in [
        (json!({}), "invalid_payload"),
        (json!({"status": "asleep"}), "invalid_payload"),
        (json!({"status": 5}), "invalid_payload"),
        (json!({"customStatus": "lunch"}), "invalid_payload"),
        (json!({"customStatus": {"message": "x", "expiresAt": past}}), "invalid_payload"),
        (json!({"customStatus": {"message": "x", "expiresAt": "soon"}}), "invalid_payload"),
        (json!({"status": "busy", "customStatus": {"message": "x".repeat(101)}}), "too_long"),
        (json!({"customStatus": {"message": "x", "emoji": "x".repeat(33)}}), "too_long"),
    ] {
        assert_eq!(ann.refused("status:set", &change), code, "{change}");
    }
    let own = ask(&mut ann, "ann");
    assert_eq!((&own["status"], &own["customStatus"]), (&json!("online"), &Value::Null));
    ann.ok("status:set", &json!({"customStatus": {"message": "é".repeat(100), "emoji": "🏖️"}}));
    ann.ok("status:set", &json!({"customStatus": {"message": ""}}));
    assert!(ask(&mut ann, "ann")["customStatus"].is_null(), "an empty text is none");
}

#[tokio::test(start_paused = true)]
async fn strangers_are_answered_as_if_the_user_did_not_exist() {
    let features = features();
    features.direct("ann", "bob").await;
    let (_ann, mut eve) = (features.device("ann"), features.device("eve"));
    let answer = eve.ok("status:get", &json!({"userIds": ["ann", "nobody", "eve"]}));
    let statuses = answer["statuses"].as_object().expect("an object");
    assert_eq!(statuses.keys().collect::<Vec<_>>(), ["eve"]);
    let foreign = features.statuses.of_other(&id("eve"), &id("ann")).expect_err("a stranger");
    let absent = features.statuses.of_other(&id("eve"), &id("nobody")).expect_err("nobody");
    assert_eq!((foreign.code, &foreign), (ErrorCode::NotFound, &absent));
    assert_eq!(features.statuses.of_other(&id("bob"), &id("ann")).expect("shared").status, super::Status::Online);
    let many: Vec<String> = (0..=MAX_ASKED).map(|number| format!("user-{number}")).collect();
    assert_eq!(eve.refused("status:get", &json!({"userIds": many})), "too_long");
    assert_eq!(eve.refused("status:get", &json!({"userIds": "ann"})), "invalid_payload");
}

#[tokio::test(start_paused = true)]
async fn sharing_is_looked_up_at_the_moment_also_among_very_many_conversations() {
    let features = features();
    for _ in 0..70 {
        features.group("ann", &[]).await;
    }
    let group = features.group("ann", &["bob"]).await;
    let (mut ann, mut bob) = (features.device("ann"), features.device("bob"));
    assert_eq!(ask(&mut ann, "bob")["status"], "online");
    assert_eq!(ask(&mut bob, "ann")["status"], "online");
    assert_eq!(ask(&mut ann, "eve"), Value::Null);
    features.conversations.remove_members(&id("ann"), group, &[id("bob")]).await.expect("an admin");
    assert_eq!(ask(&mut ann, "bob"), Value::Null);
    assert_eq!(ask(&mut bob, "ann"), Value::Null);
    bob.heard();
    ann.ok("status:set", &json!({"status": "away"}));
    assert!(told(&mut bob).is_empty());
}

#[tokio::test(start_paused = true)]
async fn in_large_groups_nobody_is_told_and_whoever_asks_is_shown() {
    let presence = presence::Config { max_told_members: 2, ..presence::Config::default() };
    let features = features_with(Config { presence, ..Config::default() });
    let group = features.group("ann", &["bob"]).await;
    let mut bob = features.device("bob");
    let mut ann = features.device("ann");
    assert_eq!(told(&mut bob).len(), 2, "user-status and user-online");
    features.conversations.add_members(&id("ann"), group, &[id("cat")]).await.expect("an admin");
    ann.ok("status:set", &json!({"status": "busy"}));
    assert!(told(&mut bob).is_empty());
    let shown = bob.ok("status:get", &json!({"userIds": ["ann"]}));
    assert_eq!(shown["statuses"]["ann"]["status"], "busy");
    features.conversations.remove_members(&id("ann"), group, &[id("cat")]).await.expect("an admin");
    ann.ok("status:set", &json!({"status": "away"}));
    assert_eq!(told(&mut bob).len(), 1, "small again");
}
