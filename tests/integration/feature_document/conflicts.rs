//! "Conflict Management".

use serde_json::json;

use super::{Walk, send};

/// "How It Works", steps 1 to 7.
#[tokio::test]
async fn a_locks_b_is_refused_a_unlocks_and_b_may() {
    let walk = Walk::start().await;
    let mut ann = walk.join("/messages", "user-a").await;
    let mut ben = walk.join("/messages", "user-b").await;
    let group = ann.group(&["user-b"]).await;
    let message = send(&ann, &group, "draft").await;
    let of_message = json!({"messageId": message});

    ann.emit("message:lock", &of_message);
    for client in [&mut ann, &mut ben] {
        let locked = client.event("message:locked").await;
        assert_eq!((&locked["messageId"], &locked["lockedBy"]), (&json!(message), &json!("user-a")));
    }
    ben.emit("message:lock", &of_message);
    let failed = ben.event("lock-failed").await;
    assert_eq!((&failed["messageId"], &failed["lockedBy"]), (&json!(message), &json!("user-a")));
    assert!(failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{failed}");
    ben.refused("forbidden", "message:unlock", of_message.clone()).await;

    ann.ok("message:edit", json!({"messageId": message, "content": "edited"})).await;
    ann.emit("message:unlock", &of_message);
    assert_eq!(ben.event("message:unlocked").await["messageId"], message);
    ben.ok("message:lock", of_message).await;
    ann.refused("locked", "message:edit", json!({"messageId": message, "content": "again"})).await;
}

/// "Auto-release", and "Conflict Locks Not Releasing" of "Troubleshooting": after `LOCK_TIMEOUT`, or sooner when the holder
/// has gone.
#[tokio::test]
async fn a_lock_ends_by_itself_after_lock_timeout_or_with_its_holder() {
    let walk = Walk::start_with(&[("LOCK_TIMEOUT", "1000"), ("HOBNOB_LOCKS__GRACE_MS", "100")]).await;
    let ann = walk.join("/messages", "ann").await;
    let mut ben = walk.join("/messages", "ben").await;
    let group = ann.group(&["ben"]).await;
    let message = send(&ann, &group, "draft").await;
    ann.ok("message:lock", json!({"messageId": message})).await;
    assert_eq!(ben.event("message:unlocked").await["reason"], "expired");
    ben.ok("message:lock", json!({"messageId": message})).await;
    ben.ok("message:unlock", json!({"messageId": message})).await;
    assert_eq!(ben.event("message:unlocked").await["reason"], "unlock");

    ann.ok("message:lock", json!({"messageId": message})).await;
    drop(ann);
    assert_eq!(ben.event("message:unlocked").await["reason"], "disconnect");
}
