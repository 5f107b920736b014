//! The rules of reactions.

use super::Action;
use crate::{
    codes::ErrorCode,
    features::{
        Features,
        messages::ReactionView,
        testing::{features, id},
    },
    ids::MessageId,
    server::Refusal,
};

async fn message(features: &Features) -> MessageId {
    let group = features.group("ann", &["bob", "cat"]).await;
    features.send("ann", group, "hello").await.expect("stored").id
}

async fn react(
    features: &Features,
    user: &str,
    message: MessageId,
    emoji: &str,
    action: Action,
) -> Result<Vec<ReactionView>, Refusal> {
    features.reactions.react(&features.signed_in(user), message, emoji, action).await
}

fn shown(reactions: &[ReactionView]) -> Vec<(&str, usize)> {
    reactions.iter().map(|reaction| (reaction.emoji.as_str(), reaction.count)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_user_reacts_with_each_emoji_once() {
    let features = features();
    let message = message(&features).await;
    react(&features, "ann", message, "👍", Action::Add).await.expect("a member");
    react(&features, "bob", message, "👍", Action::Toggle).await.expect("a member");
    react(&features, "bob", message, "👍", Action::Add).await.expect("already so");
    let all = react(&features, "bob", message, "🎉", Action::Toggle).await.expect("a member");
    assert_eq!(shown(&all), [("👍", 2), ("🎉", 1)]);
    let all = react(&features, "ann", message, "👍", Action::Toggle).await.expect("a member");
    assert_eq!(shown(&all), [("👍", 1), ("🎉", 1)]);
    let all = react(&features, "bob", message, "👍", Action::Remove).await.expect("a member");
    assert_eq!(shown(&all), [("🎉", 1)]);
    assert_eq!(shown(&features.messages.load(&[message]).expect("readable")[0].reactions), [("🎉", 1)]);
}

#[tokio::test(start_paused = true)]
async fn many_at_once_all_count() {
    let features = features();
    let message = message(&features).await;
    let wishes = ["ann", "bob", "cat"].map(|user| react(&features, user, message, "👍", Action::Add));
    for result in futures_util::future::join_all(wishes).await {
        result.expect("a member");
    }
    assert_eq!(shown(&features.reactions.of(&id("ann"), message).expect("a member")), [("👍", 3)]);
}

#[tokio::test(start_paused = true)]
async fn bad_emoji_and_too_many_are_refused() {
    let features = features();
    let message = message(&features).await;
    for (emoji, code) in [
        ("", ErrorCode::InvalidPayload),
        (" ", ErrorCode::InvalidPayload),
        ("a\nb", ErrorCode::InvalidPayload),
        ("0123456789012345678901234567890123", ErrorCode::TooLong),
    ] {
        assert_eq!(react(&features, "ann", message, emoji, Action::Add).await.expect_err(emoji).code, code);
    }
    for n in 0..20 {
        react(&features, "ann", message, &format!("e{n}"), Action::Add).await.expect("within the limit");
    }
    let refused = react(&features, "ann", message, "e20", Action::Add).await.expect_err("too many");
    assert_eq!(refused.code, ErrorCode::QueueFull);
}

#[tokio::test(start_paused = true)]
async fn strangers_and_deleted_messages_are_out_of_reach() {
    let features = features();
    let message = message(&features).await;
    let refused = react(&features, "eve", message, "👍", Action::Add).await.expect_err("a stranger");
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert_eq!(features.reactions.of(&id("eve"), message).expect_err("a stranger").code, ErrorCode::NotFound);
    features.messages.delete(&id("ann"), message).await.expect("hers");
    let refused = react(&features, "ann", message, "👍", Action::Add).await.expect_err("deleted");
    assert_eq!(refused.code, ErrorCode::NotFound);
}
