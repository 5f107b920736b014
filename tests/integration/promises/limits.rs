//! P15 and P28: a fast sender is slowed before he is cut, and no clock on the wall has a say in it.

use std::{fs, process::Stdio};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    packets::Packets,
    process::Server,
    token::{self, SECRET, in_seconds, signed},
    within,
};

/// Where the Debian package `faketime` puts it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// 60 events at once where 5 are allowed: each refused one hears so by its ack, and the event comes once a second.
#[tokio::test]
async fn p15_every_refused_event_is_answered_and_told_once_a_second() {
    let sandbox = Sandbox::new();
    let variables = [("RATE_LIMIT_MAX", "5"), ("RATE_LIMIT_WINDOW", "60000")];
    let server = Server::start_with(&sandbox, &variables).await;
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ben"]).await;
    let begin = hobnob::clock::now();
    let draft = json!({"conversationId": id, "content": "text"});
    let acks: Vec<_> = (0..40).map(|_| ann.call("message:send", &draft)).collect();
    let mut refused = 0;
    for ack in acks {
        let ack = ack.await.expect("an ack");
        if ack["ok"] == false {
            assert_eq!((&ack["code"], &ack["limit"]), (&json!("rate_limited"), &json!(5)), "{ack}");
            assert!(ack["retryAfterMs"].as_u64().is_some_and(|wait| wait > 0), "{ack}");
            refused += 1;
        }
    }
    // The group was one of the five.
    assert_eq!(refused, 36);
    let seconds = hobnob::clock::now().saturating_duration_since(begin).as_secs();
    // Another five limits: a flood, and the end of the session.
    for _ in 0..20 {
        ann.emit("message:send", &draft);
    }
    let events = ann.closed().await;
    let told = events.iter().filter(|event| event.name == "rate-limit-exceeded").count() as u64;
    assert!((1..=seconds + 2).contains(&told), "told {told} times in {seconds} s");
}

/// strace makes each sync of the disk last a second, so that requests pile up; it is killed with the test.
async fn slow_down(server: &Server) -> Child {
    let id = server.id().to_string();
    let delay = ["-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e"];
    let mut command = Command::new("strace");
    command.args(delay).args(["inject=fdatasync,fsync:delay_exit=1000000", "-p", &id]);
    command.stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("strace is installed");
    let stderr = child.stderr.take().expect("piped");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stderr));
    let line = within("strace to attach", lines.next_line()).await.expect("readable").expect("a line");
    assert!(line.contains("attached"), "{line}");
    child
}

async fn received(server: &Server) -> usize {
    let text = http::request(server.address, "GET", "/metrics", &[], b"").await.body;
    let line = text.lines().find_map(|line| line.strip_prefix(r#"hobnob_events_total{event="message:send"} "#));
    line.map_or(0, |count| count.parse().expect("a number"))
}

/// Most events that were read while the disk was slow, of `sent` that were there; at most `limit` may be under way.
async fn read_while_slow(sent: usize, limit: &str) -> usize {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("HOBNOB_SOCKETIO__IN_FLIGHT_EVENTS", limit)]).await;
    let ben = Client::connect(server.address, "ben").await;
    let id = ben.group(&["ann"]).await;
    let mut strace = slow_down(&server).await;
    let mut ann = Packets::join(server.address, "", &token::of("ann")).await;
    for n in 0..sent {
        ann.send(&format!(r#"42{n}["message:send",{{"conversationId":"{id}","content":"{n}"}}]"#)).await;
    }
    while received(&server).await < 64 {}
    let mut most = 0;
    for _ in 0..20 {
        // Somebody else is served all the while.
        ben.ok("heartbeat", json!({})).await;
        most = most.max(received(&server).await);
    }
    strace.kill().await.expect("killed");
    let mut in_order = Vec::new();
    while in_order.len() < sent {
        let packet = ann.until("43").await;
        in_order.push(packet[2..].split('[').next().expect("a number").parse::<usize>().expect("a number"));
    }
    assert_eq!(in_order, (0..sent).collect::<Vec<_>>(), "nothing is lost, and all in order");
    server.calm_log();
    most
}

/// A sync may end in between, and those that waited for it make room for as many.
#[tokio::test(flavor = "multi_thread")]
async fn p15_reading_from_a_socket_pauses_with_64_events_under_way() {
    let most = read_while_slow(400, "64").await;
    assert!((64..=2 * 64 + 1).contains(&most), "{most} were read while nothing was stored");
    let most = read_while_slow(400, "1000").await;
    assert!(most > 2 * 64 + 1, "it is the limit that holds them back: {most}");
}

/// An hour forward, then two back, while people are connected.
#[tokio::test(flavor = "multi_thread")]
async fn p28_a_jump_of_the_wall_clock_changes_no_connection_no_order_no_lock_and_deletes_nothing() {
    assert!(fs::exists(FAKETIME).is_ok_and(|there| there), "the Debian package faketime is needed");
    let sandbox = Sandbox::new().with("time", "+0");
    let file = sandbox.path("time");
    let variables = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("UTF-8")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("SOCKET_PING_INTERVAL", "200"),
        ("HOBNOB_RATE_LIMITS__EVENTS", r#"{"message:react": {"max": 1, "window_ms": 60000}}"#),
    ];
    let mut server = Server::start_with(&sandbox, &variables).await;
    let join = async |user: &str| {
        let claims = json!({"id": user, "exp": in_seconds(864_000)});
        let auth = json!({"token": signed(Algorithm::HS256, &claims, SECRET)});
        Client::join(server.address, "/", auth).await.expect("admitted")
    };
    let (ann, mut ben) = (join("ann").await, join("ben").await);
    let id = ann.group(&["ben"]).await;
    let soon = hobnob::clock::Timestamp::now().after(std::time::Duration::from_mins(10));
    let fleeting = json!({"conversationId": id, "content": "goes by itself", "expiresAt": soon});
    let sent = ann.ok("message:send", fleeting).await;
    ann.ok("message:lock", json!({"messageId": sent["id"]})).await;
    let reaction = json!({"messageId": sent["id"], "emoji": "👍"});
    ben.call("message:react", &json!({"messageId": "no id", "emoji": "👍"})).await.expect("an ack, and the only one");
    let mut dates = vec![date(&ben.event("message:new").await)];
    for (jumps, offset) in [(1, "+3600"), (2, "-3600")] {
        // As a whole, so that the server never reads half of it.
        fs::write(sandbox.path("next"), offset).expect("written");
        fs::rename(sandbox.path("next"), &file).expect("renamed");
        server.logged("the wall clock has jumped", jumps).await;
        for n in 0..3 {
            ann.ok("message:send", json!({"conversationId": id, "content": format!("{jumps} {n}")})).await;
            let message = ben.event("message:new").await;
            assert_eq!(message["seq"], 3 * (jumps - 1) + n + 2, "{message}");
            dates.push(date(&message));
        }
        ben.refused("locked", "message:lock", json!({"messageId": sent["id"]})).await;
        ben.refused("rate_limited", "message:react", reaction.clone()).await;
    }
    let jumps: Vec<i64> = dates.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
    assert_eq!(jumps, [3, 0, 0, -7, 0, 0], "the clock of the server did jump: {dates:?}");
    let (messages, _, _) = ben.missed(json!({}), 100).await.expect("an ack");
    let order: Vec<&Value> = messages.iter().map(|message| &message["seq"]).collect();
    assert_eq!(order, (1..=7).map(|seq| json!(seq)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(messages[0]["content"], "goes by itself", "nothing is deleted while the clock is in doubt");
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
}

fn date(message: &Value) -> i64 {
    let date = message["createdAt"].as_str().and_then(hobnob::clock::Timestamp::parse);
    date.expect("a date").as_millis()
}
