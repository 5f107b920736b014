//! The rules of users.

use super::*;
use crate::{codes::ErrorCode, features::testing::id};

fn users(auto_provision: bool) -> Users {
    Users::new(Store::memory(), auto_provision)
}

#[tokio::test]
async fn what_is_not_given_stays_and_an_empty_text_takes_it_away() {
    let users = users(false);
    let (made, is_new) = users.put(&id("alice"), Some("Alice".to_owned()), None).await.expect("stored");
    assert_eq!((made.username.as_str(), made.avatar, is_new), ("Alice", None, true));
    let (changed, is_new) = users.put(&id("alice"), None, Some("a.png".to_owned())).await.expect("stored");
    assert_eq!((changed.username.as_str(), changed.avatar.as_deref(), is_new), ("Alice", Some("a.png"), false));
    let (cleared, _) = users.put(&id("alice"), Some(String::new()), None).await.expect("stored");
    assert_eq!((cleared.username.as_str(), cleared.avatar.as_deref()), ("alice", Some("a.png")));
}

#[tokio::test]
async fn a_name_has_a_limit() {
    let refused = users(true).put(&id("alice"), Some("x".repeat(1025)), None).await.expect_err("too long");
    assert_eq!(refused.code, ErrorCode::TooLong);
}

#[tokio::test]
async fn without_automatic_users_only_those_that_were_made_may_sign_in() {
    let users = users(false);
    let refused = users.sign_in(&id("alice"), Claimed::default()).await.expect_err("unknown");
    assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::TokenInvalid, "Unauthorized - User not found"));
    users.put(&id("alice"), None, None).await.expect("stored");
    users.sign_in(&id("alice"), Claimed::default()).await.expect("known");
}
