//! The rules of recovery.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::events::{GetMissedMessages, MissedMessages};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        Features,
        messages::{ChangeEvent, Deleted, Updated},
        reactions::events::Action,
        testing::{features, id},
    },
    ids::ConversationId,
};

/// Follows the pages to the end.
fn all_pages(features: &Features, user: &str, mut request: GetMissedMessages) -> Vec<MissedMessages> {
    let mut pages = Vec::new();
    loop {
        let page = features.recovery.page(&id(user), &request).expect("allowed");
        request.cursor.clone_from(&page.next_cursor);
        let is_last = !page.has_more;
        assert_eq!(page.complete, is_last, "complete means that nothing is missing up to now");
        pages.push(page);
        if is_last {
            return pages;
        }
    }
}

fn texts(pages: &[MissedMessages]) -> Vec<String> {
    pages.iter().flat_map(|page| &page.messages).map(|message| message.content.clone()).collect()
}

fn cursors_of(of: impl IntoIterator<Item = (ConversationId, u64)>) -> BTreeMap<ConversationId, u64> {
    of.into_iter().collect()
}

#[tokio::test]
async fn by_cursor_everything_after_it_comes_once_in_order_over_pages() {
    let features = features();
    let (direct, group) = (features.direct("alice", "bob").await, features.group("carol", &["bob"]).await);
    for turn in 0..7 {
        features.send("alice", direct, &format!("d{turn}")).await.expect("a member");
        features.send("carol", group, &format!("g{turn}")).await.expect("a member");
    }
    let request = GetMissedMessages { cursors: Some(cursors_of([(direct, 3)])), limit: Some(2), ..Default::default() };
    let pages = all_pages(&features, "bob", request);
    let texts = texts(&pages);
    let of = |letter: char| texts.iter().filter(|text| text.starts_with(letter)).cloned().collect::<Vec<_>>();
    assert_eq!(of('d'), ["d3", "d4", "d5", "d6"]);
    assert_eq!(of('g'), ["g0", "g1", "g2", "g3", "g4", "g5", "g6"], "an unknown conversation comes from its start");
    let last = pages.last().expect("at least one");
    assert_eq!(last.cursors, BTreeMap::from([(direct, 7), (group, 7)]));
}

#[tokio::test]
async fn edits_and_deletions_of_what_the_client_has_come_as_changes() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let edited = features.send("alice", to, "old").await.expect("a member").id;
    let deleted = features.send("alice", to, "wrong").await.expect("a member").id;
    features.messages.edit(&id("alice"), edited, "new", None, None).await.expect("hers");
    features.messages.delete(&id("alice"), deleted).await.expect("hers");
    let request = GetMissedMessages { cursors: Some(cursors_of([(to, 2)])), ..Default::default() };
    let page = features.recovery.page(&id("bob"), &request).expect("allowed");
    assert_eq!(page.count, 0);
    match page.changes.as_slice() {
        [
            ChangeEvent::Updated(Updated { message, change_seq: 3, .. }),
            ChangeEvent::Deleted(Deleted { message_id, change_seq: 4, .. }),
        ] => {
            assert_eq!((message.content.as_str(), *message_id), ("new", deleted));
        }
        other => panic!("an edit and a deletion were expected, not {other:?}"),
    }
    let request = GetMissedMessages { cursors: Some(cursors_of([])), ..Default::default() };
    let page = features.recovery.page(&id("bob"), &request).expect("allowed");
    assert_eq!((page.count, page.changes.len()), (2, 0), "what is on the page is in its present state");
}

#[tokio::test(start_paused = true)]
async fn by_date_only_messages_of_others_after_it_come() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    features.send("alice", to, "before").await.expect("a member");
    tokio::time::advance(Duration::from_secs(5)).await;
    let date = Timestamp::now();
    tokio::time::advance(Duration::from_secs(5)).await;
    for (from, text) in [("alice", "one"), ("bob", "mine"), ("alice", "two")] {
        features.send(from, to, text).await.expect("a member");
    }
    let request = GetMissedMessages { last_sync_date: Some(date), limit: Some(1), ..Default::default() };
    assert_eq!(texts(&all_pages(&features, "bob", request)), ["one", "two"]);
}

#[tokio::test]
async fn a_cursor_beyond_the_end_is_an_error_and_not_an_empty_answer() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    features.send("alice", to, "x").await.expect("a member");
    let request = GetMissedMessages { cursors: Some(cursors_of([(to, 2)])), ..Default::default() };
    let refused = features.recovery.page(&id("bob"), &request).expect_err("never given out");
    assert_eq!(refused.code, ErrorCode::InvalidPayload);
    assert!(refused.message.contains(&format!("cursors.{to}")));
}

#[tokio::test]
async fn a_foreign_conversation_is_not_found_and_not_listed() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    features.send("alice", to, "x").await.expect("a member");
    let request = GetMissedMessages { conversation_id: Some(to), ..Default::default() };
    assert_eq!(features.recovery.page(&id("eve"), &request).expect_err("not hers").code, ErrorCode::NotFound);
    assert_eq!(features.recovery.page(&id("eve"), &GetMissedMessages::default()).expect("her own").count, 0);
}

#[tokio::test]
async fn p9_conversations_of_the_cursors_that_are_not_the_users_are_named_and_keep_nothing_back() {
    let features = features();
    let (group, other) = (features.group("alice", &["bob"]).await, features.direct("alice", "bob").await);
    features.send("alice", group, "x").await.expect("a member");
    features.send("alice", other, "y").await.expect("a member");
    let absent = ConversationId::fresh();
    let cursors = Some(cursors_of([(group, 0), (other, 0), (absent, 7)]));
    let request = GetMissedMessages { cursors, ..Default::default() };
    let page = features.recovery.page(&id("bob"), &request).expect("a member");
    assert_eq!((page.count, page.complete, page.gone), (2, true, vec![absent]));
    features.conversations.remove_members(&id("alice"), group, &[id("bob")]).await.expect("an admin");
    let page = features.recovery.page(&id("bob"), &request).expect("a member of the other one");
    assert_eq!((page.count, page.complete), (1, true));
    assert_eq!(page.gone.into_iter().collect::<HashSet<_>>(), HashSet::from([group, absent]));
    assert_eq!(page.cursors.keys().collect::<Vec<_>>(), [&other]);
}

#[tokio::test]
async fn reactions_and_pins_of_what_the_client_has_come_as_changes_by_cursor_alone() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let message = features.send("alice", to, "x").await.expect("a member").id;
    let bob = features.signed_in("bob");
    features.reactions.react(&bob, message, "👍", Action::Add).await.expect("a member");
    features.reactions.react(&bob, message, "👍", Action::Remove).await.expect("a member");
    features.messages.pin(&id("bob"), message, true).await.expect("either side");
    features.messages.pin(&id("alice"), message, false).await.expect("either side");
    let request = GetMissedMessages { cursors: Some(cursors_of([(to, 1)])), ..Default::default() };
    let page = features.recovery.page(&id("alice"), &request).expect("allowed");
    let changes = serde_json::to_value(&page.changes).expect("JSON");
    let of = |key: &str| changes.as_array().into_iter().flatten().map(|one| one[key].clone()).collect::<Vec<_>>();
    let names = ["reaction:updated", "reaction:updated", "message:pinned", "message:unpinned"];
    assert_eq!((of("event"), of("changeSeq")), (names.map(Into::into).into(), [2, 3, 4, 5].map(Into::into).into()));
    assert_eq!(of("action")[..2], ["added", "removed"]);
    assert_eq!((&changes[0]["reactions"], &changes[0]["userId"]), (&serde_json::json!([]), &"bob".into()));
    let request = GetMissedMessages { last_sync_date: Some(Timestamp::from_millis(0)), ..Default::default() };
    let page = features.recovery.page(&id("bob"), &request).expect("allowed");
    assert_eq!((page.count, page.changes.len()), (1, 0));
}
