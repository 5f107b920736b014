//! The rules of the offline queue that need no socket; what a client sees is in `tests/interop` and `tests/integration`.

use std::time::Duration;

use serde_json::json;

use super::{Config, backlog::Backlog, positions::Position};
use crate::{
    clock::Timestamp,
    features::{
        self, Features,
        receipts::UpTo,
        testing::{Device, features, features_on, id},
    },
    ids::ConversationId,
    storage::Store,
};

fn backlog(features: &Features, config: &Config, user: &str) -> Backlog {
    let conversations = features.conversations.of_user(&id(user)).expect("readable");
    let starts = features.queue.shared.positions_of(&id(user), conversations, false);
    Backlog::open(&features.queue.shared.store, config, starts).expect("readable")
}

fn texts(features: &Features, backlog: &mut Backlog, limit: usize) -> Vec<String> {
    let page = backlog.page(limit).expect("readable");
    let replayed = features.messages.replay(&page.changes).expect("readable");
    let text = |json: &str| {
        let value: serde_json::Value = serde_json::from_str(json).expect("an object");
        value["content"].as_str().unwrap_or("deleted").to_owned()
    };
    replayed.into_iter().flatten().map(|event| text(&event.json)).collect()
}

async fn send_spaced(features: &Features, from: &str, to: ConversationId, text: &str) -> u64 {
    tokio::time::advance(Duration::from_secs(1)).await;
    features.send(from, to, text).await.expect("stored").seq
}

#[tokio::test(start_paused = true)]
async fn what_waits_comes_oldest_first_over_all_conversations() {
    let features = features();
    let (one, two) = (features.direct("ann", "bob").await, features.direct("cat", "bob").await);
    send_spaced(&features, "ann", one, "1").await;
    send_spaced(&features, "cat", two, "2").await;
    send_spaced(&features, "ann", one, "3").await;
    send_spaced(&features, "cat", two, "4").await;
    let mut backlog = backlog(&features, &Config::default(), "bob");
    assert_eq!(texts(&features, &mut backlog, 3), ["1", "2", "3"]);
    assert_eq!(texts(&features, &mut backlog, 3), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_confirmed_does_not_wait_any_more() {
    let features = features();
    let one = features.direct("ann", "bob").await;
    send_spaced(&features, "ann", one, "1").await;
    let second = send_spaced(&features, "ann", one, "2").await;
    send_spaced(&features, "ann", one, "3").await;
    features.receipts.delivered(&id("bob"), &UpTo::Seq(one, second)).await.expect("a member");
    assert_eq!(features.queue.size(&id("bob")).expect("readable").size, 1);
    // A proof that is not written yet counts as well.
    features.queue.shared.positions.advance(&id("bob"), one, Position { delivered: 3, sent: 3 });
    assert_eq!(features.queue.size(&id("bob")).expect("readable").size, 0);
    features.queue.stop(true).await;
    assert_eq!(features.conversations.cursor(&id("bob"), one).expect("readable").delivered, 3);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_message_waits_as_a_deletion_without_its_text() {
    let features = features();
    let one = features.direct("ann", "bob").await;
    let sent = features.send("ann", one, "secret").await.expect("stored");
    features.messages.delete(&id("ann"), sent.id).await.expect("its sender");
    let mut backlog = backlog(&features, &Config::default(), "bob");
    let page = backlog.page(10).expect("readable");
    let told: Vec<_> = features.messages.replay(&page.changes).expect("readable").into_iter().flatten().collect();
    assert!(told.iter().all(|event| event.name == "message:deleted" && !event.json.contains("secret")));
    assert!(!told.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_too_much_are_left_to_the_history_and_counted() {
    let features = features();
    let (one, two) = (features.direct("ann", "bob").await, features.direct("cat", "bob").await);
    for n in 0..4 {
        send_spaced(&features, "ann", one, &format!("a{n}")).await;
        send_spaced(&features, "cat", two, &format!("c{n}")).await;
    }
    let config = Config { max_per_user: 3, ..Config::default() };
    let mut backlog = backlog(&features, &config, "bob");
    assert_eq!(backlog.take_dropped(), 5);
    assert_eq!(texts(&features, &mut backlog, 10), ["c2", "a3", "c3"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_left_to_the_history() {
    let features = features();
    let one = features.direct("ann", "bob").await;
    send_spaced(&features, "ann", one, "old").await;
    tokio::time::advance(Duration::from_hours(25)).await;
    send_spaced(&features, "ann", one, "new").await;
    let config = Config { expiry_s: 24 * 3600, ..Config::default() };
    let mut backlog = backlog(&features, &config, "bob");
    assert_eq!(backlog.take_dropped(), 1);
    assert_eq!(texts(&features, &mut backlog, 10), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn ones_own_messages_do_not_wait() {
    let features = features();
    let one = features.direct("ann", "bob").await;
    send_spaced(&features, "bob", one, "mine").await;
    assert_eq!(features.queue.size(&id("bob")).expect("readable").size, 0);
    assert_eq!(features.queue.size(&id("ann")).expect("readable").size, 1);
}

/// What a device hears until `last`.
async fn heard_until(device: &mut Device, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|text| text != last) {
        tokio::task::yield_now().await;
        let news = device.heard().into_iter().filter(|(name, _)| name == "message:new");
        heard.extend(news.map(|(_, message)| message["content"].as_str().expect("a text").to_owned()));
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_backlog_is_told_comes_after_it_and_the_rest_comes_at_once() {
    let features = features();
    let one = features.direct("ann", "bob").await;
    for n in 0..150 {
        features.send("ann", one, &n.to_string()).await.expect("stored");
    }
    let mut ann = features.device("ann");
    let mut bob = features.device("bob");
    let page: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(heard_until(&mut bob, "99").await, page);
    // The second page waits for the proof of the first.
    features.send("ann", one, "late").await.expect("stored");
    features.send("bob", one, "from another device").await.expect("stored");
    bob.ok("join-conversation", &json!({"conversationId": one}));
    ann.ok("user:typing", &json!({"conversationId": one, "isTyping": true}));
    let names = bob.names();
    assert!(names.iter().any(|name| name == "user:typing"), "{names:?}");
    assert!(!names.iter().any(|name| name == "message:new"), "{names:?}");
    features.queue.shared.flushing.iter().for_each(|flush| flush.notify_one());
    let mut rest: Vec<String> = (100..150).map(|n| n.to_string()).collect();
    rest.extend(["late".to_owned(), "from another device".to_owned()]);
    assert_eq!(heard_until(&mut bob, "from another device").await, rest);
    while !features.queue.shared.flushing.is_empty() {
        tokio::task::yield_now().await;
    }
    features.send("ann", one, "live").await.expect("stored");
    assert_eq!(heard_until(&mut bob, "live").await, ["live"]);
}

#[tokio::test(start_paused = true)]
async fn purging_says_how_much_and_a_trial_changes_nothing() {
    let features = features();
    let one = features.direct("ann", "bob").await;
    send_spaced(&features, "ann", one, "old").await;
    tokio::time::advance(Duration::from_hours(2)).await;
    send_spaced(&features, "ann", one, "new").await;
    let hour = Some(Duration::from_hours(1));
    assert_eq!(features.queue.purge(&id("bob"), hour, true).await.expect("readable"), 1);
    assert_eq!(features.queue.size(&id("bob")).expect("readable").size, 2);
    assert_eq!(features.queue.purge(&id("bob"), hour, false).await.expect("readable"), 1);
    assert_eq!(features.queue.show(&id("bob"), 10).expect("readable").len(), 1);
    assert_eq!(features.queue.purge(&id("bob"), None, false).await.expect("readable"), 1);
    assert_eq!(features.queue.size(&id("bob")).expect("readable").size, 0);
}

#[tokio::test(start_paused = true)]
async fn everything_before_a_stop_that_left_no_mark_is_doubtful() {
    let store = Store::memory();
    let long_ago = Timestamp::from_millis(0);
    for (drained, doubtful_next) in [(false, true), (true, false)] {
        features_on(&store, features::Config::default()).queue.stop(drained).await;
        let next = features_on(&store, features::Config::default());
        assert_eq!(next.queue.shared.is_doubtful(long_ago), doubtful_next, "drained: {drained}");
    }
}

/// Whoever stays away over a stop in order gets only then what was on its way to him at the crash before it.
#[tokio::test(start_paused = true)]
async fn a_crash_is_remembered_over_a_clean_stop() {
    let store = Store::memory();
    let start = || features_on(&store, features::Config::default());
    let crashed = start();
    crashed.queue.forget_clean_stop().await.expect("stored");
    let before = Timestamp::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    let again = start();
    again.queue.forget_clean_stop().await.expect("stored");
    assert!(again.queue.shared.is_doubtful(before));
    tokio::time::advance(Duration::from_secs(1)).await;
    let after = Timestamp::now();
    for _ in 0..2 {
        again.queue.stop(true).await;
        let clean = start();
        assert!(clean.queue.shared.is_doubtful(before));
        assert!(!clean.queue.shared.is_doubtful(after));
        clean.queue.forget_clean_stop().await.expect("stored");
    }
}
