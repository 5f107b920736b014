//! What happens to messages that are older than they are to be kept, and what is not taken for that.

use std::{collections::BTreeMap, time::Duration};

use super::END;
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        Config, Features,
        conversations::LOG,
        messages::{
            self, Draft, HistoryRange, LoggedChange, MESSAGES, REACTIONS,
            store::{EXPIRING, PINS},
        },
        missed_messages::{MissedMessages, events::GetMissedMessages},
        notifications::{Filter, Kind, Start},
        rate_limits,
        reactions::events::Action,
        testing::{features_on, id},
    },
    ids::{ConversationId, MessageId},
    server::Refusal,
    storage::{Batch, Direction, Store},
};

const HOUR: Duration = Duration::from_hours(1);

/// Features that keep messages for an hour.
fn forgetful() -> Features {
    forgetful_on(&Store::memory())
}

fn forgetful_on(store: &Store) -> Features {
    let messages = messages::Config { retention_s: HOUR.as_secs(), ..messages::Config::default() };
    let rate_limits = rate_limits::Config { max: 0, ..rate_limits::Config::default() };
    features_on(store, Config { messages, rate_limits, ..Config::default() })
}

async fn trim(features: &Features) {
    features.messages.trim().await.expect("storable");
}

async fn send(features: &Features, from: &str, to: ConversationId, texts: &[&str]) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for text in texts {
        ids.push(features.send(from, to, text).await.expect("a member").id);
    }
    ids
}

fn history(features: &Features, user: &str, of: ConversationId, range: HistoryRange) -> Vec<String> {
    let page = features.messages.history(&id(user), of, range, 100).expect("a member");
    page.into_iter().map(|message| message.content).collect()
}

fn missed(features: &Features, user: &str, cursors: &[(ConversationId, u64)]) -> MissedMessages {
    let cursors = Some(cursors.iter().copied().collect());
    features.recovery.page(&id(user), &GetMissedMessages { cursors, ..Default::default() }).expect("allowed")
}

fn since(features: &Features, user: &str, date: Timestamp) -> MissedMessages {
    let request = GetMissedMessages { last_sync_date: Some(date), ..Default::default() };
    features.recovery.page(&id(user), &request).expect("allowed")
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_and_the_numbers_go_on() {
    let features = forgetful();
    let (to, other) = (features.direct("ann", "bob").await, features.direct("cat", "bob").await);
    let many: Vec<String> = (0..150).map(|n| format!("old {n}")).collect();
    let old = send(&features, "ann", to, &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    send(&features, "cat", other, &["gone, too"]).await;
    tokio::time::advance(HOUR / 2).await;
    trim(&features).await;
    assert_eq!(history(&features, "bob", to, END).len(), 100, "nothing is due");
    let young = send(&features, "ann", to, &["young"]).await;
    tokio::time::advance(HOUR / 2 + Duration::from_secs(1)).await;
    trim(&features).await;
    for range in [END, HistoryRange::After(0), HistoryRange::After(150)] {
        assert_eq!(history(&features, "bob", to, range), ["young"]);
    }
    assert_eq!(history(&features, "bob", other, END), Vec::<String>::new());
    let store = &features.messages.store;
    assert_eq!(store.scan_log(&LOG, &to, 0, 999).expect("readable").len(), 1, "their places are free");
    assert!(old.iter().all(|id| !store.contains(&MESSAGES, id).expect("readable")));
    assert!(store.contains(&MESSAGES, &young[0]).expect("readable"));
    let left = |of| features.messages.truncated_before(&id("bob"), of).expect("a member");
    assert_eq!((left(to), left(other)), (Some(151), Some(2)));
    // Also where nothing is left, and by somebody who has not seen it happen.
    let again = forgetful_on(store);
    assert_eq!(again.send("cat", other, "new").await.expect("a member").seq, 2);
    assert_eq!(history(&again, "bob", other, END), ["new"]);
    tokio::time::advance(2 * HOUR).await;
    trim(&again).await;
    assert_eq!(store.scan_log(&LOG, &other, 0, 9).expect("readable").len(), 1, "only the last place is kept");
    assert_eq!(again.messages.truncated_before(&id("bob"), other).expect("a member"), Some(3));
    let refused = again.messages.truncated_before(&id("eve"), other).expect_err("not hers");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn p9_who_missed_what_is_gone_is_told_that_something_is_missing() {
    let features = forgetful();
    let (to, other) = (features.direct("ann", "bob").await, features.direct("cat", "bob").await);
    let start = Timestamp::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    send(&features, "ann", to, &["1", "2"]).await;
    tokio::time::advance(2 * HOUR).await;
    let noon = Timestamp::now();
    send(&features, "ann", to, &["3", "4", "5"]).await;
    send(&features, "cat", other, &["there"]).await;
    trim(&features).await;
    let page = missed(&features, "bob", &[(to, 1), (other, 0)]);
    assert_eq!((page.count, page.complete), (4, false));
    assert_eq!(page.truncated_before, BTreeMap::from([(to, 3)]));
    let page = missed(&features, "bob", &[(to, 2), (other, 0)]);
    assert_eq!((page.count, page.complete, page.truncated_before.len()), (4, true, 0));
    let page = since(&features, "bob", start);
    assert_eq!((page.count, page.complete), (4, false));
    let page = since(&features, "bob", noon.before(Duration::from_secs(1)));
    assert_eq!((page.count, page.complete), (4, true), "all that is gone was older");
    // It is remembered over all pages.
    let mut request =
        GetMissedMessages { cursors: Some(BTreeMap::from([(to, 0)])), limit: Some(2), ..Default::default() };
    let page = features.recovery.page(&id("bob"), &request).expect("allowed");
    assert!(page.has_more && !page.complete);
    request.cursor = page.next_cursor;
    let page = features.recovery.page(&id("bob"), &request).expect("allowed");
    assert_eq!((page.has_more, page.complete, page.truncated_before), (false, false, BTreeMap::from([(to, 3)])));
    // Everything is gone: the cursor of the end is good still, and one beyond it is none.
    tokio::time::advance(2 * HOUR).await;
    trim(&features).await;
    let page = missed(&features, "bob", &[(to, 5), (other, 1)]);
    assert_eq!((page.count, page.complete), (0, true));
    let page = missed(&features, "bob", &[(to, 4), (other, 1)]);
    assert_eq!((page.count, page.complete), (0, false));
    let cursors = Some(BTreeMap::from([(to, 6)]));
    let request = GetMissedMessages { cursors, ..Default::default() };
    assert_eq!(features.recovery.page(&id("bob"), &request).expect_err("beyond").code, ErrorCode::InvalidPayload);
}

#[tokio::test(start_paused = true)]
async fn p10_a_queue_of_which_something_is_gone_counts_what_is_there() {
    let features = forgetful();
    let to = features.direct("ann", "bob").await;
    send(&features, "ann", to, &["1", "2", "3"]).await;
    tokio::time::advance(2 * HOUR).await;
    send(&features, "ann", to, &["4"]).await;
    trim(&features).await;
    let size = |features: &Features| features.queue.size(&id("bob")).expect("readable").size;
    assert_eq!(size(&features), 1);
    assert_eq!(features.queue.purge(&id("bob"), None, true).await.expect("readable"), 1);
    tokio::time::advance(2 * HOUR).await;
    trim(&features).await;
    assert_eq!(size(&features), 0);
    assert_eq!(features.queue.purge(&id("bob"), None, true).await.expect("readable"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_on_a_message_goes_with_it() {
    let features = forgetful();
    let (to, ann) = (features.group("ann", &["bob"]).await, features.signed_in("ann"));
    let expires_at = Some(Timestamp::now().after(10 * HOUR));
    let draft = Draft {
        conversation_id: Some(to),
        content: "old".to_owned(),
        mentions: vec![id("bob")],
        expires_at,
        ..Draft::default()
    };
    let old = features.messages.send(&ann, draft, false).await.expect("a member").id;
    features.reactions.react(&features.signed_in("bob"), old, "👍", Action::Add).await.expect("a member");
    features.messages.pin(&id("ann"), old, true).await.expect("an admin");
    while features.notifications.do_jobs().await.expect("storable") > 0 {}
    let count = async |user: &str, kind| {
        let filter = Filter { kind: Some(kind), ..Filter::default() };
        let page = features.notifications.list(&id(user), filter, Start::Skip(0), 9).await;
        page.expect("readable").notifications.len()
    };
    let counts = async || {
        [count("bob", Kind::Mention).await, count("bob", Kind::Message).await, count("ann", Kind::Reaction).await]
    };
    assert_eq!(counts().await, [1, 1, 1]);
    tokio::time::advance(2 * HOUR).await;
    trim(&features).await;
    assert_eq!(counts().await, [0, 0, 0]);
    let unread = features.notifications.unread_count(&id("bob")).await.expect("readable");
    assert_eq!(unread, count("bob", Kind::GroupInvite).await, "they are not counted any more");
    let store = &features.messages.store;
    assert_eq!(store.scan_prefix(&REACTIONS, &old, 9, Direction::Forward).expect("readable").len(), 0);
    assert_eq!(store.scan(&PINS, .., 9, Direction::Forward).expect("readable").len(), 0);
    assert_eq!(store.scan(&EXPIRING, .., 9, Direction::Forward).expect("readable").len(), 0);
    assert_eq!(features.messages.pinned(&id("bob"), to).expect("a member").len(), 0);
    let refused = features.messages.edit(&id("ann"), old, "new", None, None).await.expect_err("gone");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_late_change_of_a_message_that_is_gone_is_passed_over_and_told_as_missing() {
    let features = forgetful();
    let to = features.direct("ann", "bob").await;
    let old = send(&features, "ann", to, &["old"]).await[0];
    tokio::time::advance(HOUR / 2).await;
    features.messages.edit(&id("ann"), old, "edited", None, None).await.expect("hers");
    tokio::time::advance(HOUR / 2 + Duration::from_secs(1)).await;
    trim(&features).await;
    let page = missed(&features, "bob", &[(to, 1)]);
    assert_eq!((page.count, page.changes.len(), page.complete), (0, 0, false));
    assert_eq!(page.cursors[&to], 2);
    let told = replay(&features, to).expect("no damage");
    assert_eq!(told, [false]);
}

/// Which of the changes that the log has can be told.
fn replay(features: &Features, of: ConversationId) -> Result<Vec<bool>, Refusal> {
    let entries = features.messages.store.scan_log(&LOG, &of, 0, 99).expect("readable");
    let changes: Vec<_> =
        entries.into_iter().map(|(seq, entry)| LoggedChange { conversation: of, seq, entry }).collect();
    Ok(features.messages.replay(&changes)?.iter().map(Option::is_some).collect())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_missing_for_no_reason_is_damage_wherever_it_is_found() {
    let features = forgetful();
    let to = features.direct("ann", "bob").await;
    send(&features, "ann", to, &["old"]).await;
    tokio::time::advance(2 * HOUR).await;
    trim(&features).await;
    let lost = send(&features, "ann", to, &["kept", "lost"]).await[1];
    assert_eq!(
        replay(&features, to).expect("all is well"),
        [false, true, true],
        "the last place before is passed over"
    );
    let mut batch = Batch::new();
    batch.delete(&MESSAGES, &lost);
    features.messages.store.commit(batch).await.expect("stored");
    let counted = || features.messages.metrics.messages_missing().get();
    assert_eq!(counted(), 0);
    assert_eq!(replay(&features, to).expect_err("damage").code, ErrorCode::Internal);
    let request = GetMissedMessages { cursors: Some(BTreeMap::from([(to, 1)])), ..Default::default() };
    assert_eq!(features.recovery.page(&id("bob"), &request).expect_err("damage").code, ErrorCode::Internal);
    assert_eq!(features.messages.history(&id("bob"), to, END, 9).expect_err("damage").code, ErrorCode::Internal);
    assert_eq!(counted(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_a_retention_nothing_goes() {
    let features = crate::features::testing::features();
    let to = features.direct("ann", "bob").await;
    send(&features, "ann", to, &["old"]).await;
    tokio::time::advance(10_000 * HOUR).await;
    trim(&features).await;
    assert_eq!(history(&features, "bob", to, END), ["old"]);
    assert_eq!(features.messages.truncated_before(&id("bob"), to).expect("a member"), None);
}
