//! The rules of messages.

mod retention;

use std::time::Duration;

use futures_util::future::join_all;

use super::{Draft, HistoryRange, MAX_PINS, MessageStatus};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        conversations::LOG,
        messages::store::CLIENT_IDS,
        receipts::UpTo,
        testing::{features, id},
    },
    ids::{ConversationId, MessageId},
};

/// The last messages.
const END: HistoryRange = HistoryRange::Before { seq: None, skip: 0 };

fn with_key(to: ConversationId, text: &str, key: &str) -> Draft {
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
async fn a_message_that_comes_after_its_time_is_refused_unless_it_repeats_one_that_came_in_time() {
    let features = features();
    let (to, alice) = (features.direct("alice", "bob").await, features.signed_in("alice"));
    let expires_at = Some(Timestamp::now().after(Duration::from_mins(1)));
    let burn = |key: &str| Draft { expires_at, ..with_key(to, "burn", key) };
    let sent = features.messages.send(&alice, burn("a"), false).await.expect("in time");
    tokio::time::advance(Duration::from_mins(2)).await;
    let again = features.messages.send(&alice, burn("a"), false).await.expect("a repeat");
    assert_eq!((again.id, again.duplicate), (sent.id, true));
    for late in [burn("b"), Draft { client_id: None, ..burn("") }] {
        let refused = features.messages.send(&alice, late, false).await.expect_err("too late");
        assert_eq!(
            (refused.code, &*refused.message),
            (ErrorCode::InvalidPayload, "expiresAt: expected a date to come")
        );
    }
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

fn draft(to: ConversationId, text: &str) -> Draft {
    Draft { conversation_id: Some(to), content: text.to_owned(), ..Draft::default() }
}

#[tokio::test]
async fn only_members_are_mentioned_each_once_and_an_edit_keeps_them() {
    let features = features();
    let to = features.group("alice", &["bob", "carol"]).await;
    let mentions = ["bob", "eve", "alice", "bob"].map(id).to_vec();
    let alice = features.signed_in("alice");
    let sent = features.messages.send(&alice, Draft { mentions, ..draft(to, "@carol") }, false);
    let sent = sent.await.expect("a stranger among them is no mistake").id;
    let edited = features.messages.edit(&id("alice"), sent, "@eve", None, None).await.expect("hers");
    assert_eq!(edited.mentions, [id("bob"), id("alice")]);
}

#[tokio::test]
async fn a_forwarded_message_is_copied_to_all_conversations_with_what_belongs_to_it() {
    let features = features();
    let (from, alice) = (features.direct("alice", "bob").await, features.signed_in("alice"));
    let (direct, group) = (features.direct("alice", "carol").await, features.group("dave", &["alice"]).await);
    let first = features.send("bob", from, "before").await.expect("a member").id;
    let original = Draft {
        reply_to: Some(first),
        mentions: vec![id("alice")],
        media_url: Some("u".to_owned()),
        data: serde_json::value::RawValue::from_string("[1]".to_owned()).ok(),
        ..draft(from, "look")
    };
    let source = features.messages.send(&features.signed_in("bob"), original, false).await.expect("a member").id;
    let sent =
        features.messages.forward(&alice, source, &[direct, group, direct], None).await.expect("a member of all");
    let ids: Vec<_> = sent.iter().map(|sent| sent.id).collect();
    let copies = features.messages.load(&ids).expect("readable");
    assert_eq!(copies.iter().map(|copy| copy.conversation_id).collect::<Vec<_>>(), [direct, group]);
    for copy in &copies {
        assert_eq!((copy.content.as_str(), copy.media_url.as_deref(), copy.seq), ("look", Some("u"), 1));
        assert_eq!((copy.forwarded_from, copy.reply_to, copy.mentions.len()), (Some(source), None, 0));
        assert_eq!((copy.data.as_ref().map(|data| data.get()), &copy.sender_id), (Some("[1]"), &id("alice")));
    }
    assert_eq!((&copies[0].recipient, &copies[1].group), (&Some(id("carol")), &Some(group)));
}

#[tokio::test]
async fn a_message_is_forwarded_to_all_or_to_none() {
    let features = features();
    let (from, to) = (features.direct("alice", "bob").await, features.direct("alice", "carol").await);
    let (foreign, alice) = (features.direct("bob", "carol").await, features.signed_in("alice"));
    let source = features.send("bob", from, "look").await.expect("a member").id;
    let theirs = features.send("bob", foreign, "psst").await.expect("a member").id;
    let forward = async |source, targets: &[ConversationId]| {
        features.messages.forward(&alice, source, targets, None).await.expect_err("refused").code
    };
    assert_eq!(forward(source, &[to, foreign]).await, ErrorCode::NotFound);
    assert_eq!(forward(theirs, &[to]).await, ErrorCode::NotFound);
    assert_eq!(forward(MessageId::fresh(), &[to]).await, ErrorCode::NotFound);
    assert_eq!(forward(source, &[]).await, ErrorCode::InvalidPayload);
    assert_eq!(forward(source, &[to; 21]).await, ErrorCode::TooLong);
    features.messages.delete(&id("bob"), source).await.expect("his");
    assert_eq!(forward(source, &[to]).await, ErrorCode::NotFound);
    assert_eq!(features.messages.history(&id("alice"), to, HistoryRange::After(0), 9).expect("a member").len(), 0);
}

#[tokio::test]
async fn a_forward_with_a_client_key_happens_once() {
    let features = features();
    let (from, to) = (features.direct("alice", "bob").await, features.direct("alice", "carol").await);
    let (other, alice) = (features.group("alice", &[]).await, features.signed_in("alice"));
    let source = features.send("bob", from, "look").await.expect("a member").id;
    let (key, targets) = (|| Some("k".to_owned()), [to, other]);
    let both = join_all((0..4).map(|_| features.messages.forward(&alice, source, &targets, key()))).await;
    let ids =
        both.iter().map(|sent| sent.as_ref().expect("sent or repeated").iter().map(|sent| sent.id).collect::<Vec<_>>());
    let ids: Vec<_> = ids.collect();
    assert!(ids.iter().all(|these| these.len() == 2 && *these == ids[0]));
    assert_eq!(features.messages.history(&id("alice"), to, HistoryRange::After(0), 9).expect("a member").len(), 1);
    let refused = features.messages.forward(&alice, source, &[to], key()).await.expect_err("something else");
    assert_eq!(refused.code, ErrorCode::Conflict);
}

#[tokio::test]
async fn admins_pin_in_groups_and_both_sides_in_direct_conversations() {
    let features = features();
    let (group, direct) = (features.group("alice", &["bob"]).await, features.direct("alice", "bob").await);
    let in_group = features.send("bob", group, "x").await.expect("a member").id;
    let in_direct = features.send("alice", direct, "x").await.expect("a member").id;
    let refused = features.messages.pin(&id("bob"), in_group, true).await.expect_err("no admin");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let refused = features.messages.pin(&id("eve"), in_group, true).await.expect_err("not hers to see");
    assert_eq!(refused.code, ErrorCode::NotFound);
    features.messages.pin(&id("alice"), in_group, true).await.expect("an admin");
    features.messages.pin(&id("alice"), in_group, true).await.expect("again is no mistake");
    assert_eq!(features.messages.store.head(&LOG, &group).expect("readable"), 2, "what changes nothing is not logged");
    let refused = features.messages.pin(&id("bob"), in_group, false).await.expect_err("no admin");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    features.messages.pin(&id("bob"), in_direct, true).await.expect("either side");
    let pinned = features.messages.pinned(&id("alice"), direct).expect("a member");
    assert_eq!((pinned[0].id, pinned[0].is_pinned, &pinned[0].pinned_by), (in_direct, true, &Some(id("bob"))));
    assert!(pinned[0].pinned_at.is_some());
    features.messages.pin(&id("alice"), in_direct, false).await.expect("either side");
    assert_eq!(features.messages.pinned(&id("alice"), direct).expect("a member").len(), 0);
    features.messages.delete(&id("bob"), in_group).await.expect("his");
    assert_eq!(features.messages.pinned(&id("bob"), group).expect("a member").len(), 0, "gone with the message");
    let refused = features.messages.pinned(&id("eve"), group).expect_err("not hers to see");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_hundred_messages_are_pinned_and_no_more_also_when_all_is_done_at_once() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let mut ids = Vec::new();
    for _ in 0..MAX_PINS + 5 {
        ids.push(features.send("alice", to, "x").await.expect("a member").id);
    }
    let alice = id("alice");
    let pinned = join_all(ids.iter().map(|message| features.messages.pin(&alice, *message, true))).await;
    let refused: Vec<_> = pinned.into_iter().filter_map(Result::err).map(|refusal| refusal.code).collect();
    assert_eq!(refused, [ErrorCode::QueueFull; 5]);
    assert_eq!(features.messages.pinned(&alice, to).expect("a member").len(), MAX_PINS);
    features.messages.pin(&alice, ids[0], false).await.expect("hers");
    features.messages.pin(&alice, ids[MAX_PINS], true).await.expect("there is room");
}

#[tokio::test(start_paused = true)]
async fn a_copy_goes_when_its_original_does() {
    let features = features();
    let (from, to) = (features.direct("alice", "bob").await, features.direct("alice", "carol").await);
    let alice = features.signed_in("alice");
    let expires_at = Some(Timestamp::now().after(Duration::from_mins(1)));
    let source = features.messages.send(&alice, Draft { expires_at, ..draft(from, "burn") }, false).await;
    let source = source.expect("a member").id;
    features.messages.forward(&alice, source, &[to], None).await.expect("a member of both");
    tokio::time::advance(Duration::from_mins(2)).await;
    features.messages.expire_messages().await.expect("both are due");
    let copy = features.messages.history(&id("carol"), to, END, 1).expect("a member").pop().expect("a tombstone");
    assert_eq!((copy.content.as_str(), copy.deleted), ("", true));
}

#[tokio::test]
async fn p11_a_text_is_not_copied_once_its_deletion_has_begun() {
    let features = features();
    let (from, to) = (features.direct("alice", "bob").await, features.direct("alice", "carol").await);
    let (alice, bob, targets) = (features.signed_in("alice"), id("bob"), [to]);
    let source = features.send("bob", from, "secret").await.expect("a member").id;
    let (early, deleted, late) = futures_util::join!(
        join_all((0..20).map(|_| features.messages.forward(&alice, source, &targets, None))),
        features.messages.delete(&bob, source),
        join_all((0..20).map(|_| features.messages.forward(&alice, source, &targets, None))),
    );
    deleted.expect("his");
    assert!(early.iter().all(Result::is_ok), "in the order in which they were asked for");
    assert!(late.iter().all(|sent| sent.as_ref().is_err_and(|refused| refused.code == ErrorCode::NotFound)));
    let copies = features.messages.history(&id("carol"), to, HistoryRange::After(0), 99).expect("a member");
    assert_eq!(copies.len(), 20, "what was forwarded before is a message of its own");
}
