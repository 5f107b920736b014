//! The rules of edit locks.

use std::{sync::Arc, time::Duration};

use super::{Config, Locks};
use crate::{
    codes::ErrorCode,
    features::{
        Features,
        testing::{features, id},
    },
    ids::MessageId,
    server::Refusal,
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
    features.locks.leases().abandon(&id("bob"), None);
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
    let again = Locks::new(
        features.locks.store.clone(),
        Arc::clone(&features.conversations),
        Arc::clone(&features.messages),
        Config::default(),
    );
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
