//! The rules of notifications.

mod about;
mod model;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;

use super::{
    Draft, Filter, Job, Kind, NotificationId, NotificationView, Priority, Recipients, Start, Status,
    news::News,
    store::{COLLAPSING, COUNTS, CountsRecord, ENDS, JOBS, NOTIFICATIONS, PLACES, PlaceRecord, READ, READ_AT},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        Config, Features,
        testing::{features, features_with, id},
    },
    ids::UserId,
    server::Refusal,
    storage::{Batch, Direction, Store},
};

/// More rows than any test makes.
const ALL: usize = 10_000;

fn draft(title: &str) -> Draft {
    Draft::new(Kind::System, title, "text")
}

fn features_with_max(max_per_user: usize) -> Features {
    let notifications = super::Config { max_per_user, ..super::Config::default() };
    features_with(Config { notifications, ..Config::default() })
}

async fn put(features: &Features, user: &str, draft: Draft) -> NotificationView {
    features.notifications.put(&id(user), draft).await.expect("a good draft")
}

async fn all(features: &Features, user: &str) -> Vec<NotificationView> {
    let page = features.notifications.list(&id(user), Filter::default(), Start::Skip(0), ALL).await;
    page.expect("readable").notifications
}

async fn titles(features: &Features, user: &str) -> Vec<String> {
    all(features, user).await.into_iter().map(|notification| notification.title).collect()
}

/// Does what is ordered, to the end.
async fn work(features: &Features) {
    while features.notifications.do_jobs().await.expect("storable") > 0 {}
}

async fn order(features: &Features, job: &Job) {
    let mut batch = Batch::new();
    features.notifications.order(&mut batch, job);
    features.notifications.store.commit(batch).await.expect("stored");
}

/// Everything that is stored of a user fits together: the counts, the places, and the tables by status, key and end.
fn assert_consistent(store: &Store, user: &UserId) {
    let rows = store.scan_prefix(&NOTIFICATIONS, user, ALL, Direction::Forward).expect("readable");
    let found = store.get(&COUNTS, user).expect("readable").unwrap_or_default();
    let mut counts = CountsRecord { next: found.next, revision: found.revision, ..CountsRecord::default() };
    for (_, record) in &rows {
        counts.add(record.kind, record.status);
    }
    assert_eq!(found, counts, "the counts are those of the stored set");
    assert!(rows.iter().all(|((_, place), _)| *place < counts.next));

    let places = store.scan_prefix(&PLACES, user, ALL, Direction::Forward).expect("readable");
    let at = places.iter().filter_map(|((_, id), place)| match place {
        PlaceRecord::At(place) => Some((*id, *place)),
        PlaceRecord::Gone => None,
    });
    let listed: BTreeMap<_, _> = rows.iter().map(|((_, place), record)| (record.id, *place)).collect();
    assert_eq!(at.collect::<BTreeMap<_, _>>(), listed, "each id leads to its row and back");

    let has_status = |status| rows.iter().filter(move |(_, record)| record.status == status);
    let read: Vec<_> = store.scan_prefix(&READ, user, ALL, Direction::Forward).expect("readable");
    let read: Vec<_> = read.into_iter().map(|((_, place), _)| place).collect();
    assert_eq!(read, has_status(Status::Read).map(|((_, place), _)| *place).collect::<Vec<_>>());
    let times = store.scan(&READ_AT, .., ALL, Direction::Forward).expect("readable").into_iter();
    let times: BTreeSet<_> =
        times.filter(|((_, reader, _), _)| reader == user).map(|((at, _, id), _)| (at, id)).collect();
    let expected = has_status(Status::Read).map(|(_, record)| (record.read_at.expect("read"), record.id));
    assert_eq!(times, expected.collect());

    let keys = store.scan_prefix(&COLLAPSING, user, ALL, Direction::Forward).expect("readable");
    let keys: BTreeMap<_, _> = keys.into_iter().map(|((_, key), found)| (key, found.place)).collect();
    let expected =
        has_status(Status::Unread).filter_map(|((_, place), record)| Some((record.collapse_key.clone()?, *place)));
    assert_eq!(keys, expected.collect());

    let ends = store.scan(&ENDS, .., ALL, Direction::Forward).expect("readable").into_iter();
    let ends: BTreeSet<_> = ends.filter(|((_, owner, _), _)| owner == user).map(|((_, _, id), _)| id).collect();
    let own = rows.iter().filter(|(_, record)| record.expires_at.is_some()).map(|(_, record)| record.id);
    let gone = places.iter().filter(|(_, place)| *place == PlaceRecord::Gone).map(|((_, id), _)| *id);
    assert_eq!(ends, own.chain(gone).collect());
}

#[tokio::test(start_paused = true)]
async fn a_notification_is_unread_until_it_is_read_and_reading_twice_is_reading_once() {
    let features = features();
    let made = put(&features, "ann", draft("hello")).await;
    assert_eq!((made.status, made.read_at, made.count), (Status::Unread, None, 1));
    assert_eq!((made.data.get(), made.legacy_id), ("{}", made.id));
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(1));

    let read = features.notifications.read(&id("ann"), made.id).await.expect("hers");
    assert_eq!(read.status, Status::Read);
    tokio::time::advance(Duration::from_secs(5)).await;
    let again = features.notifications.read(&id("ann"), made.id).await.expect("hers");
    assert_eq!(again.read_at, read.read_at, "the first reading counts");
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(0));
    assert_consistent(&features.notifications.store, &id("ann"));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_aside_is_read_and_stays_aside() {
    let features = features();
    let made = put(&features, "ann", draft("keep")).await;
    let aside = features.notifications.archive(&id("ann"), made.id).await.expect("hers");
    assert_eq!(aside.status, Status::Archived);
    assert!(aside.read_at.is_some());
    let read = features.notifications.read(&id("ann"), made.id).await.expect("hers");
    assert_eq!(read.status, Status::Archived);
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(0));
    tokio::time::advance(Duration::from_hours(24 * 30)).await;
    features.notifications.sweep_read().await.expect("swept");
    assert_eq!(titles(&features, "ann").await, ["keep"]);
    assert_consistent(&features.notifications.store, &id("ann"));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_may_be_repeated_for_a_day() {
    let features = features();
    let made = put(&features, "ann", draft("bye")).await;
    for _ in 0..2 {
        features.notifications.delete(&id("ann"), made.id).await.expect("hers");
        let refused = features.notifications.get(&id("ann"), made.id).expect_err("gone");
        assert_eq!(refused.code, ErrorCode::NotFound);
    }
    assert_consistent(&features.notifications.store, &id("ann"));
    tokio::time::advance(Duration::from_hours(25)).await;
    features.notifications.sweep_ends().await.expect("swept");
    let refused = features.notifications.delete(&id("ann"), made.id).await.expect_err("forgotten");
    assert_eq!(refused.code, ErrorCode::NotFound);
    let left = features.notifications.store.scan(&PLACES, .., ALL, Direction::Forward).expect("readable");
    assert_eq!(left, []);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_notification_and_none_at_all_look_the_same() {
    let features = features();
    let (eve, notifications) = (id("eve"), &features.notifications);
    let made = put(&features, "ann", draft("private")).await;
    for wanted in [made.id, NotificationId::fresh()] {
        let refusals: [Refusal; 4] = [
            notifications.get(&eve, wanted).expect_err("not hers"),
            notifications.read(&eve, wanted).await.expect_err("not hers"),
            notifications.archive(&eve, wanted).await.expect_err("not hers"),
            notifications.delete(&eve, wanted).await.expect_err("not hers"),
        ];
        assert!(refusals.iter().all(|refusal| *refusal == refusals[0] && refusal.code == ErrorCode::NotFound));
    }
    assert_eq!(notifications.mark_all_read(&eve).await, Ok(0));
    assert_eq!(notifications.clear(&eve, false).await, Ok(0));
    assert_eq!(all(&features, "eve").await.len(), 0);
    assert_eq!(notifications.unread_count(&id("ann")).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn an_unread_notification_with_the_same_key_is_replaced_and_a_read_one_is_not() {
    let features = features();
    let with_key = |title| draft(title).collapsing("chat".to_owned());
    let first = put(&features, "ann", with_key("1 message")).await;
    put(&features, "ann", draft("between")).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let second = put(&features, "ann", with_key("2 messages")).await;
    assert_eq!((second.id, second.count), (first.id, 2));
    assert!(second.created_at > first.created_at);
    assert_eq!(titles(&features, "ann").await, ["2 messages", "between"], "what is renewed is the newest");
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(2));
    assert_consistent(&features.notifications.store, &id("ann"));

    features.notifications.read(&id("ann"), first.id).await.expect("hers");
    let third = put(&features, "ann", with_key("3 messages")).await;
    assert!(third.id != first.id);
    put(&features, "bob", with_key("his own")).await;
    assert_eq!(titles(&features, "ann").await, ["3 messages", "2 messages", "between"]);
    assert_consistent(&features.notifications.store, &id("ann"));
}

#[tokio::test(start_paused = true)]
async fn when_there_are_too_many_the_oldest_read_one_goes_and_then_the_oldest() {
    let features = features_with_max(3);
    put(&features, "ann", draft("a")).await;
    let b = put(&features, "ann", draft("b")).await;
    let c = put(&features, "ann", draft("c")).await;
    for read in [c.id, b.id] {
        features.notifications.read(&id("ann"), read).await.expect("hers");
    }
    let mut left = Vec::new();
    for title in ["d", "e", "f"] {
        put(&features, "ann", draft(title)).await;
        left.push(titles(&features, "ann").await.concat());
        assert_consistent(&features.notifications.store, &id("ann"));
    }
    assert_eq!(left, ["dca", "eda", "fed"]);
}

#[tokio::test(start_paused = true)]
async fn read_notifications_go_seven_days_after_the_reading() {
    let features = features();
    let (old, new) = (put(&features, "ann", draft("old")).await, put(&features, "ann", draft("new")).await);
    put(&features, "ann", draft("unread")).await;
    let day = Duration::from_hours(24);
    features.notifications.read(&id("ann"), old.id).await.expect("hers");
    tokio::time::advance(day * 2).await;
    features.notifications.read(&id("ann"), new.id).await.expect("hers");
    tokio::time::advance(Duration::from_hours(5 * 24 - 1)).await;
    features.notifications.sweep_read().await.expect("swept");
    assert_eq!(titles(&features, "ann").await, ["unread", "new", "old"]);
    tokio::time::advance(Duration::from_hours(2)).await;
    features.notifications.sweep_read().await.expect("swept");
    assert_eq!(titles(&features, "ann").await, ["unread", "new"]);
    assert_consistent(&features.notifications.store, &id("ann"));
}

#[tokio::test(start_paused = true)]
async fn a_notification_goes_at_its_own_end_read_or_not() {
    let features = features();
    let soon = Timestamp::now().after(Duration::from_secs(10));
    let ending = |title: &str| Draft { expires_at: Some(soon), ..draft(title) };
    for n in 0..150 {
        let made = put(&features, "ann", ending(&n.to_string())).await;
        if n % 3 == 0 {
            features.notifications.read(&id("ann"), made.id).await.expect("hers");
        }
    }
    put(&features, "ann", draft("stays")).await;
    features.notifications.sweep_ends().await.expect("swept");
    assert_eq!(all(&features, "ann").await.len(), 151);
    tokio::time::advance(Duration::from_secs(20)).await;
    features.notifications.sweep_ends().await.expect("swept");
    assert_eq!(titles(&features, "ann").await, ["stays"]);
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(1));
    assert_consistent(&features.notifications.store, &id("ann"));
}

#[tokio::test(start_paused = true)]
async fn an_unread_notification_that_is_renewed_has_the_end_of_the_new_one() {
    let features = features();
    let key = |draft: Draft| draft.collapsing("k".to_owned());
    let soon = Timestamp::now().after(Duration::from_secs(10));
    put(&features, "ann", key(Draft { expires_at: Some(soon), ..draft("short") })).await;
    put(&features, "ann", key(draft("for ever"))).await;
    assert_consistent(&features.notifications.store, &id("ann"));
    tokio::time::advance(Duration::from_secs(20)).await;
    features.notifications.sweep_ends().await.expect("swept");
    assert_eq!(titles(&features, "ann").await, ["for ever"]);
}

#[tokio::test(start_paused = true)]
async fn marking_and_clearing_reach_everything_there_is() {
    let features = features();
    let ann = id("ann");
    for n in 0..150 {
        put(&features, "ann", draft(&n.to_string())).await;
    }
    let aside = put(&features, "ann", draft("aside")).await;
    features.notifications.archive(&ann, aside.id).await.expect("hers");
    assert_eq!(features.notifications.mark_all_read(&ann).await, Ok(150));
    assert_eq!(features.notifications.mark_all_read(&ann).await, Ok(0));
    assert_eq!(features.notifications.unread_count(&ann).await, Ok(0));
    put(&features, "ann", draft("unread")).await;
    assert_consistent(&features.notifications.store, &ann);
    assert_eq!(features.notifications.clear(&ann, true).await, Ok(150));
    assert_eq!(titles(&features, "ann").await, ["unread", "aside"]);
    assert_eq!(features.notifications.clear(&ann, false).await, Ok(2));
    assert_eq!(all(&features, "ann").await.len(), 0);
    assert_consistent(&features.notifications.store, &ann);
}

#[tokio::test(start_paused = true)]
async fn pages_follow_each_other_without_gaps_while_new_ones_come() {
    let features = features();
    for n in 0..200 {
        let kind = if n % 10 == 0 { Kind::Mention } else { Kind::System };
        put(&features, "ann", Draft::new(kind, &n.to_string(), "")).await;
    }
    let filter = Filter { status: Some(Status::Unread), kind: Some(Kind::Mention) };
    let (mut start, mut found, mut pages) = (Start::Skip(0), Vec::new(), 0);
    loop {
        let page = features.notifications.list(&id("ann"), filter, start, 7).await.expect("readable");
        found.extend(page.notifications.into_iter().map(|notification| notification.title));
        pages += 1;
        put(&features, "ann", Draft::new(Kind::Mention, "later", "")).await;
        match page.next {
            Some(next) => start = Start::After(next),
            None => break,
        }
    }
    let expected: Vec<_> = (0..20).rev().map(|n| (n * 10).to_string()).collect();
    assert_eq!((found, pages), (expected, 3));
    let page = features.notifications.list(&id("ann"), filter, Start::Skip(5), 100).await.expect("readable");
    assert_eq!(page.notifications.first().map(|first| first.title.as_str()), Some("170"));
}

#[tokio::test(start_paused = true)]
async fn a_page_of_long_texts_is_short_and_goes_on() {
    let features = features();
    let data = serde_json::json!("x".repeat(16_000));
    for n in 0..50 {
        put(&features, "ann", draft(&n.to_string()).with_data(&data)).await;
    }
    let page = features.notifications.list(&id("ann"), Filter::default(), Start::Skip(0), 50).await;
    let page = page.expect("readable");
    assert_eq!(page.notifications.len(), 32, "512 KiB");
    let start = Start::After(page.next.expect("there is more"));
    let rest = features.notifications.list(&id("ann"), Filter::default(), start, 50).await.expect("readable");
    assert_eq!((rest.notifications.len(), rest.next), (18, None));
    assert_eq!(rest.notifications[0].title, "17");
}

#[test]
fn every_field_has_its_limit() {
    let field = |draft: Draft| match draft.check() {
        Ok(()) => "ok".to_owned(),
        Err(refusal) => refusal.message.split(':').next().unwrap_or_default().to_owned(),
    };
    let good = draft("title");
    let long = |chars: usize| "ü".repeat(chars);
    assert_eq!(field(Draft { title: long(200), message: long(500), ..good.clone() }), "ok");
    assert_eq!(field(Draft { title: long(201), ..good.clone() }), "title");
    assert_eq!(field(Draft { title: " ".to_owned(), ..good.clone() }), "title");
    assert_eq!(field(Draft { message: long(501), ..good.clone() }), "message");
    assert_eq!(field(Draft { data: Some("{".to_owned()), ..good.clone() }), "data");
    assert_eq!(field(Draft { data: Some(format!("\"{}\"", "x".repeat(16 * 1024 - 2))), ..good.clone() }), "ok");
    assert_eq!(field(Draft { data: Some(format!("\"{}\"", "x".repeat(16 * 1024 - 1))), ..good.clone() }), "data");
    assert_eq!(field(Draft { collapse_key: Some(String::new()), ..good.clone() }), "collapseKey");
    assert_eq!(field(Draft { collapse_key: Some("k".repeat(129)), ..good.clone() }), "collapseKey");
    assert_eq!(field(Draft { action_url: Some(format!("/{}", "x".repeat(2048))), ..good.clone() }), "actionUrl");
    assert_eq!(field(Draft { expires_at: Some(Timestamp::from_millis(0)), ..good }), "expiresAt");
    let cut = Draft::new(Kind::System, &long(300), &long(600));
    assert_eq!((cut.title.chars().count(), cut.message.chars().count()), (200, 500));
}

#[test]
fn links_lead_to_pages_and_apps_and_never_run_in_the_page() {
    let check = |url: &str| Draft { action_url: Some(url.to_owned()), ..draft("t") }.check();
    let good =
        ["https://example.org/a:b?c=javascript:1", "http://x", "/chat/1", "chat/1?x=a:b", "myapp://chat/1", "#top"];
    for url in good {
        assert_eq!(check(url), Ok(()), "{url}");
    }
    let bad = [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "\u{1}javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://x",
        ":x",
        "a b:c",
        "",
    ];
    for url in bad {
        assert_eq!(check(url).expect_err(url).code, ErrorCode::InvalidPayload, "{url}");
    }
}

#[test]
fn older_names_of_types_mean_the_present_ones() {
    let names = [
        ("contact_accepted", Kind::ContactAccept),
        ("group_add", Kind::GroupInvite),
        ("group_remove", Kind::GroupUpdate),
        ("message_deleted", Kind::Message),
        ("message_edited", Kind::Message),
    ];
    for (name, kind) in Kind::ALL.map(|kind| (kind.name(), kind)).into_iter().chain(names) {
        let filter = Filter::parse(None, Some(name)).expect("known");
        assert_eq!(filter.kind, Some(kind));
        let text = serde_json::to_string(&kind).expect("text");
        assert_eq!(text, format!("\"{}\"", kind.name()), "ten names go out");
    }
    assert_eq!(Filter::parse(Some("all"), Some("")), Ok(Filter::default()));
    let refused = Filter::parse(Some("seen"), None).expect_err("no status");
    assert!(refused.message.starts_with("status: "), "{}", refused.message);
    let refused = Filter::parse(None, Some("gossip")).expect_err("no type");
    assert!(refused.message.starts_with("type: "), "{}", refused.message);
}

#[tokio::test(start_paused = true)]
async fn changes_at_once_are_all_counted() {
    let features = features();
    let ann = id("ann");
    let made = join_all((0..40).map(|n| features.notifications.put(&ann, draft(&n.to_string())))).await;
    let made: Vec<_> = made.into_iter().map(|made| made.expect("stored").id).collect();
    let (read, deleted) = made.split_at(20);
    let reading = join_all(read.iter().map(|id| features.notifications.read(&ann, *id)));
    let deleting = join_all(deleted.iter().map(|id| features.notifications.delete(&ann, *id)));
    let putting = join_all((0..10).map(|_| features.notifications.put(&ann, draft("k").collapsing("k".to_owned()))));
    let (read, deleted, put) = tokio::join!(reading, deleting, putting);
    assert!(read.iter().all(Result::is_ok) && deleted.iter().all(Result::is_ok) && put.iter().all(Result::is_ok));
    assert_eq!(features.notifications.unread_count(&ann).await, Ok(1));
    assert_eq!(all(&features, "ann").await.len(), 21);
    assert_consistent(&features.notifications.store, &ann);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_the_middle_does_not_disturb_the_next() {
    let features = features();
    let ann = id("ann");
    for n in 0..20 {
        // Polled once and dropped: the batch is under way, and nobody waits for it.
        let mut abandoned = Box::pin(features.notifications.put(&ann, draft(&format!("abandoned {n}"))));
        assert!(futures_util::poll!(abandoned.as_mut()).is_ready() || n < 20);
        drop(abandoned);
        put(&features, "ann", draft("next")).await;
    }
    assert_eq!(all(&features, "ann").await.len(), 40);
    assert_consistent(&features.notifications.store, &ann);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_done_twice_tells_nobody_twice() {
    let features = features();
    let users: Vec<_> = (0..150).map(|n| id(&format!("user-{n}"))).collect();
    let recipients = Recipients::Users { users: users.clone(), members_of: None };
    let job = Job { recipients, draft: draft("news").collapsing("n".to_owned()) };
    put(&features, "user-1", draft("older").collapsing("n".to_owned())).await;
    order(&features, &job).await;
    let store = &features.notifications.store;
    let (job_id, _) = store.scan(&JOBS, .., 1, Direction::Forward).expect("readable")[0].clone();
    work(&features).await;
    for user in &users {
        assert_eq!(features.notifications.unread_count(user).await, Ok(1), "{user}");
    }
    // One has read it, one has deleted it, for one it had replaced another one: as if the process had died before the job was
    // taken off the list.
    let (first, second) = (all(&features, "user-0").await[0].id, all(&features, "user-1").await[0].id);
    features.notifications.delete(&users[0], first).await.expect("there");
    features.notifications.read(&users[1], second).await.expect("there");
    let mut batch = Batch::new();
    batch.put(&JOBS, &job_id, &job);
    store.commit(batch).await.expect("stored");
    work(&features).await;
    assert_eq!(titles(&features, "user-0").await.len(), 0);
    assert_eq!(titles(&features, "user-1").await, ["news"]);
    for user in &users {
        assert_consistent(store, user);
    }
    assert_eq!(store.scan(&JOBS, .., 1, Direction::Forward).expect("readable"), []);
}

#[tokio::test(start_paused = true)]
async fn what_was_ordered_is_made_by_the_worker_in_the_order_of_the_causes() {
    let features = Arc::new(features());
    let stop = tokio_util::sync::CancellationToken::new();
    let run = tokio_util::task::TaskTracker::new();
    run.spawn(Arc::clone(&features).run(stop.clone()));
    for n in 0..40 {
        let recipients = Recipients::Users { users: vec![id("ann")], members_of: None };
        order(&features, &Job { recipients, draft: draft(&n.to_string()) }).await;
        features.notifications.wake();
        tokio::time::advance(Duration::from_millis(2)).await;
    }
    while all(&features, "ann").await.len() < 40 {
        tokio::task::yield_now().await;
    }
    let expected: Vec<_> = (0..40).rev().map(|n| n.to_string()).collect();
    assert_eq!(titles(&features, "ann").await, expected);
    stop.cancel();
    run.close();
    run.wait().await;
}

#[tokio::test(start_paused = true)]
async fn members_hear_of_what_happens_to_their_group_and_its_causer_does_not() {
    let features = features();
    let (ann, group) = (id("ann"), features.group("ann", &["bob", "cat"]).await);
    work(&features).await;
    for member in ["bob", "cat"] {
        let invited = all(&features, member).await;
        assert_eq!((invited.len(), invited[0].kind, invited[0].title.as_str()), (1, Kind::GroupInvite, "group"));
        let data: HashMap<String, String> = serde_json::from_str(invited[0].data.get()).expect("texts");
        assert_eq!((data["groupId"].as_str(), data["fromUserId"].as_str()), (group.to_string().as_str(), "ann"));
    }
    features.conversations.rename(&ann, group, "club".to_owned()).await.expect("an admin");
    features.conversations.rename(&ann, group, "club".to_owned()).await.expect("the same name");
    features.conversations.remove_members(&ann, group, &[id("cat")]).await.expect("an admin");
    features.conversations.leave(&id("bob"), group).await.expect("a member");
    work(&features).await;
    let told = all(&features, "cat").await;
    assert_eq!((told.len(), told[0].kind), (1, Kind::GroupUpdate), "the unread invitation is replaced");
    assert_eq!(told[0].message, "ann removed you from the group");
    assert_eq!(titles(&features, "bob").await, ["group"], "who has left is not told of the new name");
    assert_eq!(all(&features, "ann").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_left_meanwhile_is_left_out() {
    let features = features();
    let group = features.group("ann", &["bob", "cat", "dan"]).await;
    let store = &features.notifications.store;
    for recipients in [
        Recipients::Members { of: group, without: vec![id("ann")] },
        Recipients::Users { users: vec![id("bob"), id("cat"), id("eve")], members_of: Some(group) },
    ] {
        order(&features, &Job { recipients, draft: draft("hello") }).await;
    }
    features.conversations.leave(&id("bob"), group).await.expect("a member");
    work(&features).await;
    assert_eq!(titles(&features, "bob").await.len(), 0);
    assert_eq!(titles(&features, "cat").await, ["hello", "hello", "group"]);
    assert_eq!(titles(&features, "dan").await, ["hello", "group"]);
    assert_eq!((titles(&features, "ann").await.len(), titles(&features, "eve").await.len()), (0, 0));
    assert_eq!(store.scan(&JOBS, .., 1, Direction::Forward).expect("readable"), []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_forgotten_while_an_old_job_waits() {
    let features = features();
    let made = put(&features, "ann", draft("bye")).await;
    features.notifications.delete(&id("ann"), made.id).await.expect("hers");
    let recipients = Recipients::Users { users: vec![id("bob")], members_of: None };
    order(&features, &Job { recipients, draft: draft("late") }).await;
    tokio::time::advance(Duration::from_hours(48)).await;
    features.notifications.sweep_ends().await.expect("readable");
    features.notifications.delete(&id("ann"), made.id).await.expect("still known");
    work(&features).await;
    features.notifications.sweep_ends().await.expect("readable");
    features.notifications.delete(&id("ann"), made.id).await.expect_err("forgotten");
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_there_when_somebody_asks() {
    let features = features();
    let direct = features.direct("bob", "ann").await;
    for text in ["one", "two"] {
        features.send("bob", direct, text).await.expect("stored");
    }
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(1), "one for the conversation");
    assert_eq!(titles(&features, "ann").await, ["bob"]);
    let (count, shown) = features.notifications.unread(&id("ann")).await.expect("readable");
    assert_eq!((count, shown[0].message.as_str()), (1, "two"));
    features.notifications.read(&id("ann"), shown[0].id).await.expect("hers");
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(0), "it was told of once");
    features.send("bob", direct, "three").await.expect("stored");
    assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(1), "something new");
    assert_eq!(features.notifications.unread_count(&id("bob")).await, Ok(0), "one's own is no news");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_urgent_disturbs_somebody_who_does_not_want_it() {
    let features = features();
    let made = put(&features, "ann", Draft { priority: Priority::High, ..draft("t") }).await;
    let new = |urgent| News::New { view: Box::new(made.clone()), kind: made.kind, urgent, about: None };
    let count = News::Count { unread: 1 };
    assert_eq!(News::muted(vec![new(false), count.clone()]).len(), 0);
    assert_eq!(News::muted(vec![new(true), count.clone()]).len(), 2);
    assert_eq!(News::muted(vec![News::Deleted { id: made.id }, count]).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_the_backend_stands_for_one_request_for_a_day() {
    let features = features();
    let to = |users: &[&str], title: &str| {
        let users = users.iter().map(|user| id(user)).collect();
        Job { recipients: Recipients::Users { users, members_of: None }, draft: draft(title) }
    };
    let key = || Some("k".to_owned());
    let first = features.notifications.request(to(&["ann"], "news"), key()).await.expect("stored").expect("made");
    let again = features.notifications.request(to(&["ann"], "news"), key()).await.expect("known").expect("there");
    assert_eq!(again.id, first.id);
    let refused = features.notifications.request(to(&["ann"], "other"), key()).await.expect_err("used");
    assert_eq!(refused.code, ErrorCode::Conflict);
    work(&features).await;
    assert_eq!(titles(&features, "ann").await, ["news"], "the job finds it made");
    features.notifications.delete(&id("ann"), first.id).await.expect("hers");
    assert!(features.notifications.request(to(&["ann"], "news"), key()).await.expect("known").is_none());
    work(&features).await;
    assert_eq!(titles(&features, "ann").await.len(), 0);

    tokio::time::advance(Duration::from_hours(25)).await;
    features.notifications.sweep_requests().await.expect("swept");
    features.notifications.request(to(&["ann"], "other"), key()).await.expect("forgotten").expect("made");
    features.notifications.request(to(&["ann", "bob"], "both"), None).await.expect("stored");
    work(&features).await;
    assert_eq!(titles(&features, "ann").await, ["both", "other"]);
    assert_eq!(titles(&features, "bob").await, ["both"]);
}

#[tokio::test]
async fn many_at_once_are_all_made_in_their_order_and_keep_to_the_limit() {
    let features = features_with_max(100);
    let drafts = |names: std::ops::Range<usize>| -> Vec<Draft> {
        names.map(|n| draft(&n.to_string()).collapsing(n.to_string())).collect()
    };
    features.notifications.put_all(&id("ann"), &drafts(0..90)).await.expect("good drafts");
    // Some of these replace earlier ones, the rest make room for themselves.
    features.notifications.put_all(&id("ann"), &drafts(80..130)).await.expect("good drafts");
    let newest_first: Vec<String> = (30..130).rev().map(|n| n.to_string()).collect();
    assert_eq!(titles(&features, "ann").await, newest_first);
    assert_consistent(&features.notifications.store, &id("ann"));
    let bad = [draft("good"), draft("")];
    let refused = features.notifications.put_all(&id("bob"), &bad).await.expect_err("one has no title");
    assert_eq!(refused.code, ErrorCode::InvalidPayload);
    assert!(titles(&features, "bob").await.is_empty(), "nothing of a bad order is made");
}
