//! The rules of receipts.

use super::UpTo;
use crate::{
    codes::ErrorCode,
    features::testing::{features, id},
};

#[tokio::test(start_paused = true)]
async fn reading_moves_both_cursors_and_never_back() {
    let features = features();
    let conversation = features.direct("ann", "bob").await;
    let first = features.send("ann", conversation, "one").await.expect("stored");
    let second = features.send("ann", conversation, "two").await.expect("stored");

    features.receipts.read(&id("bob"), &UpTo::Message(second.id)).await.expect("a member");
    let cursor = features.conversations.cursor(&id("bob"), conversation).expect("readable");
    assert_eq!((cursor.read, cursor.delivered, cursor.sent), (second.seq, second.seq, second.seq));

    features.receipts.read(&id("bob"), &UpTo::Message(first.id)).await.expect("a member");
    let cursor = features.conversations.cursor(&id("bob"), conversation).expect("readable");
    assert_eq!(cursor.read, second.seq, "a cursor never moves back");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_not_a_reading() {
    let features = features();
    let conversation = features.direct("ann", "bob").await;
    let sent = features.send("ann", conversation, "one").await.expect("stored");
    features.receipts.delivered(&id("bob"), &UpTo::Message(sent.id)).await.expect("a member");
    let cursor = features.conversations.cursor(&id("bob"), conversation).expect("readable");
    assert_eq!((cursor.delivered, cursor.read, cursor.read_at), (sent.seq, 0, None));
}

#[tokio::test(start_paused = true)]
async fn several_deliveries_count_up_to_the_last_of_each_conversation() {
    let features = features();
    let (one, two) = (features.direct("ann", "bob").await, features.group("ann", &["bob"]).await);
    let a = features.send("ann", one, "a").await.expect("stored");
    let b = features.send("ann", one, "b").await.expect("stored");
    let c = features.send("ann", two, "c").await.expect("stored");
    features.receipts.delivered_many(&id("bob"), &[b.id, a.id, c.id]).await.expect("a member of both");
    assert_eq!(features.conversations.cursor(&id("bob"), one).expect("readable").delivered, b.seq);
    assert_eq!(features.conversations.cursor(&id("bob"), two).expect("readable").delivered, c.seq);
}

#[tokio::test(start_paused = true)]
async fn a_number_beyond_the_end_is_refused() {
    let features = features();
    let conversation = features.direct("ann", "bob").await;
    features.send("ann", conversation, "one").await.expect("stored");
    let refused = features.receipts.read(&id("bob"), &UpTo::Seq(conversation, 2)).await.expect_err("too far");
    assert_eq!(refused.code, ErrorCode::InvalidPayload);
    assert!(refused.message.starts_with("upToSeq: "), "{}", refused.message);
}

#[tokio::test(start_paused = true)]
async fn strangers_confirm_nothing() {
    let features = features();
    let conversation = features.direct("ann", "bob").await;
    let sent = features.send("ann", conversation, "one").await.expect("stored");
    for up_to in [UpTo::Message(sent.id), UpTo::Seq(conversation, 1)] {
        let refused = features.receipts.read(&id("eve"), &up_to).await.expect_err("a stranger");
        assert_eq!(refused.code, ErrorCode::NotFound);
        let refused = features.receipts.delivered(&id("eve"), &up_to).await.expect_err("a stranger");
        assert_eq!(refused.code, ErrorCode::NotFound);
    }
    let refused = features.receipts.delivered_many(&id("eve"), &[sent.id]).await.expect_err("a stranger");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn who_joins_later_has_not_missed_what_came_before() {
    let features = features();
    let group = features.group("ann", &["bob"]).await;
    let sent = features.send("ann", group, "before").await.expect("stored");
    features.conversations.add_members(&id("ann"), group, &[id("cat")]).await.expect("an admin");
    assert_eq!(features.conversations.cursor(&id("cat"), group).expect("readable").delivered, sent.seq);
    features.conversations.remove_members(&id("ann"), group, &[id("cat")]).await.expect("an admin");
    assert_eq!(features.conversations.cursor(&id("cat"), group).expect("readable").delivered, 0, "the row went along");
}

#[test]
fn a_receipt_names_one_thing() {
    let refused = UpTo::of(None, None, Some(1)).expect_err("nothing named");
    assert!(refused.message.starts_with("messageId: "), "{}", refused.message);
    let conversation = crate::ids::ConversationId::fresh();
    let refused = UpTo::of(None, Some(conversation), None).expect_err("no number");
    assert!(refused.message.starts_with("upToSeq: "), "{}", refused.message);
    assert_eq!(UpTo::of(None, Some(conversation), Some(3)), Ok(UpTo::Seq(conversation, 3)));
}
