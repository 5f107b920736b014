//! Notifications that are about a message.

use super::{ALL, all, work};
use crate::{
    features::{
        Features, messages,
        notifications::{
            Kind, NotificationView, Status,
            store::{ABOUT, JOBS, NOTIFICATIONS},
        },
        receipts::UpTo,
        testing::{features, id},
    },
    ids::{ConversationId, MessageId},
    storage::Direction,
};

async fn mention(features: &Features, to: ConversationId, text: &str) -> MessageId {
    let mentions = vec![id("bob")];
    let draft = messages::Draft { conversation_id: Some(to), content: text.to_owned(), mentions, ..Default::default() };
    features.messages.send(&features.signed_in("ann"), draft, false).await.expect("a member").id
}

async fn of_kind(features: &Features, user: &str, kind: Kind) -> Vec<NotificationView> {
    all(features, user).await.into_iter().filter(|one| one.kind == kind).collect()
}

async fn texts(features: &Features, kind: Kind) -> Vec<String> {
    of_kind(features, "bob", kind).await.into_iter().map(|one| one.message).collect()
}

#[tokio::test]
async fn p11_a_notification_shows_the_message_as_it_is_and_nothing_of_one_that_was_deleted() {
    let features = features();
    let to = features.group("ann", &["bob"]).await;
    let message = mention(&features, to, &"é".repeat(150)).await;
    work(&features).await;
    assert_eq!(texts(&features, Kind::Mention).await, ["é".repeat(100)]);
    assert_eq!(texts(&features, Kind::Message).await, ["é".repeat(100)], "he was away as well");
    features.messages.edit(&id("ann"), message, "other words", None, None).await.expect("hers");
    assert_eq!(texts(&features, Kind::Mention).await, ["other words"]);
    features.messages.delete(&id("ann"), message).await.expect("hers");
    assert_eq!(texts(&features, Kind::Mention).await, [""]);
    assert_eq!(texts(&features, Kind::Message).await, [""]);
}

#[tokio::test]
async fn p11_no_text_of_a_message_is_stored_with_its_notifications() {
    let features = features();
    let to = features.group("ann", &["bob"]).await;
    let mut bob = features.device_in("bob", "/notifications");
    let message = mention(&features, to, "secret").await;
    let store = &features.notifications.store;
    let jobs = store.scan(&JOBS, .., ALL, Direction::Forward).expect("readable");
    assert!(!jobs.is_empty() && jobs.iter().all(|(_, job)| !format!("{job:?}").contains("secret")));
    features.messages.delete(&id("ann"), message).await.expect("before anybody was told");
    work(&features).await;
    let heard = bob.heard();
    let told: Vec<_> =
        heard.iter().filter(|(name, one)| name == "notification:new" && one["type"] == "mention").collect();
    assert_eq!((told.len(), told[0].1["message"].as_str()), (1, Some("")));
    let rows = store.scan(&NOTIFICATIONS, .., ALL, Direction::Forward).expect("readable");
    assert!(rows.iter().all(|(_, row)| !format!("{row:?}").contains("secret")));
}

#[tokio::test]
async fn who_has_left_sees_nothing_of_what_is_written_there_later() {
    let features = features();
    let to = features.group("ann", &["bob"]).await;
    let message = mention(&features, to, "look").await;
    work(&features).await;
    features.conversations.leave(&id("bob"), to).await.expect("a member");
    features.messages.edit(&id("ann"), message, "not for him", None, None).await.expect("hers");
    assert_eq!(texts(&features, Kind::Mention).await, [""]);
}

#[tokio::test]
async fn reading_a_conversation_reads_what_told_of_its_messages_on_all_devices() {
    let features = features();
    let (to, other) = (features.direct("ann", "bob").await, features.direct("cat", "bob").await);
    features.send("ann", to, "first").await.expect("a member");
    features.send("ann", to, "second").await.expect("a member");
    features.send("cat", other, "elsewhere").await.expect("a member");
    let states = async || {
        let found = of_kind(&features, "bob", Kind::Message).await;
        let mut states: Vec<_> = found.into_iter().map(|one| (one.message, one.status)).collect();
        states.sort_by(|one, other| one.0.cmp(&other.0));
        states
    };
    let (elsewhere, second) = ("elsewhere".to_owned(), "second".to_owned());
    assert_eq!(states().await, [(elsewhere.clone(), Status::Unread), (second.clone(), Status::Unread)]);
    let mut devices = [features.device_in("bob", "/notifications"), features.device_in("bob", "/")];
    features.receipts.read(&id("bob"), &UpTo::Seq(to, 1)).await.expect("a member");
    assert_eq!(states().await[1].1, Status::Unread, "the one it is about was not read");
    features.receipts.read_all(&id("bob"), to).await.expect("a member");
    assert_eq!(states().await, [(elsewhere, Status::Unread), (second, Status::Read)]);
    for device in &mut devices {
        let heard = device.heard();
        let of = |wanted: &str| heard.iter().filter(|(name, _)| name == wanted).count();
        assert_eq!((of("notification:read"), of("notification:read-confirmed")), (1, 1));
        let count = heard.iter().rfind(|(name, _)| name == "notifications:count").expect("told");
        assert_eq!(count.1["unread"], 1);
    }
    features.receipts.read_all(&id("bob"), to).await.expect("again changes nothing");
    assert!(devices[0].names().iter().all(|name| name != "notification:read"));
}

#[tokio::test]
async fn a_notification_that_goes_leaves_no_trace_beside_its_message() {
    let features = features();
    let to = features.group("ann", &["bob"]).await;
    let message = mention(&features, to, "look").await;
    work(&features).await;
    let rows = || {
        let rows = features.notifications.store.scan_prefix(&ABOUT, &message, ALL, Direction::Forward);
        rows.expect("readable").len()
    };
    assert_eq!(of_kind(&features, "bob", Kind::Message).await.len() + 1, rows());
    mention(&features, to, "again").await;
    assert_eq!(of_kind(&features, "bob", Kind::Message).await.len(), 1);
    assert_eq!(rows(), 1, "the one that was replaced is about another message now");
    features.notifications.clear(&id("bob"), false).await.expect("his");
    assert_eq!(rows(), 0);
}
