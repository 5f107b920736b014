//! The real binary killed at random moments under load: what it has acknowledged is there afterwards, once and in order.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "in a test a panic is the report, and the seed has to be told"
)]
#![allow(unreachable_pub, reason = "the modules of one test program share what is in `support`")]

mod checker;
mod durable;
mod load;
mod reader;
#[allow(dead_code, reason = "each test program uses its own part")]
#[path = "../support/mod.rs"]
mod support;

use std::{net::SocketAddr, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use checker::{Attempt, Deletion, History};
use reader::Reader;
use support::{
    client::Client,
    command::Sandbox,
    process::{Server, Starting},
    within,
};

const ROUNDS: usize = 50;
const SENDERS: [&str; 4] = ["ann", "ben", "cem", "dot"];
/// They catch up after every restart with pages of these sizes, and read along live.
const READERS: [(&str, usize); 2] = [("eve", 500), ("fay", 7)];
const CONVERSATIONS: usize = 3;

/// One data directory through all rounds, and what is known of it.
struct World {
    sandbox: Sandbox,
    conversations: Vec<String>,
    readers: Vec<Reader>,
    history: History,
    /// Messages whose fate is not known, from the last round.
    unknown: Vec<Attempt>,
    repeats: usize,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::new();
        let server = Server::start(&sandbox).await;
        let ann = Client::connect(server.address, SENDERS[0]).await;
        let members: Vec<&str> = SENDERS.iter().chain(READERS.iter().map(|(user, _)| user)).copied().collect();
        let mut conversations = Vec::new();
        for _ in 0..CONVERSATIONS {
            conversations.push(ann.group(&members).await);
        }
        // The groups were acknowledged: this end, too, has to be one that loses nothing.
        server.kill().await;
        let readers = vec![Reader::default(); READERS.len()];
        Self { sandbox, conversations, readers, history: History::default(), unknown: Vec::new(), repeats: 0 }
    }

    /// Load until the moment, then SIGKILL.
    async fn round(&mut self, server: Server, (seed, first): (u64, u64), moment: Duration) {
        let mut reading = JoinSet::new();
        for (user, _) in READERS {
            reading.spawn(load::read(Client::connect(server.address, user).await));
        }
        let (acks, mut acked) = watch::channel(0);
        let mut sending = JoinSet::new();
        for (client, user) in load::connect(server.address, &SENDERS).await.into_iter().zip(SENDERS) {
            let conversations = self.conversations.clone();
            sending.spawn(load::send(client, user.to_owned(), conversations, (seed, first), acks.clone()));
        }
        within("a first ack", acked.wait_for(|acks| *acks > 0)).await.expect("senders");
        // Nobody stops by himself: this ends at the moment.
        let end = timeout(moment, sending.join_next()).await;
        assert!(end.is_err(), "a sender stopped before the server was killed");
        server.kill().await;
        for mut attempt in within("the senders", sending.join_all()).await.into_iter().flatten() {
            if attempt.acked > 0 {
                self.history.attempts.push(attempt);
            } else {
                attempt.order = None;
                self.unknown.push(attempt);
            }
        }
        for receipts in within("the readers", reading.join_all()).await {
            self.history.received.extend(receipts);
        }
    }

    /// Every reader catches up; then what is stored is compared with all that was promised.
    async fn check(&mut self, address: SocketAddr) {
        for (reader, (user, limit)) in self.readers.iter_mut().zip(READERS) {
            reader.catch_up(&Client::connect(address, user).await, limit).await;
        }
        let [stored, other] = [0, 1].map(|index| self.readers[index].conversations());
        assert_eq!(format!("{stored:?}"), format!("{other:?}"), "two readers have different things");
        let mut history = History { stored, ..self.history.clone() };
        history.attempts.extend(self.unknown.iter().cloned());
        assert_eq!(checker::check(&history), [""; 0]);
        // Live events are checked once, right after their round.
        self.history.received.clear();
    }

    /// Whoever got no ack asks again with the same key: stored already or not, it is there once.
    async fn repeat(&mut self, address: SocketAddr) {
        for user in SENDERS {
            let client = Client::connect(address, user).await;
            for attempt in self.unknown.iter_mut().filter(|attempt| attempt.sender == user) {
                let before = self.readers[0].find(&attempt.conversation, &attempt.client_id);
                let ack = client.call("message:send", &load::request(attempt)).await;
                load::accept(attempt, ack.as_ref());
                let duplicate = ack.is_some_and(|ack| ack["duplicate"] == true);
                assert_eq!(duplicate, before.is_some(), "{attempt:?}");
                assert!(before.is_none() || before == attempt.place.as_ref(), "{before:?} {attempt:?}");
                self.repeats += usize::from(duplicate);
            }
        }
        self.history.attempts.append(&mut self.unknown);
    }
}

/// Done when 3 of the first issue: P2, with P3 and P5 for what was not acknowledged, and P4 for what readers see.
#[tokio::test(flavor = "multi_thread")]
async fn p2_kill_9_loses_nothing_acknowledged() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    for round in 0..ROUNDS as u64 {
        if round % 5 == 4 {
            // A crash in the middle of the recovery from a crash.
            let mut starting = Starting::spawn(&world.sandbox, &[]);
            let moment = Duration::from_micros(random.random_range(0..60_000));
            timeout(moment, starting.address()).await.ok();
            starting.kill().await;
        }
        let server = Server::start(&world.sandbox).await;
        world.check(server.address).await;
        world.repeat(server.address).await;
        let moment = Duration::from_millis(random.random_range(50..400));
        world.round(server, (random.random(), round << 32), moment).await;
    }
    let server = Server::start(&world.sandbox).await;
    world.check(server.address).await;
    world.repeat(server.address).await;
    world.check(server.address).await;
    everything_is_read_from_the_start(&world, server.address).await;
    eprintln!("{}", summary(&world));
}

/// A reader without cursors gets what the others have put together over all rounds; and so does one who asks for pages of
/// history.
async fn everything_is_read_from_the_start(world: &World, address: SocketAddr) {
    let mut fresh = Reader::default();
    fresh.catch_up(&Client::connect(address, "eve").await, 500).await;
    let fresh = fresh.conversations();
    assert_eq!(format!("{fresh:?}"), format!("{:?}", world.readers[0].conversations()));
    let token = support::token::of("fay");
    for (id, conversation) in &fresh {
        let mut seqs = Vec::new();
        loop {
            let after = seqs.last().copied().unwrap_or(0);
            let path = format!("/api/messages/conversation/{id}?limit=100&after={after}");
            let page = support::http::call(address, &token, "GET", &path, &serde_json::Value::Null).await.json();
            let messages = page["messages"].as_array().expect("messages");
            if messages.is_empty() {
                break;
            }
            seqs.extend(messages.iter().map(|message| load::place(message).seq));
        }
        let expected: Vec<u64> = conversation.messages.iter().map(|stored| stored.place.seq).collect();
        assert_eq!(seqs, expected, "{id}");
    }
}

/// What was put to the test; a run that has tested next to nothing fails.
fn summary(world: &World) -> String {
    let attempts = &world.history.attempts;
    let edited = attempts.iter().filter(|attempt| attempt.acked > 1).count();
    let deleted = attempts.iter().filter(|attempt| attempt.deletion == Deletion::Acked).count();
    assert!(attempts.len() > ROUNDS * 10 && edited > 0 && deleted > 0, "{} messages", attempts.len());
    format!(
        "{ROUNDS} kills: {} messages, {edited} edited, {deleted} deleted, {} found stored without an ack",
        attempts.len(),
        world.repeats
    )
}
