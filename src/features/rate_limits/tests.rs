//! The rules of the rate limits.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde_json::json;
use tokio::time::advance;

use super::{
    Config, Limit, RateLimits,
    policy::{Counted, LIGHT, Names, Policy},
    socket::{Offence, Reaction},
};
use crate::{
    clock,
    codes::ErrorCode,
    features::{
        self, Features,
        testing::{features_with, id},
    },
    server::Refusal,
    telemetry::Metrics,
};

const fn limit(max: u32, window_ms: u64) -> Limit {
    Limit { max, window_ms }
}

fn limits(config: Config) -> RateLimits {
    RateLimits::new(config, Metrics::default())
}

fn with(config: Config) -> Features {
    features_with(features::Config { rate_limits: config, ..features::Config::default() })
}

fn table(name: &str, limit: Limit) -> BTreeMap<String, Limit> {
    BTreeMap::from([(name.to_owned(), limit)])
}

/// How many of `times` events pass.
fn passed(limits: &RateLimits, user: &str, name: &str, times: usize) -> usize {
    (0..times).filter(|_| limits.event(&id(user), &[], name).is_ok()).count()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn missing_token() -> Refusal {
    Refusal::new(ErrorCode::TokenMissing, "Unauthorized - No token")
}

#[tokio::test(start_paused = true)]
async fn thirty_events_pass_in_ten_seconds_and_then_three_in_each() {
    let limits = limits(Config::default());
    assert_eq!(passed(&limits, "ann", "message:send", 99), 30);
    advance(Duration::from_secs(1)).await;
    assert_eq!(passed(&limits, "ann", "message:edit", 99), 3);
    advance(Duration::from_mins(1)).await;
    assert_eq!(passed(&limits, "ann", "message:send", 99), 30);
    assert_eq!(passed(&limits, "bob", "message:send", 99), 30, "a neighbour is not concerned");
}

#[tokio::test(start_paused = true)]
async fn sockets_and_namespaces_of_a_user_share_one_bucket() {
    let features = with(Config { max: 4, ..Config::default() });
    let (mut phone, mut laptop) = (features.device("ann"), features.device_in("ann", "/messages"));
    let mut neighbour = features.device("bob");
    let view = json!({"type": "direct", "participants": ["bob"]});
    phone.ok("conversation:create", &view);
    laptop.ok("conversation:create", &view);
    phone.ok("conversation:create", &view);
    laptop.ok("conversation:create", &view);
    let ack = phone.call("conversation:create", &view);
    assert_eq!(
        ack,
        json!({
            "ok": false, "error": "Rate limit exceeded", "code": "rate_limited", "limit": 4, "windowMs": 10_000, "remaining": 0,
            "retryAfterMs": 2500,
        })
    );
    assert_eq!(laptop.refused("conversation:create", &view), "rate_limited");
    neighbour.ok("conversation:create", &json!({"type": "direct", "participants": ["ann"]}));
    advance(Duration::from_millis(2500)).await;
    laptop.ok("conversation:create", &view);
}

#[tokio::test(start_paused = true)]
async fn the_event_comes_to_the_socket_that_was_refused_once_a_second() {
    let features = with(Config { max: 1, window_ms: 60_000, ..Config::default() });
    let (mut loud, mut quiet) = (features.device("ann"), features.device("ann"));
    let create = json!({"type": "direct", "participants": ["bob"]});
    loud.ok("conversation:create", &create);
    loud.heard();
    quiet.heard();
    for _ in 0..3 {
        loud.refused("conversation:create", &create);
    }
    let heard = loud.heard();
    let told = json!({
        "event": "conversation:create", "message": "Rate limit exceeded", "limit": 1, "windowMs": 60_000, "remaining": 0,
        "retryAfter": 60, "retryAfterMs": 60_000,
    });
    assert_eq!(heard, [("rate-limit-exceeded".to_owned(), told)]);
    assert_eq!(quiet.names(), [""; 0]);
    advance(Duration::from_secs(1)).await;
    loud.refused("conversation:create", &create);
    loud.refused("conversation:create", &create);
    assert_eq!(loud.names(), ["rate-limit-exceeded"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_serves_counts_too() {
    let features = with(Config { max: 2, ..Config::default() });
    let mut device = features.device("ann");
    assert_eq!(device.refused("nope", &json!({})), "unknown_event");
    assert_eq!(device.refused("nope", &json!({})), "unknown_event");
    assert_eq!(device.refused("nope", &json!({})), "rate_limited");
    assert_eq!(features.rate_limits.buckets(), 1, "under no name of its own");
}

#[tokio::test(start_paused = true)]
async fn what_clients_send_as_a_matter_of_course_has_buckets_of_its_own() {
    let features = with(Config::default());
    let limits = &features.rate_limits;
    let _device = features.device("ann");
    for name in ["message:read", "message:delivered", "conversation:view", "join-conversation"] {
        assert_eq!(passed(limits, "ann", name, 999), 300, "{name}");
    }
    assert_eq!(passed(limits, "ann", "message:send", 99), 30);
    let routes = features.notification_routes(features.chat_routes());
    let known: Vec<_> = routes.documented().iter().map(|event| event.name).collect();
    // What other rooms serve may be named before it is there, but no old name of an event.
    let old: Vec<_> = routes.documented().iter().flat_map(|event| event.aliases).collect();
    assert!(LIGHT.iter().all(|name| !old.contains(&name)), "{known:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_with_a_limit_of_its_own_is_counted_by_that_alone_under_each_of_its_names() {
    let features = with(Config { events: table("send-message", limit(2, 1000)), ..Config::default() });
    let limits = &features.rate_limits;
    let _device = features.device("ann");
    assert_eq!(passed(limits, "ann", "send-message", 9), 2);
    limits.replace(Config { events: table("message-read", limit(2, 1000)), ..Config::default() });
    assert_eq!(passed(limits, "ann", "message:read", 9), 2, "the limit was written under the old name");
    assert_eq!(passed(limits, "ann", "message:edit", 99), 30);
    limits.replace(Config { events: table("message:edit", limit(0, 1000)), ..Config::default() });
    assert_eq!(passed(limits, "ann", "message:edit", 999), 999, "0 is no limit");
}

#[test]
fn the_largest_limit_of_a_users_roles_holds_in_place_of_the_general_one() {
    let roles = [("bot", limit(300, 10_000)), ("guest", limit(5, 10_000)), ("slow", limit(400, 60_000))];
    let mut roles: BTreeMap<_, _> = roles.map(|(name, limit)| (name.to_owned(), limit)).into();
    let config = Config { roles: roles.clone(), ..Config::default() };
    let policy = Policy::new(config, &Names::new());
    let of = |policy: &Policy, roles: &[&str]| {
        let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
        policy.of("message:send", &roles).map(|(counted, limit)| {
            assert_eq!(counted, Counted::General);
            limit.max
        })
    };
    assert_eq!(of(&policy, &[]), Some(30));
    assert_eq!(of(&policy, &["nobody"]), Some(30));
    assert_eq!(of(&policy, &["guest"]), Some(5));
    assert_eq!(of(&policy, &["guest", "bot", "slow"]), Some(300));
    assert_eq!(policy.of("heartbeat", &["guest".to_owned()]).map(|(_, limit)| limit.max), Some(50));
    roles.insert("admin".to_owned(), limit(0, 1));
    let policy = Policy::new(Config { roles, ..Config::default() }, &Names::new());
    assert_eq!(of(&policy, &["guest", "admin"]), None);
}

#[tokio::test(start_paused = true)]
async fn limits_change_while_the_server_runs_and_what_was_used_stays_used() {
    let limits = limits(Config::default());
    assert_eq!(passed(&limits, "ann", "message:send", 20), 20);
    limits.replace(Config { max: 25, ..Config::default() });
    assert_eq!(passed(&limits, "ann", "message:send", 99), 5);
    limits.replace(Config { max: 0, ..Config::default() });
    assert_eq!(passed(&limits, "ann", "message:send", 999), 999);
}

#[tokio::test(start_paused = true)]
async fn users_who_do_nothing_are_forgotten() {
    let limits = limits(Config::default());
    passed(&limits, "ann", "message:send", 1);
    passed(&limits, "bob", "message:send", 30);
    advance(Duration::from_secs(9)).await;
    limits.sweep();
    assert_eq!(limits.buckets(), 1);
    advance(Duration::from_secs(1)).await;
    limits.sweep();
    assert_eq!(limits.buckets(), 0);
}

#[tokio::test(start_paused = true)]
async fn ten_limits_within_one_window_are_a_flood() {
    let (mut offence, limit) = (Offence::new(clock::now()), limit(2, 1000));
    let refuse = |offence: &mut Offence, times: usize| {
        let reactions: Vec<_> = (0..times).map(|_| offence.refuse(limit, clock::now())).collect();
        reactions.last().copied().unwrap_or_default()
    };
    assert_eq!(refuse(&mut offence, 1), Reaction { tell: true, close: false });
    assert_eq!(refuse(&mut offence, 16), Reaction { tell: false, close: false });
    advance(Duration::from_secs(1)).await;
    assert_eq!(refuse(&mut offence, 1), Reaction { tell: true, close: false }, "another window");
    assert_eq!(refuse(&mut offence, 17), Reaction { tell: false, close: true });
}

#[tokio::test(start_paused = true)]
async fn rest_requests_and_backends_have_limits_of_their_own() {
    let limits = limits(Config { rest_max: 2, backend_max: 3, ..Config::default() });
    let request = || limits.request(&id("ann")).expect("a limit");
    assert_eq!((request().remaining, request().remaining, request().allowed), (1, 0, false));
    let backend = |key| limits.backend_request(key).expect("a limit").allowed;
    assert!(backend("a") && backend("a") && backend("a") && !backend("a") && backend("b"));
    assert_eq!(passed(&limits, "ann", "message:send", 99), 30);
}

#[tokio::test(start_paused = true)]
async fn what_fails_counts_for_its_address_and_what_succeeds_does_not() {
    let limits = limits(Config { address_max: 3, ..Config::default() });
    let (office, other) = (address("203.0.113.9"), address("203.0.113.10"));
    for _ in 0..99 {
        limits.admit_session(office).expect("all sign in");
        limits.signed_in(office);
    }
    for _ in 0..3 {
        let refusal = limits.sign_in_refused(office, missing_token());
        assert_eq!(refusal.code, ErrorCode::TokenMissing);
    }
    assert_eq!(limits.sign_in_refused(office, missing_token()).code, ErrorCode::RateLimited);
    let rejection = limits.admit_session(office).expect_err("too much has failed");
    assert_eq!((rejection.limit, rejection.retry_after), (3, Duration::from_secs(20)));
    limits.admit_session(other).expect("not his fault");
    let ours = Refusal::new(ErrorCode::Unavailable, "not the client's mistake");
    assert_eq!(limits.sign_in_refused(office, ours).code, ErrorCode::Unavailable);
    advance(Duration::from_secs(20)).await;
    limits.admit_session(office).expect("after the time to wait");
}

#[tokio::test(start_paused = true)]
async fn sessions_of_an_address_are_counted_while_they_live() {
    let limits = limits(Config { sessions_per_address: 2, ..Config::default() });
    let (one, same, other) = (address("2001:db8::1"), address("2001:db8::2"), address("2001:db8:0:1::1"));
    let first = limits.admit_session(one).expect("room");
    let _second = limits.admit_session(same).expect("room");
    assert_eq!(limits.admit_session(one).expect_err("the same network").limit, 2);
    let _other = limits.admit_session(other).expect("another network");
    drop(first);
    limits.admit_session(one).expect("one has gone");
    for _ in 0..9 {
        let permit = limits.admit_session(address("127.0.0.1")).expect("this machine is not counted");
        assert!(permit.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_has_only_so_many_sockets_in_a_namespace() {
    let features = with(Config { sockets_per_user: 2, ..Config::default() });
    let (first, _second) = (features.device("ann"), features.device("ann"));
    let refused = features.rate_limits.enter(&id("ann"), features.namespaces[0].name()).expect_err("two are in");
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.to_connect_data().contains(r#""limit":2"#), "{}", refused.to_connect_data());
    let _elsewhere = features.device_in("ann", "/notifications");
    let _neighbour = features.device("bob");
    first.close();
    let _third = features.device("ann");
}
