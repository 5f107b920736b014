//! The rules of messages.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Draft, HistoryRange, MessageStatus};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        messages::store::CLIENT_IDS,
        receipts::UpTo,
        testing::{features, id},
    },
};

/// The last messages.
const END: HistoryRange = HistoryRange::Before { seq: None, skip: 0 };

fn with_key(to: crate::ids::ConversationId, text: &str, key: &str) -> Draft {
    Draft { conversation_id: Some(to), content: text.to_owned(), client_id: Some(key.to_owned()), ..Draft::default() }
}

#[tokio::test]
async fn p3_a_repeat_with_the_same_key_is_the_first_message_once() {
    let features = features();
    let (to, alice) = (features.direct("alice", "bob").await, features.signed_in("alice"));
    let sends = (0..10).map(|_| features.messages.send(&alice, with_key(to, "hi", "k"), false));
    let sent: Vec<_> = join_all(sends).await.into_iter().map(|sent| sent.expect("sent or repeated")).collect();
    assert!(sent.iter().all(|one| one.id == sent[0].id && one.seq == 1));
    assert_eq!(sent.iter().filter(|one| !one.duplicate).count(), 1);
    let history = features.messages.history(&id("bob"), to, HistoryRange::After(0), 10).expect("a member");
    assert_eq!(history.len(), 1);
}

#[tokio::test]
async fn p3_the_same_key_with_other_content_is_a_conflict_and_keys_of_others_never_meet() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let (alice, bob) = (features.signed_in("alice"), features.signed_in("bob"));
    features.messages.send(&alice, with_key(to, "hi", "k"), false).await.expect("new");
    let refused = features.messages.send(&alice, with_key(to, "ho", "k"), false).await.expect_err("other content");
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(!features.messages.send(&bob, with_key(to, "ho", "k"), false).await.expect("his own key").duplicate);
}

#[tokio::test]
async fn p4_numbers_rise_by_one_whoever_sends() {
    let features = features();
    let to = features.group("alice", &["bob", "carol"]).await;
    let names = ["alice", "bob", "carol"];
    let sends = (0..60).map(|turn| features.send(names[turn % 3], to, "x"));
    let mut seqs: Vec<_> = join_all(sends).await.into_iter().map(|sent| sent.expect("a member").seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_the_sender_edits_and_a_stale_revision_is_a_conflict() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let sent = features.send("alice", to, "draft").await.expect("a member");
    let refused = features.messages.edit(&id("bob"), sent.id, "mine", None, None).await.expect_err("not his");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let refused = features.messages.edit(&id("eve"), sent.id, "mine", None, None).await.expect_err("not hers to see");
    assert_eq!(refused.code, ErrorCode::NotFound);
    let edited = features.messages.edit(&id("alice"), sent.id, "final", Some(1), None).await.expect("hers");
    assert_eq!((edited.content.as_str(), edited.rev, edited.seq), ("final", 2, sent.seq));
    let refused = features.messages.edit(&id("alice"), sent.id, "late", Some(1), None).await.expect_err("stale");
    assert_eq!(refused.code, ErrorCode::Conflict);
}

#[tokio::test]
async fn a_deleted_message_leaves_a_tombstone_without_its_text() {
    let features = features();
    let to = features.group("alice", &["bob", "carol"]).await;
    let sent = features.send("bob", to, "secret").await.expect("a member");
    let refused = features.messages.delete(&id("carol"), sent.id).await.expect_err("neither sender nor admin");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    features.messages.delete(&id("alice"), sent.id).await.expect("an admin");
    features.messages.delete(&id("bob"), sent.id).await.expect("again is no mistake");
    let history = features.messages.history(&id("carol"), to, HistoryRange::After(0), 10).expect("a member");
    assert_eq!((history[0].content.as_str(), history[0].deleted), ("", true));
    let refused = features.messages.edit(&id("bob"), sent.id, "back", None, None).await.expect_err("gone");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn limits_are_named_with_their_field() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let refused = features.send("alice", to, &"x".repeat(5001)).await.expect_err("too long");
    assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::TooLong, "content: at most 5000 characters"));
    features.send("alice", to, &"é".repeat(5000)).await.expect("characters, not bytes");
    let refused = features.send("alice", to, "").await.expect_err("empty");
    assert_eq!(refused.code, ErrorCode::InvalidPayload);
}

#[tokio::test]
async fn an_answer_to_a_message_of_another_conversation_is_refused() {
    let features = features();
    let (here, there) = (features.direct("alice", "bob").await, features.direct("bob", "carol").await);
    let foreign = features.send("carol", there, "psst").await.expect("a member").id;
    let draft =
        Draft { conversation_id: Some(here), content: "re".to_owned(), reply_to: Some(foreign), ..Draft::default() };
    let refused = features.messages.send(&features.signed_in("alice"), draft, false).await.expect_err("foreign");
    assert_eq!(refused.code, ErrorCode::InvalidPayload);
}

#[tokio::test]
async fn history_pages_from_the_end_and_from_a_number() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    for text in ["1", "2", "3", "4", "5"] {
        features.send("alice", to, text).await.expect("a member");
    }
    let texts = |range, limit| {
        let page = features.messages.history(&id("bob"), to, range, limit).expect("a member");
        page.into_iter().map(|message| message.content).collect::<Vec<_>>()
    };
    assert_eq!(texts(HistoryRange::Before { seq: None, skip: 0 }, 2), ["4", "5"]);
    assert_eq!(texts(HistoryRange::Before { seq: None, skip: 2 }, 2), ["2", "3"]);
    assert_eq!(texts(HistoryRange::Before { seq: Some(3), skip: 0 }, 9), ["1", "2"]);
    assert_eq!(texts(HistoryRange::After(3), 9), ["4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_when_its_time_has_come() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let expires_at = Some(Timestamp::now().after(Duration::from_mins(1)));
    let draft = Draft { conversation_id: Some(to), content: "burn".to_owned(), expires_at, ..Draft::default() };
    features.messages.send(&features.signed_in("alice"), draft, false).await.expect("a member");
    features.messages.expire_messages().await.expect("nothing is due");
    let text =
        || features.messages.history(&id("bob"), to, HistoryRange::After(0), 1).expect("a member")[0].content.clone();
    assert_eq!(text(), "burn");
    tokio::time::advance(Duration::from_mins(2)).await;
    features.messages.expire_messages().await.expect("one is due");
    assert_eq!(text(), "");
}

#[tokio::test(start_paused = true)]
async fn client_keys_are_forgotten_after_their_retention_and_not_before() {
    let features = features();
    let (to, alice) = (features.direct("alice", "bob").await, features.signed_in("alice"));
    features.messages.send(&alice, with_key(to, "hi", "k"), false).await.expect("new");
    let kept = || features.messages.store.contains(&CLIENT_IDS, &(id("alice"), "k".to_owned())).expect("readable");
    tokio::time::advance(Duration::from_hours(6 * 24)).await;
    features.messages.sweep_client_ids().await.expect("swept");
    assert!(kept());
    tokio::time::advance(Duration::from_hours(2 * 24)).await;
    features.messages.sweep_client_ids().await.expect("swept");
    assert!(!kept());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_forwarded_to_all_or_to_none() {
    let features = features();
    let source = features.group("alice", &["bob"]).await;
    let (one, two) = (features.direct("alice", "cara").await, features.group("alice", &["dan"]).await);
    let foreign = features.group("eve", &["dan"]).await;
    let sent = features.send("alice", source, "news").await.expect("stored");
    let alice = features.signed_in("alice");

    let copies = features.messages.forward(&alice, sent.id, &[one, two]).await.expect("a member of all");
    assert_eq!(copies.len(), 2);
    let copy = features.messages.history(&id("dan"), two, END, 10).expect("a member").pop().expect("one");
    assert_eq!((copy.content.as_str(), copy.forwarded_from, copy.seq), ("news", Some(sent.id), 1));

    let refused = features.messages.forward(&alice, sent.id, &[one, foreign]).await.expect_err("not hers");
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert_eq!(features.messages.history(&id("cara"), one, END, 10).expect("a member").len(), 1, "nothing of it");
    let eve = features.signed_in("eve");
    assert_eq!(
        features.messages.forward(&eve, sent.id, &[foreign]).await.expect_err("not hers").code,
        ErrorCode::NotFound
    );
    let none = features.messages.forward(&alice, sent.id, &[]).await.expect_err("nowhere");
    assert_eq!(none.code, ErrorCode::InvalidPayload);
    let many = features.messages.forward(&alice, sent.id, &[one; 21]).await.expect_err("too many");
    assert_eq!(many.code, ErrorCode::TooLong);
}

#[tokio::test(start_paused = true)]
async fn admins_pin_in_groups_and_both_sides_in_direct_conversations() {
    let features = features();
    let group = features.group("alice", &["bob"]).await;
    let sent = features.send("bob", group, "rules").await.expect("stored");
    let refused = features.messages.pin(&id("bob"), sent.id, true).await.expect_err("no admin");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    features.messages.pin(&id("alice"), sent.id, true).await.expect("an admin");
    features.messages.pin(&id("alice"), sent.id, true).await.expect("already so");
    let pinned = features.messages.pinned(&id("bob"), group).expect("a member");
    assert_eq!(pinned.iter().map(|message| (message.id, message.is_pinned)).collect::<Vec<_>>(), [(sent.id, true)]);
    assert_eq!(features.messages.pinned(&id("eve"), group).expect_err("a stranger").code, ErrorCode::NotFound);
    features.messages.pin(&id("alice"), sent.id, false).await.expect("an admin");
    assert!(features.messages.pinned(&id("bob"), group).expect("a member").is_empty());

    let direct = features.direct("alice", "bob").await;
    let sent = features.send("alice", direct, "address").await.expect("stored");
    features.messages.pin(&id("bob"), sent.id, true).await.expect("either side");
    features.messages.delete(&id("alice"), sent.id).await.expect("hers");
    assert!(features.messages.pinned(&id("bob"), direct).expect("a member").is_empty(), "the pin goes along");
}

#[tokio::test(start_paused = true)]
async fn mentions_of_people_who_are_not_there_are_left_out() {
    let features = features();
    let group = features.group("alice", &["bob"]).await;
    let draft = Draft {
        conversation_id: Some(group),
        content: "@bob @eve".to_owned(),
        mentions: vec![id("bob"), id("eve")],
        ..Draft::default()
    };
    let sent = features.messages.send(&features.signed_in("alice"), draft, false).await.expect("stored");
    assert_eq!(features.messages.load(&[sent.id]).expect("readable")[0].mentions, [id("bob")]);
}

#[tokio::test(start_paused = true)]
async fn a_message_says_how_far_it_has_come() {
    let features = features();
    let group = features.group("alice", &["bob", "cara"]).await;
    let sent = features.send("alice", group, "hello").await.expect("stored");
    let shown = |features: &crate::features::Features| {
        let message = features.messages.history(&id("alice"), group, END, 1).expect("a member").pop().expect("one");
        (message.status, message.delivered_to, message.read_by)
    };
    assert_eq!(shown(&features), (MessageStatus::Sent, Some(0), Some(0)));
    features.receipts.delivered(&id("bob"), &UpTo::Message(sent.id)).await.expect("a member");
    assert_eq!(shown(&features), (MessageStatus::Sent, Some(1), Some(0)));
    features.receipts.read(&id("cara"), &UpTo::Message(sent.id)).await.expect("a member");
    assert_eq!(shown(&features), (MessageStatus::Delivered, Some(2), Some(1)));
    features.receipts.read(&id("bob"), &UpTo::Message(sent.id)).await.expect("a member");
    assert_eq!(shown(&features), (MessageStatus::Read, Some(2), Some(2)));
}
