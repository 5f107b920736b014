//! The rules of conversations.

use futures_util::future::join_all;

use crate::{
    codes::ErrorCode,
    features::{
        conversations::Kind,
        testing::{features, id},
    },
};

#[tokio::test]
async fn a_direct_conversation_is_unique_also_when_both_create_it_at_once() {
    let features = features();
    let (alice, bob) = (id("alice"), id("bob"));
    let both = (0..20).map(|turn| {
        let (one, other) = if turn % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        features.conversations.direct(one, other)
    });
    let made = join_all(both).await;
    let ids: Vec<_> = made.iter().map(|result| result.as_ref().expect("made or found").0).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(made.iter().filter(|result| matches!(result, Ok((_, true)))).count(), 1, "made once");
    assert_eq!(features.conversations.of_user(&alice).expect("readable"), [ids[0]]);
}

#[tokio::test]
async fn nobody_talks_to_oneself() {
    let error = features().conversations.direct(&id("alice"), &id("alice")).await.expect_err("refused");
    assert_eq!(error.code, ErrorCode::InvalidPayload);
}

#[tokio::test]
async fn strangers_are_told_the_same_for_a_foreign_and_for_an_absent_conversation() {
    let features = features();
    let foreign = features.direct("alice", "bob").await;
    let foreign = features.conversations.access(&id("eve"), foreign).expect_err("not hers");
    let absent = features.conversations.access(&id("eve"), crate::ids::ConversationId::fresh()).expect_err("nobody's");
    assert_eq!(foreign, absent);
    assert_eq!(foreign.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn members_come_and_go_by_the_hand_of_admins_alone() {
    let features = features();
    let group = features.group("alice", &["bob"]).await;
    let refused = features.conversations.add_members(&id("bob"), group, &[id("carol")]).await.expect_err("no admin");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    features.conversations.add_members(&id("alice"), group, &[id("carol"), id("bob")]).await.expect("an admin");
    assert_eq!(features.conversations.view(group).expect("there").participants.len(), 3);
    features.conversations.access(&id("carol"), group).expect("a member");
    features.conversations.remove_members(&id("alice"), group, &[id("carol")]).await.expect("an admin");
    let refused = features.conversations.access(&id("carol"), group).expect_err("removed");
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn the_longest_member_becomes_admin_when_the_last_admin_leaves() {
    let features = features();
    let group = features.group("alice", &["bob"]).await;
    features.conversations.add_members(&id("alice"), group, &[id("carol")]).await.expect("an admin");
    features.conversations.leave(&id("alice"), group).await.expect("a member");
    let view = features.conversations.view(group).expect("there");
    assert_eq!(view.admins, [id("bob")]);
    assert_eq!(view.kind, Kind::Group);
}

#[tokio::test]
async fn concurrent_changes_of_a_group_are_all_kept() {
    let features = features();
    let group = features.group("alice", &[]).await;
    let (alice, names) = (id("alice"), ["b", "c", "d", "e", "f"].map(id));
    let added = join_all(
        names.iter().map(|name| features.conversations.add_members(&alice, group, std::slice::from_ref(name))),
    );
    assert!(added.await.iter().all(Result::is_ok));
    assert_eq!(features.conversations.view(group).expect("there").participants.len(), 6);
}

#[tokio::test]
async fn a_direct_conversation_cannot_be_changed() {
    let features = features();
    let direct = features.direct("alice", "bob").await;
    let refused = features.conversations.add_members(&id("alice"), direct, &[id("carol")]).await.expect_err("direct");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let refused = features.conversations.leave(&id("alice"), direct).await.expect_err("direct");
    assert_eq!(refused.code, ErrorCode::Forbidden);
}
