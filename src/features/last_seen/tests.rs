//! The rules of last seen.

use super::{of_members, view};
use crate::{
    codes::ErrorCode,
    features::{
        receipts::UpTo,
        testing::{features, id},
    },
};

#[tokio::test(start_paused = true)]
async fn a_look_is_seen_by_the_other_members() {
    let features = features();
    let group = features.group("ann", &["bob"]).await;
    let before = of_members(&features.conversations, &id("ann"), group).expect("a member");
    assert!(before.last_seen.is_empty(), "nobody has looked yet");

    let at = view(&features.conversations, &id("bob"), group).await.expect("a member");
    let after = of_members(&features.conversations, &id("ann"), group).expect("a member");
    assert_eq!(after.last_seen.into_iter().collect::<Vec<_>>(), [(id("bob"), at)]);
}

#[tokio::test(start_paused = true)]
async fn reading_is_looking() {
    let features = features();
    let group = features.group("ann", &["bob"]).await;
    let sent = features.send("ann", group, "hello").await.expect("stored");
    features.receipts.read(&id("bob"), &UpTo::Message(sent.id)).await.expect("a member");
    let seen = of_members(&features.conversations, &id("ann"), group).expect("a member");
    assert!(seen.last_seen.contains_key(&id("bob")));
}

#[tokio::test]
async fn strangers_neither_look_nor_see() {
    let features = features();
    let group = features.group("ann", &["bob"]).await;
    let refused = view(&features.conversations, &id("eve"), group).await.expect_err("a stranger");
    assert_eq!(refused.code, ErrorCode::NotFound);
    let refused = of_members(&features.conversations, &id("eve"), group).expect_err("a stranger");
    assert_eq!(refused.code, ErrorCode::NotFound);
}
