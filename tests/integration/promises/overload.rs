//! P14, P17 and P18: those who are connected notice nothing of slow readers, of too many who want in, and of scarce memory.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{process::Command, task::JoinSet};

use super::{cpu_seconds, metrics, time_passes, within_ready};
use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    process::{Server, Starting},
    raw::{Raw, allow_many_files, head, upgrade},
    token, within,
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

async fn metric(server: &Server, name: &str) -> u64 {
    let text = metrics(server).await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().expect("a number")
}

/// Everybody gets a message, one after the other; the times from sending to the last of them.
async fn rounds(sender: &Client, readers: &mut [Client], id: &str, texts: &[String]) -> Vec<Duration> {
    let mut times = Vec::new();
    for text in texts {
        let begin = hobnob::clock::now();
        sender.ok("message:send", json!({"conversationId": id, "content": text})).await;
        for reader in &mut *readers {
            assert_eq!(reader.event("message:new").await["content"], text.as_str(), "all of them, in order");
        }
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    times
}

/// One of 50 does not read at all, another one a kilobyte per second.
#[tokio::test(flavor = "multi_thread")]
async fn p14_slow_readers_delay_nobody_are_spared_the_ephemeral_then_cut_and_miss_nothing() {
    const MEMBERS: usize = 50;
    let sandbox = Sandbox::new();
    let mut server = Server::start_with(&sandbox, &[("HOBNOB_SOCKETIO__OUTBOX_BYTES", "1000000")]).await;
    let names: Vec<String> = (0..MEMBERS).map(|n| format!("user{n:02}")).collect();
    let sender = Client::connect(server.address, &names[0]).await;
    let mut readers = Vec::new();
    for name in &names[1..MEMBERS - 2] {
        readers.push(Client::connect(server.address, name).await);
    }
    let members: Vec<_> = names.iter().map(String::as_str).collect();
    let text = |n: usize| format!("{n:04} {}", "x".repeat(4900));
    let without = sender.group(&members[..MEMBERS - 2]).await;
    let before = rounds(&sender, &mut readers, &without, &(0..30).map(text).collect::<Vec<_>>()).await;

    let stopped = Raw::narrow(server.address).await.open(Some(&token::of(&names[MEMBERS - 1]))).await;
    let mut slow = Raw::narrow(server.address).await.open(Some(&token::of(&names[MEMBERS - 2]))).await;
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        while slow.frame().await.is_some() {
            // One frame has five kilobytes.
            time_passes(5.0).await;
        }
    });
    let id = sender.group(&members).await;
    let (mut count, mut during) = (0, Vec::new());
    let mut dropped_first = false;
    while metric(&server, "hobnob_slow_consumers_total").await < 2 {
        assert!(count < 3000, "nobody is cut");
        during.extend(rounds(&sender, &mut readers, &id, &(count..count + 20).map(text).collect::<Vec<_>>()).await);
        count += 20;
        // Another one each time: the same one is told less often.
        let typist = &readers[count / 20 % readers.len()];
        typist.emit("user:typing", &json!({"conversationId": id, "isTyping": true}));
        typist.ok("heartbeat", json!({})).await;
        let dropped = metric(&server, "hobnob_volatile_dropped_total").await;
        dropped_first |= dropped > 0 && metric(&server, "hobnob_slow_consumers_total").await == 0;
    }
    assert!(dropped_first, "what is worthless when late goes first");
    during.sort_unstable();
    let (before, during) = (before[before.len() / 2], during[during.len() / 2]);
    assert!(during < before * 2 + Duration::from_millis(20), "{before:?} without slow readers, {during:?} with them");
    let told = metrics(&server).await;
    assert!(told.contains("hobnob_refusals_total{code=\"slow_consumer\"} 2\n"), "{told}");
    server.logged("\"slow_consumer\"", 2).await;
    drop(stopped);
    drop(reading);

    // All that was sent while they were slow waits, and comes.
    for user in [&names[MEMBERS - 1], &names[MEMBERS - 2]] {
        let mut back = Client::connect(server.address, user).await;
        let mut next = None;
        while next.is_none_or(|next| next < count) {
            let message = back.event("message:new").await;
            let n: usize = message["content"].as_str().expect("a text")[..4].parse().expect("a number");
            assert!(next.is_none_or(|next| next == n), "{n} instead of {next:?}");
            // Who has read some of it need not get that a second time, who has read nothing gets all.
            assert!(next.is_some() || *user == names[MEMBERS - 2] || n == 0, "the first is {n}");
            next = Some(n + 1);
        }
    }
}

async fn prlimit(id: u32, soft: u32, hard: u32) {
    let status =
        Command::new("prlimit").args([format!("--pid={id}"), format!("--nofile={soft}:{hard}")]).status().await;
    assert!(status.expect("prlimit is installed").success());
}

/// How many of these WebSockets have been opened.
async fn opened(waiting: &mut JoinSet<Option<Raw>>, at_least: usize) -> Vec<Raw> {
    let mut open = Vec::new();
    while open.len() < at_least {
        let next = within("a WebSocket", waiting.join_next()).await.expect("enough of them").expect("no panic");
        open.extend(next);
    }
    open
}

fn open_many(server: &Server, count: usize) -> JoinSet<Option<Raw>> {
    let mut waiting = JoinSet::new();
    for _ in 0..count {
        let address = server.address;
        waiting.spawn(async move {
            let mut raw = Raw::connect(address).await;
            raw.send(upgrade("", "").as_bytes()).await;
            // Whoever waits in the queue of the kernel is patient.
            (raw.patient_status().await == Some(101)).then_some(raw)
        });
    }
    waiting
}

/// 128 files from the start: as many connections as leave enough for everything else, and all others wait their turn.
#[tokio::test(flavor = "multi_thread")]
async fn p17_with_few_files_the_server_takes_what_it_can_and_the_others_when_some_have_gone() {
    allow_many_files();
    let sandbox = Sandbox::new();
    let mut server = Starting::spawn_with_files(&sandbox, 128).listening().await;
    server.logged("fewer connections than `server.max_connections`", 1).await;
    let (ann, mut ben) = (Client::connect(server.address, "ann").await, Client::connect(server.address, "ben").await);
    let id = ann.group(&["ben"]).await;
    let mut waiting = open_many(&server, 300);
    let first = opened(&mut waiting, 64 - 2).await;
    let before = cpu_seconds(&server);
    for n in 0..20 {
        ann.ok("message:send", json!({"conversationId": id, "content": format!("{n}")})).await;
        assert_eq!(ben.event("message:new").await["content"], format!("{n}"));
        time_passes(0.1).await;
        assert!(waiting.try_join_next().is_none(), "more than there is room for");
    }
    let used = cpu_seconds(&server) - before;
    assert!(used < 0.4, "{used} s of processor time in 2 s");
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.id())).expect("it runs").count();
    assert!(files <= 128 - 32, "{files} files are open");
    drop(first);
    drop(opened(&mut waiting, 64 - 2).await);
    drop(opened(&mut waiting, 64 - 2).await);
    server.calm_log();
}

/// The limit falls while the server runs, as if something else had opened the files.
#[tokio::test(flavor = "multi_thread")]
async fn p17_without_a_file_for_one_more_connection_the_others_go_on_and_there_is_no_busy_loop() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let (ann, mut ben) = (Client::connect(server.address, "ann").await, Client::connect(server.address, "ben").await);
    let id = ann.group(&["ben"]).await;
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.id())).expect("it runs").count();
    let files = u32::try_from(files).expect("few");
    prlimit(server.id(), files, 4096).await;
    let mut waiting = open_many(&server, 200);
    server.logged("cannot accept connections", 1).await;
    let before = cpu_seconds(&server);
    for n in 0..30 {
        ann.ok("message:send", json!({"conversationId": id, "content": format!("{n}")})).await;
        assert_eq!(ben.event("message:new").await["content"], format!("{n}"));
        time_passes(0.1).await;
    }
    let used = cpu_seconds(&server) - before;
    assert!(used < 0.6, "{used} s of processor time in 3 s");
    let told = server.calm_log().matches("cannot accept connections").count();
    assert!(told < 10, "told {told} times in three seconds");
    prlimit(server.id(), 4096, 4096).await;
    drop(opened(&mut waiting, 190).await);
}

/// Memory that a hundred megabytes of unfinished messages take, with a mark that the caches alone do not reach.
#[tokio::test(flavor = "multi_thread")]
async fn p18_with_scarce_memory_new_sessions_are_refused_and_those_that_are_there_go_on() {
    const MARK: u64 = 170 << 20;
    let sandbox = Sandbox::new();
    let variables = [
        ("HOBNOB_SERVER__MEMORY_HIGH_BYTES", MARK.to_string()),
        ("HOBNOB_SERVER__MAX_CONNECTIONS", "400".to_owned()),
        ("HOBNOB_STORAGE__CACHE_BYTES", "1048576".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::start_with(&sandbox, &variables).await;
    let (ann, mut ben) = (Client::connect(server.address, "ann").await, Client::connect(server.address, "ben").await);
    let id = ann.group(&["ben"]).await;
    let mut hogs = Vec::new();
    for n in 0..220 {
        let mut hog = Raw::connect(server.address).await.open(Some(&token::of("eve"))).await;
        hog.send(&head(0x81, 990_000)).await;
        hog.send(&vec![b'x'; 980_000]).await;
        hogs.push(hog);
        if n % 10 == 0 && metric(&server, "hobnob_memory_bytes").await > MARK {
            break;
        }
    }
    let told = within_ready(&server, 503).await;
    assert_eq!(told["obstacles"], json!(["P18: memory is scarce"]));
    let refused = http::request(server.address, "GET", POLLING, &[], b"").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    let mut raw = Raw::connect(server.address).await;
    raw.send(upgrade("", "").as_bytes()).await;
    assert_eq!(raw.status().await, Some(503));
    for n in 0..20 {
        ann.ok("message:send", json!({"conversationId": id, "content": format!("{n}")})).await;
        assert_eq!(ben.event("message:new").await["content"], format!("{n}"));
    }
    let answer = http::call(server.address, &token::of("ann"), "GET", "/api/conversations", &Value::Null).await;
    assert_eq!(answer.status, 200, "who is signed in is served over REST, too");
    assert_eq!(http::request(server.address, "GET", "/healthz", &[], b"").await.status, 200);
    let told = metrics(&server).await;
    assert!(told.contains("hobnob_refusals_total{code=\"unavailable\"} 2\n"), "{told}");
    server.logged("Handshake refused", 2).await;
    drop(hogs);
    within_ready(&server, 200).await;
    Client::connect(server.address, "cem").await;
}

#[test]
fn p18_settings_that_need_more_memory_than_allowed_are_refused_with_the_sum() {
    let settings =
        "[server]\nmemory_high_bytes = 300000000\nmax_connections = 10000\n[storage]\ncache_bytes = 2000000\n";
    let sandbox = Sandbox::new().with("config.toml", settings);
    for command in [&["serve"][..], &["check-config"]] {
        let line = sandbox.run(command).failed(78);
        assert_eq!(
            line,
            "config.toml:2: `server.memory_high_bytes` is 300000000, less than what may be in memory at once: 2000000 \
             (`storage.cache_bytes`) + 134217728 (what waits to be written) + 163840000 (`server.max_connections` = 10000, \
             `socketio.unauthenticated_bytes` = 16384 each) = 300057728 bytes"
        );
    }
}
