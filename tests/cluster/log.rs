//! The log as a stream in Redis.

use bytes::Bytes;
use futures_util::future::join_all;
use hobnob::{
    cluster::RedisLog,
    storage::replicated::{AppendError, Connection, Epoch, Place, SharedLog as _},
};

use super::{RedisServer, TestNode, within};

const EPOCH: Epoch = Epoch(u64::MAX);
const OTHER: Epoch = Epoch(7);
const MAX_BYTES: usize = 1 << 20;

fn place(major: u64, minor: u64) -> Place {
    Place { major, minor }
}

fn entry(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn append(log: &RedisLog, text: &str) -> Place {
    log.append(EPOCH, entry(text)).await.expect("appended")
}

async fn read_all(log: &RedisLog, mut after: Place, count: usize) -> Vec<(Place, Bytes)> {
    let mut all = Vec::new();
    while all.len() < count {
        let page = within("entries", log.read(EPOCH, after, MAX_BYTES)).await.expect("readable");
        after = page.last().map_or(after, |(place, _)| *place);
        all.extend(page);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_made_once_and_keeps_its_entries_in_order() {
    let redis = RedisServer::start(&[]).await;
    let (one, other) = (TestNode::start(&redis, "a").await, TestNode::start(&redis, "b").await);
    let (log, its) = (&one.cluster.log, &other.cluster.log);
    assert_eq!(log.bounds().await.expect("up"), None);
    let made = tokio::join!(log.create(EPOCH, Place::START), its.create(EPOCH, Place::START));
    assert!(made.0.expect("up") != made.1.expect("up"), "one of them makes it");
    assert!(!log.create(OTHER, place(9, 9)).await.expect("up"), "it is there");
    let bounds = log.bounds().await.expect("up").expect("made");
    assert_eq!((bounds.epoch, bounds.kept_after, bounds.end), (EPOCH, Place::START, Place::START));

    // Sent without waiting for each other, from both sides: all are there, and those of one side in its order.
    let sent: Vec<_> = (0..100).map(|n| log.append(EPOCH, entry(&format!("one {n:02}")))).collect();
    let theirs: Vec<_> = (0..100).map(|n| its.append(EPOCH, entry(&format!("two {n:02}")))).collect();
    let places: Vec<Place> = join_all(sent).await.into_iter().map(|place| place.expect("appended")).collect();
    assert!(places.is_sorted(), "{places:?}");
    join_all(theirs).await;
    let (here, there) = tokio::join!(read_all(log, Place::START, 200), read_all(its, Place::START, 200));
    assert_eq!(here, there);
    let mine: Vec<_> = here.iter().filter(|(_, entry)| entry.starts_with(b"one")).cloned().collect();
    assert!(mine.is_sorted_by(|(_, one), (_, next)| one < next));
    assert_eq!(mine.iter().map(|(place, _)| *place).collect::<Vec<_>>(), places);
    assert_eq!(log.bounds().await.expect("up").expect("made").end, here[199].0);
    assert_eq!(log.entry(EPOCH, places[5]).await.expect("up"), Some(entry("one 05")));
    assert_eq!(log.entry(EPOCH, place(1, 1)).await.expect("up"), None);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_the_next_entry_and_may_be_given_up() {
    let redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    let log = &node.cluster.log;
    log.create(EPOCH, Place::START).await.expect("up");
    let mut given_up = Box::pin(log.read(EPOCH, Place::START, MAX_BYTES));
    assert!(futures_util::poll!(&mut given_up).is_pending());
    drop(given_up);
    let (read, placed) = tokio::join!(log.read(EPOCH, Place::START, MAX_BYTES), append(log, "first"));
    assert_eq!(read.expect("up"), [(placed, entry("first"))]);
    assert_eq!(within("a wait without an entry", log.read(EPOCH, placed, MAX_BYTES)).await.expect("up"), []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_entries_come_one_by_one_and_binary_ones_as_they_are() {
    let redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    let log = &node.cluster.log;
    log.create(EPOCH, Place::START).await.expect("up");
    let large: Vec<Bytes> = (0..4_u8).map(|n| Bytes::from(vec![n ^ 0xff; 3 << 20])).collect();
    for entry in &large {
        log.append(EPOCH, entry.clone()).await.expect("appended");
    }
    let first = log.read(EPOCH, Place::START, 1).await.expect("up");
    assert!(!first.is_empty());
    let all: Vec<Bytes> = read_all(log, Place::START, 4).await.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(all, large);
    // By now it is known how large entries are.
    assert_eq!(log.read(EPOCH, Place::START, 1).await.expect("up").len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_epoch_counts_as_none() {
    let redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    let log = &node.cluster.log;
    assert!(matches!(log.append(EPOCH, entry("x")).await, Err(AppendError::Refused(_))), "there is none");
    log.create(OTHER, place(5, 3)).await.expect("up");
    assert!(matches!(log.append(EPOCH, entry("x")).await, Err(AppendError::Refused(_))));
    assert!(log.read(EPOCH, Place::START, MAX_BYTES).await.is_err());
    assert!(log.entry(EPOCH, place(5, 4)).await.is_err());
    assert!(log.restore(EPOCH, place(5, 3), place(5, 4), entry("x")).await.is_err());
    assert_eq!(log.bounds().await.expect("up").expect("made").end, place(5, 3));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_put_back_under_its_place_by_one_node() {
    let redis = RedisServer::start(&[]).await;
    let (one, other) = (TestNode::start(&redis, "a").await, TestNode::start(&redis, "b").await);
    let (log, its) = (&one.cluster.log, &other.cluster.log);
    log.create(EPOCH, place(100, 0)).await.expect("up");
    let put = tokio::join!(
        log.restore(EPOCH, place(100, 0), place(100, 5), entry("lost")),
        its.restore(EPOCH, place(100, 0), place(100, 5), entry("lost")),
    );
    assert!(put.0.expect("up") != put.1.expect("up"));
    assert!(!log.restore(EPOCH, place(100, 0), place(100, 6), entry("late")).await.expect("up"));
    assert_eq!(log.read(EPOCH, place(100, 0), MAX_BYTES).await.expect("up"), [(place(100, 5), entry("lost"))]);
    assert!(append(log, "next").await > place(100, 5));
    let bounds = log.bounds().await.expect("up").expect("made");
    assert_eq!(bounds.kept_after, place(100, 0), "nothing was trimmed");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_trimmed_and_says_so() {
    let redis = RedisServer::start(&["--stream-node-max-entries", "10"]).await;
    let config = hobnob::cluster::Config { log_entries: 50, ..redis.config() };
    let node = TestNode::start_with(config, "a", "secret").await;
    let log = &node.cluster.log;
    log.create(EPOCH, Place::START).await.expect("up");
    let places = join_all((0..500).map(|n| log.append(EPOCH, entry(&n.to_string())))).await;
    let last = places.last().cloned().expect("some").expect("appended");
    let bounds = log.bounds().await.expect("up").expect("made");
    assert!(bounds.kept_after > Place::START && bounds.kept_after < last);
    assert_eq!(bounds.end, last);
    let kept = log.read(EPOCH, bounds.kept_after, MAX_BYTES).await.expect("up");
    assert!((49..500).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().map(|(_, entry)| entry.clone()), Some(entry("499")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_survives_a_kill_of_redis_and_an_empty_redis_has_none() {
    let mut redis = RedisServer::start(&["--appendfsync", "always"]).await;
    let node = TestNode::start(&redis, "a").await;
    node.connected().await;
    let log = &node.cluster.log;
    let mut connection = log.connection();
    within("up", connection.wait_for(|connection| *connection == Connection::Up)).await.expect("it lives");
    log.create(EPOCH, Place::FOUNDED).await.expect("up");
    let placed = append(log, "kept").await;
    let before = log.bounds().await.expect("up").expect("made");
    redis.kill().await;
    let lost = log.append(EPOCH, entry("lost")).await;
    assert!(lost.is_err(), "{lost:?}");
    within("away", connection.wait_for(|connection| *connection == Connection::Away)).await.expect("it lives");
    assert!(matches!(log.append(EPOCH, entry("x")).await, Err(AppendError::Refused(_))), "certainly not sent");
    assert!(log.read(EPOCH, Place::START, MAX_BYTES).await.is_err());
    redis.restart().await;
    within("up", connection.wait_for(|connection| *connection == Connection::Up)).await.expect("it lives");
    let after = log.bounds().await.expect("up").expect("kept");
    assert_ne!(before.server, after.server, "another run of the server");
    assert_eq!((after.epoch, after.kept_after, after.end), (EPOCH, Place::FOUNDED, placed));
    assert_eq!(log.read(EPOCH, Place::FOUNDED, MAX_BYTES).await.expect("up"), [(placed, entry("kept"))]);

    redis.kill().await;
    within("away", connection.wait_for(|connection| *connection == Connection::Away)).await.expect("it lives");
    redis.restart_empty().await;
    within("up", connection.wait_for(|connection| *connection == Connection::Up)).await.expect("it lives");
    assert_eq!(log.bounds().await.expect("up"), None);
    assert!(log.create(EPOCH, placed).await.expect("up"));
    assert!(append(log, "again").await > placed);
    node.stop().await;
}

/// Of a log that lost one of its keys nothing can be told: it is none, and may be made anew.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_log_is_none() {
    let redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    let log = &node.cluster.log;
    for key in ["hobnob:log", "hobnob:log:meta"] {
        assert!(log.create(EPOCH, Place::START).await.expect("up"));
        append(log, "x").await;
        redis.command(&format!("DEL {key}")).await;
        assert_eq!(log.bounds().await.expect("up"), None, "{key}");
        assert!(matches!(log.append(EPOCH, entry("x")).await, Err(AppendError::Refused(_))), "{key}");
    }
    assert!(log.create(OTHER, Place::START).await.expect("up"));
    node.stop().await;
}

/// The writer of a store is a thread of its own, without a runtime.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_may_be_used_from_any_thread() {
    let redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    let log = node.cluster.log.clone();
    let thread = std::thread::spawn(move || {
        let log = &log;
        block_on(log.create(EPOCH, Place::START)).expect("up");
        let sent: Vec<_> = (0..10).map(|n| log.append(EPOCH, entry(&n.to_string()))).collect();
        sent.into_iter().map(|sent| block_on(sent).expect("appended")).collect::<Vec<_>>()
    });
    let places = tokio::task::spawn_blocking(|| thread.join().expect("no panic")).await.expect("it ends");
    assert!(places.is_sorted());
    node.stop().await;
}

/// The simplest of all executors: it parks the thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
