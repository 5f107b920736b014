//! The rules of edit locks.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Config, Locks};
use crate::{
    codes::ErrorCode,
    features::{
        Features,
        testing::{Device, features, id},
    },
    ids::MessageId,
    server::Refusal,
    storage::{Batch, CommitError},
};

const GRACE: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_mins(5);

/// A group of ann, bob and cat, and a message of ann's in it.
async fn message(features: &Features) -> MessageId {
    let group = features.group("ann", &["bob", "cat"]).await;
    features.send("ann", group, "draft").await.expect("stored").id
}

async fn acquire(features: &Features, user: &str, message: MessageId) -> Result<u64, Refusal> {
    features.locks.acquire(&id(user), message, false).await.map(|lock| lock.fence).map_err(Refusal::from)
}

/// Lets the sweeper do what is due.
async fn sweep(features: &Features) {
    let stop = tokio_util::sync::CancellationToken::new();
    let locks = Arc::clone(&features.locks);
    let stopped = stop.clone();
    let run = async move { locks.run(stopped).await };
    let end = async move {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        stop.cancel();
    };
    tokio::join!(run, end);
}

#[tokio::test(start_paused = true)]
async fn one_user_holds_a_lock_and_may_renew_it() {
    let features = features();
    let message = message(&features).await;
    let fence = acquire(&features, "ann", message).await.expect("free");
    assert_eq!(acquire(&features, "ann", message).await.expect("renewed"), fence);
    let refused = acquire(&features, "bob", message).await.expect_err("held");
    assert_eq!(refused.code, ErrorCode::Locked);
    assert!(refused.to_ack().contains(r#""lockedBy":"ann""#), "{}", refused.to_ack());
}

#[tokio::test(start_paused = true)]
async fn any_member_may_lock_and_then_the_sender_may_not_edit() {
    let features = features();
    let message = message(&features).await;
    acquire(&features, "bob", message).await.expect("free");
    let refused = features.messages.edit(&id("ann"), message, "new", None, None).await.expect_err("locked");
    assert_eq!(refused.code, ErrorCode::Locked);
    features.locks.unlock(&id("bob"), message).await.expect("the holder");
    features.messages.edit(&id("ann"), message, "new", None, None).await.expect("free again");
}

#[tokio::test(start_paused = true)]
async fn an_advisory_lock_keeps_others_from_locking_but_not_from_editing() {
    let features = features();
    let message = message(&features).await;
    features.locks.acquire(&id("bob"), message, true).await.expect("free");
    acquire(&features, "cat", message).await.expect_err("held");
    features.messages.edit(&id("ann"), message, "new", None, None).await.expect("advisory only");
}

#[tokio::test(start_paused = true)]
async fn a_lock_outlives_its_connection_for_the_grace_and_never_its_timeout() {
    let features = features();
    let message = message(&features).await;
    // Nobody has a socket in this test, so the grace runs at once.
    acquire(&features, "ann", message).await.expect("free");
    tokio::time::advance(GRACE.saturating_sub(Duration::from_millis(1))).await;
    sweep(&features).await;
    acquire(&features, "bob", message).await.expect_err("within the grace");
    tokio::time::advance(Duration::from_millis(2)).await;
    sweep(&features).await;
    assert_eq!(features.locks.held(), 0);

    acquire(&features, "bob", message).await.expect("free");
    features.locks.shared.leases().abandon(&id("bob"), None);
    tokio::time::advance(TIMEOUT + Duration::from_millis(1)).await;
    acquire(&features, "cat", message).await.expect("over, whether it was swept or not");
}

#[tokio::test(start_paused = true)]
async fn fences_rise_and_an_edit_under_an_old_one_is_refused() {
    let features = features();
    let message = message(&features).await;
    let old = acquire(&features, "ann", message).await.expect("free");
    features.locks.unlock(&id("ann"), message).await.expect("the holder");
    let new = acquire(&features, "ann", message).await.expect("free");
    assert!(new > old);
    let refused = features.messages.edit(&id("ann"), message, "late", None, Some(old)).await.expect_err("an old fence");
    assert_eq!(refused.code, ErrorCode::Conflict);
    features.messages.edit(&id("ann"), message, "in time", None, Some(new)).await.expect("the present fence");
}

#[tokio::test(start_paused = true)]
async fn locks_outlive_a_restart_and_fences_go_on_rising() {
    let features = features();
    let message = message(&features).await;
    let fence = acquire(&features, "ann", message).await.expect("free");
    let again = Locks::new(features.locks.store.clone(), Arc::clone(&features.conversations), Config::default());
    let again = again.expect("readable");
    assert_eq!(again.show(message).map(|lock| lock.locked_by), Some(id("ann")));
    again.acquire(&id("bob"), message, false).await.expect_err("held over the restart");
    again.release(message).await.expect("stored");
    let next = again.acquire(&id("bob"), message, false).await.expect("free").fence;
    assert!(next > fence);
}

#[tokio::test(start_paused = true)]
async fn only_the_holder_unlocks_and_only_what_is_locked() {
    let features = features();
    let message = message(&features).await;
    let refused = features.locks.unlock(&id("ann"), message).await.expect_err("no lock");
    assert_eq!(refused.code, ErrorCode::NotFound);
    acquire(&features, "ann", message).await.expect("free");
    let refused = features.locks.unlock(&id("bob"), message).await.expect_err("somebody else's");
    assert_eq!(refused.code, ErrorCode::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn strangers_find_neither_message_nor_lock() {
    let features = features();
    let message = message(&features).await;
    acquire(&features, "ann", message).await.expect("free");
    assert_eq!(acquire(&features, "eve", message).await.expect_err("a stranger").code, ErrorCode::NotFound);
    let refused = features.locks.unlock(&id("eve"), message).await.expect_err("a stranger");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_message_is_not_locked_and_loses_its_lock() {
    let features = features();
    let message = message(&features).await;
    acquire(&features, "bob", message).await.expect("free");
    features.messages.delete(&id("ann"), message).await.expect("a lock does not keep it");
    sweep(&features).await;
    assert_eq!(features.locks.held(), 0);
    assert_eq!(acquire(&features, "bob", message).await.expect_err("deleted").code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_user_holds_only_so_many_locks() {
    let features = features();
    let group = features.group("ann", &["bob"]).await;
    for n in 0..super::MAX_LOCKS_PER_USER {
        let message = features.send("ann", group, &n.to_string()).await.expect("stored").id;
        acquire(&features, "ann", message).await.expect("within the limit");
    }
    let message = features.send("ann", group, "one more").await.expect("stored").id;
    let refused = acquire(&features, "ann", message).await.expect_err("too many");
    assert_eq!(refused.code, ErrorCode::QueueFull);
    acquire(&features, "bob", message).await.expect("others are not concerned");
}

/// What a device was told of locks: the event, and why it ended.
fn told(heard: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let locks = heard.into_iter().filter(|(name, _)| name.contains("lock"));
    locks.map(|(name, event)| (name, event["reason"].clone())).collect()
}

/// A device of ann's and one of bob's, and a message of ann's that came to them. They are there before it: what is in a conversation
/// already comes to a new device in its own time.
async fn pair(features: &Features) -> (Device, Device, MessageId) {
    let group = features.group("ann", &["bob", "cat"]).await;
    let devices = (features.device("ann"), features.device_in("bob", "/messages"));
    let message = features.send("ann", group, "draft").await.expect("stored").id;
    (devices.0, devices.1, message)
}

fn unlocked(reason: &str) -> Vec<(String, Value)> {
    vec![("message:unlocked".to_owned(), json!(reason))]
}

#[tokio::test(start_paused = true)]
async fn the_conversation_hears_of_each_change_and_the_loser_alone_of_his_refusal() {
    let features = features();
    let mut cat = features.device("cat");
    let (mut ann, mut bob, message) = pair(&features).await;
    let lock = json!({"messageId": message});
    let ack = ann.ok("message:lock", &lock);
    let failed = bob.call("message:lock", &lock);
    assert_eq!(
        (&failed["code"], &failed["lockedBy"], &failed["expiresAt"]),
        (&json!("locked"), &json!("ann"), &ack["expiresAt"])
    );
    let locked = ("message:locked".to_owned(), Value::Null);
    let refused = ("lock-failed".to_owned(), json!("Message is being edited by another user"));
    assert_eq!(told(ann.heard()), std::slice::from_ref(&locked));
    assert_eq!(told(bob.heard()), [locked.clone(), refused]);
    assert_eq!(told(cat.heard()), [locked]);
    assert_eq!(bob.refused("message:unlock", &lock), "forbidden");
    ann.ok("message:unlock", &lock);
    for device in [&mut ann, &mut bob, &mut cat] {
        assert_eq!(told(device.heard()), unlocked("unlock"));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_back_within_the_grace_keeps_the_lock_and_any_of_his_sockets_may_unlock() {
    let features = features();
    let (mut ann, mut bob, message) = pair(&features).await;
    let lock = json!({"messageId": message});
    ann.ok("message:lock", &lock);
    ann.close();
    tokio::time::advance(GRACE.saturating_sub(Duration::from_millis(1))).await;
    let mut again = features.device_in("ann", "/messages");
    tokio::time::advance(GRACE).await;
    sweep(&features).await;
    assert_eq!(bob.refused("message:lock", &lock), "locked");
    again.ok("message:unlock", &lock);
    bob.heard();
    again.ok("message:lock", &lock);
    again.close();
    bob.heard();
    tokio::time::advance(GRACE).await;
    sweep(&features).await;
    assert_eq!(told(bob.heard()), unlocked("disconnect"));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_over_is_told_before_the_next_one_even_if_nobody_swept_it() {
    let features = features();
    let (mut ann, mut bob, message) = pair(&features).await;
    let lock = json!({"messageId": message});
    let first = ann.ok("message:lock", &lock)["fence"].as_u64();
    tokio::time::advance(TIMEOUT).await;
    ann.heard();
    let second = bob.ok("message:lock", &lock)["fence"].as_u64();
    assert!(second > first);
    let names: Vec<_> = told(ann.heard()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["message:unlocked", "message:locked"]);
    sweep(&features).await;
    assert_eq!(features.locks.show(message).map(|lock| lock.locked_by), Some(id("bob")));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_counts_from_now() {
    let features = features();
    let (mut ann, mut bob, message) = pair(&features).await;
    let lock = json!({"messageId": message});
    ann.ok("message:lock", &lock);
    tokio::time::advance(TIMEOUT / 2).await;
    ann.ok("message:lock", &lock);
    tokio::time::advance(TIMEOUT / 2).await;
    sweep(&features).await;
    assert_eq!(bob.refused("message:lock", &lock), "locked");
    tokio::time::advance(TIMEOUT / 2).await;
    sweep(&features).await;
    assert_eq!(features.locks.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_a_lock_has_overtaken_is_not_stored() {
    let features = features();
    let message = message(&features).await;
    let mut overtaken = Batch::new();
    features.locks.check_edit(&id("ann"), message, None, &mut overtaken).expect("free");
    acquire(&features, "bob", message).await.expect("free");
    let result = features.locks.store.commit(overtaken).await;
    assert!(matches!(result, Err(CommitError::Conflict)), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_removed_from_the_group_keeps_nobody_from_editing() {
    let features = features();
    let (mut ann, mut bob, message) = pair(&features).await;
    let group = features.conversations.of_user(&id("ann")).expect("readable")[0];
    bob.ok("message:lock", &json!({"messageId": message}));
    ann.ok("conversation:remove-members", &json!({"conversationId": group, "members": ["bob"]}));
    ann.heard();
    features.messages.edit(&id("ann"), message, "new", None, None).await.expect("bob is not here any more");
    sweep(&features).await;
    assert_eq!(told(ann.heard()), unlocked("expired"));
    assert_eq!(bob.refused("message:unlock", &json!({"messageId": message})), "not_found");
}

#[tokio::test(start_paused = true)]
async fn the_operator_sees_the_locks_and_ends_them() {
    let features = features();
    let (mut ann, _bob, message) = pair(&features).await;
    ann.ok("message:lock", &json!({"messageId": message}));
    ann.heard();
    let listed = features.locks.list();
    assert_eq!((listed.len(), listed[0].message_id, &listed[0].locked_by), (1, message, &id("ann")));
    assert_eq!(features.locks.show(message).as_ref(), listed.first());
    assert!(features.locks.release(message).await.expect("stored"));
    assert_eq!(told(ann.heard()), unlocked("admin"));
    assert!(!features.locks.release(message).await.expect("nothing to store"));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_locks_at_once_too() {
    let features = features();
    let group = features.group("ann", &["bob"]).await;
    let mut messages = Vec::new();
    for n in 0..=super::MAX_LOCKS_PER_USER {
        messages.push(features.send("ann", group, &n.to_string()).await.expect("stored").id);
    }
    let all = messages.iter().map(|message| acquire(&features, "ann", *message));
    let results = futures_util::future::join_all(all).await;
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    features.locks.unlock(&id("ann"), messages[0]).await.expect("held");
    let last = messages[super::MAX_LOCKS_PER_USER];
    acquire(&features, "ann", last).await.expect("a place is free");
}
