//! The rules of reactions.

use futures_util::future::join_all;

use super::{MAX_EMOJI, events::Action, tally::MAX_NAMED};
use crate::{
    codes::ErrorCode,
    features::{
        Features,
        messages::{ChangeEvent, HistoryRange, REACTIONS, ReactionView},
        missed_messages::events::GetMissedMessages,
        testing::{features, id},
    },
    ids::{ConversationId, MessageId},
    server::Refusal,
    storage::Direction,
};

async fn react(
    features: &Features,
    user: &str,
    message: MessageId,
    emoji: &str,
    action: Action,
) -> Result<(Vec<ReactionView>, bool), Refusal> {
    features.reactions.react(&features.signed_in(user), message, emoji, action).await
}

async fn add(features: &Features, user: &str, message: MessageId, emoji: &str) -> Vec<ReactionView> {
    react(features, user, message, emoji, Action::Add).await.expect("a member").0
}

/// Emoji, count and how many users are named.
fn counts(reactions: &[ReactionView]) -> Vec<(&str, u32, usize)> {
    reactions.iter().map(|one| (one.emoji.as_str(), one.count, one.user_ids.len())).collect()
}

fn shown(features: &Features, user: &str, conversation: ConversationId) -> Vec<ReactionView> {
    let history = features.messages.history(&id(user), conversation, HistoryRange::After(0), 1).expect("a member");
    history[0].reactions.clone()
}

#[tokio::test]
async fn a_user_has_each_emoji_once_and_takes_it_back() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let message = features.send("alice", to, "hi").await.expect("a member").id;
    assert_eq!(counts(&add(&features, "bob", message, "👍").await), [("👍", 1, 1)]);
    assert_eq!(counts(&add(&features, "bob", message, "👍").await), [("👍", 1, 1)], "once");
    assert_eq!(features.conversations.head(to).expect("readable"), 2, "what changes nothing is not logged");
    add(&features, "bob", message, "🎉").await;
    let (all, has) = react(&features, "alice", message, "👍", Action::Toggle).await.expect("a member");
    assert_eq!((counts(&all), has), (vec![("👍", 2, 2), ("🎉", 1, 1)], true));
    let (all, has) = react(&features, "bob", message, "👍", Action::Toggle).await.expect("a member");
    assert_eq!((counts(&all), has), (vec![("👍", 1, 1), ("🎉", 1, 1)], false));
    react(&features, "bob", message, "🎉", Action::Remove).await.expect("a member");
    react(&features, "bob", message, "🎉", Action::Remove).await.expect("again is no mistake");
    assert_eq!(
        shown(&features, "bob", to),
        [ReactionView { emoji: "👍".to_owned(), count: 1, user_ids: vec![id("alice")] }]
    );
}

#[tokio::test]
async fn strangers_deleted_messages_and_what_is_no_emoji_are_refused() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let message = features.send("alice", to, "hi").await.expect("a member").id;
    let refused = react(&features, "eve", message, "👍", Action::Add).await.expect_err("not hers to see");
    assert_eq!(refused, react(&features, "eve", MessageId::fresh(), "👍", Action::Add).await.expect_err("nobody's"));
    for bad in ["", " ", "a\nb", "\u{7}"] {
        let refused = react(&features, "bob", message, bad, Action::Add).await.expect_err("no emoji");
        assert_eq!(refused.code, ErrorCode::InvalidPayload, "{bad:?}");
    }
    let refused = react(&features, "bob", message, &"x".repeat(33), Action::Add).await.expect_err("too long");
    assert_eq!(refused.code, ErrorCode::TooLong);
    features.messages.delete(&id("alice"), message).await.expect("hers");
    let refused = react(&features, "bob", message, "👍", Action::Add).await.expect_err("gone");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn twenty_emoji_fit_on_a_message_and_those_can_be_joined() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let message = features.send("alice", to, "hi").await.expect("a member").id;
    for index in 0..MAX_EMOJI {
        add(&features, "bob", message, &format!("e{index}")).await;
    }
    let refused = react(&features, "alice", message, "one more", Action::Add).await.expect_err("too many");
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (ErrorCode::QueueFull, "at most 20 different emoji on a message")
    );
    add(&features, "alice", message, "e0").await;
    react(&features, "bob", message, "e1", Action::Remove).await.expect("his");
    add(&features, "alice", message, "one more").await;
}

#[tokio::test]
async fn a_crowd_that_reacts_at_once_is_counted_exactly_and_named_up_to_the_limit() {
    let features = features();
    let names: Vec<String> = (0..120).map(|index| format!("user{index:03}")).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let to = features.group("alice", &members).await;
    let message = features.send("alice", to, "hi").await.expect("a member").id;
    join_all(members.iter().map(|name| add(&features, name, message, "👍"))).await;
    assert_eq!(counts(&shown(&features, "alice", to)), [("👍", 120, MAX_NAMED)]);
    // One who is named goes: another one is named in his place.
    let gone = shown(&features, "alice", to)[0].user_ids[0].clone();
    let (all, _) = react(&features, gone.as_str(), message, "👍", Action::Remove).await.expect("his");
    assert_eq!(counts(&all), [("👍", 119, MAX_NAMED)]);
    assert!(!all[0].user_ids.contains(&gone));
    join_all(members.iter().map(|name| react(&features, name, message, "👍", Action::Remove))).await;
    assert_eq!(shown(&features, "alice", to), []);
}

#[tokio::test]
async fn the_list_of_all_has_pages_and_is_for_members_alone() {
    let features = features();
    let to = features.group("alice", &["bob", "carol"]).await;
    let message = features.send("alice", to, "hi").await.expect("a member").id;
    for (user, emoji) in [("alice", "a"), ("bob", "a"), ("carol", "a"), ("bob", "b")] {
        add(&features, user, message, emoji).await;
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = features.reactions.list(&id("bob"), message, None, after.as_ref(), 3).expect("a member");
        found.extend(page.rows.into_iter().map(|((_, emoji, user), _)| format!("{emoji} {user}")));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["a alice", "a bob", "a carol", "b bob"]);
    let page = features.reactions.list(&id("bob"), message, Some("b"), None, 3).expect("a member");
    assert_eq!((page.rows.len(), counts(&page.counts)), (1, vec![("a", 3, 3), ("b", 1, 1)]));
    let refused = features.reactions.list(&id("eve"), message, None, None, 3).err().expect("not hers");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn p11_with_a_deleted_message_its_reactions_go_and_what_the_log_says_of_them_becomes_the_tombstone() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let message = features.send("alice", to, "secret").await.expect("a member").id;
    add(&features, "bob", message, "👍").await;
    features.messages.delete(&id("alice"), message).await.expect("hers");
    let rows = features.reactions.store.scan_prefix(&REACTIONS, &message, 10, Direction::Forward).expect("readable");
    assert_eq!((rows.len(), shown(&features, "bob", to)), (0, vec![]));
    let cursors = [(to, 1)].into_iter().collect();
    let request = GetMissedMessages { cursors: Some(cursors), ..GetMissedMessages::default() };
    let page = features.recovery.page(&id("bob"), &request).expect("allowed");
    assert_eq!(page.changes.iter().map(ChangeEvent::name).collect::<Vec<_>>(), ["message:deleted"; 2]);
}

#[tokio::test]
async fn a_reaction_does_not_count_as_an_edit() {
    let features = features();
    let to = features.direct("alice", "bob").await;
    let message = features.send("alice", to, "hi").await.expect("a member").id;
    add(&features, "bob", message, "👍").await;
    let edited = features.messages.edit(&id("alice"), message, "ho", Some(1), None).await.expect("the first edit");
    assert_eq!((edited.rev, counts(&edited.reactions)), (2, vec![("👍", 1, 1)]));
}

#[tokio::test]
async fn p11_a_message_that_is_deleted_among_reactions_keeps_none_of_them() {
    let features = features();
    let names: Vec<String> = (0..40).map(|index| format!("user{index:02}")).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let to = features.group("alice", &members).await;
    let message = features.send("alice", to, "hi").await.expect("a member").id;
    let (early, late) = members.split_at(20);
    let alice = id("alice");
    let (early, deleted, late) = futures_util::join!(
        join_all(early.iter().map(|name| react(&features, name, message, "👍", Action::Add))),
        features.messages.delete(&alice, message),
        join_all(late.iter().map(|name| react(&features, name, message, "👍", Action::Add))),
    );
    deleted.expect("hers");
    assert!(early.iter().all(Result::is_ok), "in the order in which they were asked for");
    assert!(late.iter().all(|result| result.as_ref().is_err_and(|refused| refused.code == ErrorCode::NotFound)));
    let rows = features.reactions.store.scan_prefix(&REACTIONS, &message, 99, Direction::Forward).expect("readable");
    assert_eq!((rows.len(), shown(&features, "alice", to)), (0, vec![]));
}
