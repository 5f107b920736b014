//! The rules of presence, seen from devices without a connection.

use std::time::Duration;

use tokio::time::advance;

use crate::{
    clock::Timestamp,
    features::{
        Config,
        testing::{features, features_on, id},
    },
    storage::Store,
};

const GRACE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(1);

/// Dates follow the paused clock but for what the test itself takes.
fn is_about(found: Option<Timestamp>, expected: Timestamp) -> bool {
    let found = found.expect("seen").as_millis();
    (expected.as_millis()..expected.as_millis() + 1000).contains(&found)
}

#[tokio::test(start_paused = true)]
async fn a_user_is_online_from_the_first_socket_until_the_grace_after_the_last() {
    let features = features();
    let ann = id("ann");
    assert!(!features.presence.is_online(&ann));
    let (phone, bell) = (features.device("ann"), features.device_in("ann", "/notifications"));
    assert!(features.presence.is_online(&ann));
    phone.close();
    advance(2 * GRACE).await;
    features.presence.sweep().await;
    assert!(features.presence.is_online(&ann), "a socket in any namespace counts");
    let went = Timestamp::now();
    bell.close();
    advance(GRACE.saturating_sub(MOMENT)).await;
    features.presence.sweep().await;
    assert!(features.presence.is_online(&ann));
    assert_eq!(features.presence.last_seen(&ann).expect("readable"), None);
    advance(MOMENT).await;
    features.presence.sweep().await;
    assert!(!features.presence.is_online(&ann));
    assert!(is_about(features.presence.last_seen(&ann).expect("readable"), went), "when the socket went, not later");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_within_the_grace_was_never_away_and_gets_a_new_one() {
    let features = features();
    features.device("ann").close();
    advance(GRACE / 2).await;
    let again = features.device("ann");
    advance(GRACE).await;
    features.presence.sweep().await;
    assert!(features.presence.is_online(&id("ann")));
    again.close();
    advance(GRACE / 2).await;
    features.presence.sweep().await;
    assert!(features.presence.is_online(&id("ann")), "the grace counts from the last going");
    advance(GRACE / 2).await;
    features.presence.sweep().await;
    assert!(!features.presence.is_online(&id("ann")));
}

#[tokio::test(start_paused = true)]
async fn many_go_at_once() {
    let features = features();
    let users: Vec<String> = (0..600).map(|number| format!("user-{number}")).collect();
    for user in &users {
        features.device(user).close();
        // Nothing but a pause: a task that never makes one gets no answers from its channels after a while.
        tokio::task::yield_now().await;
    }
    advance(GRACE).await;
    features.presence.sweep().await;
    assert!(users.iter().all(|user| !features.presence.is_online(&id(user))));
    assert!(users.iter().all(|user| features.presence.last_seen(&id(user)).expect("readable").is_some()));
}

#[tokio::test(start_paused = true)]
async fn after_a_start_nobody_is_online_and_a_stop_has_noted_who_was() {
    let store = Store::memory();
    let before = features_on(&store, Config::default());
    let _here = before.device("ann");
    before.device("bob").close();
    advance(GRACE / 2).await;
    let stopped = Timestamp::now();
    before.presence.stop().await;
    drop(before);

    let after = features_on(&store, Config::default());
    assert!(!after.presence.is_online(&id("ann")) && !after.presence.is_online(&id("bob")));
    assert!(is_about(after.presence.last_seen(&id("ann")).expect("readable"), stopped));
    let went = stopped.before(GRACE / 2);
    assert!(is_about(after.presence.last_seen(&id("bob")).expect("readable"), went));
}

#[tokio::test(start_paused = true)]
async fn every_few_minutes_it_is_noted_who_is_here() {
    let features = features();
    let _here = features.device("ann");
    let noted = Timestamp::now();
    features.presence.note_all(Duration::ZERO).await;
    assert!(is_about(features.presence.last_seen(&id("ann")).expect("readable"), noted), "for the case of a crash");
}

#[tokio::test(start_paused = true)]
async fn the_loop_lets_users_go_by_itself_and_ends_when_told() {
    let features = features();
    let stop = tokio_util::sync::CancellationToken::new();
    features.device("ann").close();
    let watch = async {
        advance(GRACE).await;
        while features.presence.is_online(&id("ann")) {
            advance(Duration::from_millis(50)).await;
        }
        stop.cancel();
    };
    tokio::join!(features.presence.run(stop.clone()), watch);
}
