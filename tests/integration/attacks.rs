//! What brought down other servers of this kind, against the real binary: whoever sends it loses his connection at most, and it costs
//! little. What the codecs refuse by themselves is in `tests/protocol`; tokens and origins are in `credentials` and `tokens`.

use std::{collections::HashSet, fs};

use serde_json::{Value, json};

use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    process::Server,
    raw::{Raw, TEXT, frame, head, upgrade},
    token,
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A server under attack, and two who talk to each other all the while.
struct Target {
    server: Server,
    ann: Client,
    ben: Client,
    id: String,
    _sandbox: Sandbox,
}

impl Target {
    async fn start() -> Self {
        let sandbox = Sandbox::new();
        let server = Server::start(&sandbox).await;
        let ann = Client::connect(server.address, "ann").await;
        let ben = Client::connect(server.address, "ben").await;
        let id = ann.group(&["ben"]).await;
        Self { server, ann, ben, id, _sandbox: sandbox }
    }

    /// The others are served, and nothing has panicked.
    async fn goes_on(&mut self, after: &str) {
        let sent =
            self.ann.ok("message:send", json!({"conversationId": self.id, "content": format!("after {after}")})).await;
        assert_eq!(self.ben.event("message:new").await["id"], sent["id"], "{after}");
        self.server.calm_log();
    }

    async fn raw(&self) -> Raw {
        Raw::connect(self.server.address).await
    }

    async fn eve(&self) -> Raw {
        self.raw().await.open(Some(&token::of("eve"))).await
    }

    async fn get(&self, path: &str) -> http::Answer {
        http::request(self.server.address, "GET", path, &[], b"").await
    }

    /// A new polling session.
    async fn sid(&self, path: &str) -> String {
        let opened = self.get(path).await;
        let start = opened.body.find("\"sid\":\"").expect("a handshake") + 7;
        opened.body[start..].split('"').next().expect("a sid").to_owned()
    }

    /// Seconds of processor time and bytes of memory used so far.
    fn used(&self) -> (f64, u64) {
        let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.server.id())).expect("it runs");
        let stat = of("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        let status = of("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("told");
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        ((ticks(11) + ticks(12)) / 100.0, kib * 1024)
    }
}

/// 300,000 CONNECTs in a body, or as many as fit: the official server works on it for 20 s and takes 850 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connects_in_one_body_costs_neither_time_nor_memory() {
    let mut target = Target::start().await;
    let (time, memory) = target.used();
    for (version, one, between) in [(4, "40", "\u{1e}"), (4, "40/x,", "\u{1e}"), (3, "2:40", ""), (3, "1:2", "")] {
        let path = format!("/socket.io/?EIO={version}&transport=polling");
        for count in [7_000, 300_000] {
            let sid = target.sid(&path).await;
            let body = vec![one; count].join(between);
            let answer =
                http::try_request(target.server.address, "POST", &format!("{path}&sid={sid}"), &[], body.as_bytes())
                    .await;
            let status = answer.map(|answer| answer.status);
            assert!(matches!(status, None | Some(200 | 400 | 413)), "{one} {count}: {status:?}");
            target.goes_on(one).await;
        }
    }
    let (after, peak) = target.used();
    assert!(after - time < 4.0, "{} s of processor time", after - time);
    assert!(peak - memory < 32 << 20, "{} bytes", peak - memory);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_ids_are_long_and_never_the_same() {
    let target = Target::start().await;
    let mut ids = HashSet::new();
    for _ in 0..300 {
        let sid = target.sid(POLLING).await;
        assert!(sid.len() >= 20 && ids.insert(sid.clone()), "{sid}");
    }
    let firsts: HashSet<char> = ids.iter().filter_map(|sid| sid.chars().next()).collect();
    assert!(firsts.len() > 20, "they begin alike: {firsts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_queries_are_answered_with_a_code_with_and_without_an_upgrade() {
    let mut target = Target::start().await;
    let sid = target.sid(POLLING).await;
    for query in [
        "",
        "EIO=4",
        "EIO=4&transport=carrier-pigeon",
        "EIO=4&transport=constructor",
        "EIO=5&transport=polling",
        "EIO[]=4&transport=polling",
        "EIO=4&EIO=9&transport=polling",
        "EIO=4&transport=polling&sid=nobody",
        "EIO=4&transport=websocket&sid=__proto__",
        "EIO=4&transport=polling&sid=%00%ff",
        "%EIO=4&transport=polling&sid=%",
    ] {
        for more in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
            let mut raw = target.raw().await;
            raw.send(format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: a\r\n{more}\r\n").as_bytes()).await;
            assert_eq!(raw.status().await, Some(400), "{query} {more}");
        }
        target.goes_on(query).await;
    }
    for method in ["PUT", "DELETE", "TRACE", "PATCH"] {
        let answer = http::request(target.server.address, method, POLLING, &[], b"").await;
        assert!((400..500).contains(&answer.status), "{method}: {answer:?}");
    }
    // Whatever its body calls itself, it is read as packets or refused; nothing stays open.
    for kind in ["application/json", "multipart/form-data; boundary=x", "image/png", "constructor"] {
        let path = format!("{POLLING}&sid={sid}");
        let answer = http::request(target.server.address, "POST", &path, &[("Content-Type", kind)], b"{}").await;
        assert_eq!(answer.status, 400, "{kind}");
    }
    target.goes_on("kinds of bodies").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_break_the_rules_end_their_connection_with_the_code_for_it() {
    let mut target = Target::start().await;
    let masked = |first: u8, payload: &[u8]| frame(first, payload);
    let unmasked = [&[TEXT, 2][..], b"42"].concat();
    let huge = |length: u64| [&[TEXT, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    for (what, bytes, code) in [
        ("RSV2", masked(0xa1, b"42"), 1002),
        ("RSV3", masked(0x91, b"42"), 1002),
        ("RSV1 that was not agreed", masked(0xc1, b"42"), 1002),
        ("an unknown opcode", masked(0x83, b"42"), 1002),
        ("an unknown control frame", masked(0x8b, b""), 1002),
        ("no mask", unmasked, 1002),
        ("a continuation of nothing", masked(0x80, b"42"), 1002),
        ("a long ping", masked(0x89, &[0; 126]), 1002),
        ("a ping in fragments", masked(0x09, b"x"), 1002),
        ("a length of 2^63", huge(1 << 63), 1002),
        ("a length of 2^64 - 1", huge(u64::MAX), 1002),
        ("a length of 2^40", huge(1 << 40), 1009),
        ("no UTF-8", masked(TEXT, b"\xff\xfe"), 1007),
        ("a close code that may not be sent", masked(0x88, &1005_u16.to_be_bytes()), 1002),
        ("a close frame of one byte", masked(0x88, b"x"), 1002),
    ] {
        let mut raw = target.eve().await;
        raw.send(&bytes).await;
        let closed = raw.closed().await;
        // The top bit of a length may be found by the limit as well as by the rule.
        assert!(closed == Some(code) || (what.starts_with("a length") && closed == Some(1009)), "{what}: {closed:?}");
        target.goes_on(what).await;
    }
}

/// Pings, pongs, empty fragments, acks that nobody waits for, by the thousand: no answer beyond one each, and no work.
#[tokio::test(flavor = "multi_thread")]
async fn small_frames_by_the_thousand_are_counted_or_passed_over() {
    let mut target = Target::start().await;
    let mut raw = target.eve().await;
    for _ in 0..5_000 {
        raw.send(&frame(0x8a, b"never asked")).await;
        raw.say("3").await;
        raw.say("4312345[]").await;
    }
    raw.send(&frame(0x89, b"echo")).await;
    loop {
        let (first, payload) = raw.frame().await.expect("still there");
        if first == 0x8a {
            assert_eq!(payload, b"echo", "exactly what came");
            break;
        }
    }
    target.goes_on("pongs").await;
    let mut raw = target.eve().await;
    raw.send(&frame(0x01, b"42")).await;
    for _ in 0..300_000 / 64 {
        if !raw.send(&frame(0x00, b"").repeat(64)).await {
            break;
        }
    }
    assert!(matches!(raw.closed().await, None | Some(1002)));
    target.goes_on("empty fragments").await;
    // He sends pings and reads no pongs.
    let (_, memory) = target.used();
    let mut raw = Raw::narrow(target.server.address).await.open(Some(&token::of("eve"))).await;
    let pings = frame(0x89, &[7; 125]).repeat(1000);
    let flood = async {
        for _ in 0..200 {
            if !raw.send(&pings).await {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(3), flood).await.unwrap_or_default();
    target.goes_on("pings").await;
    assert!(target.used().1 - memory < 16 << 20, "{} bytes", target.used().1 - memory);
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_that_are_broken_off_leave_nothing_behind() {
    let mut target = Target::start().await;
    let sessions = async |target: &Target| {
        let told = target.get("/metrics").await.body;
        let counts = told.lines().filter_map(|line| line.strip_prefix("hobnob_sessions{")?.rsplit(' ').next());
        counts.map(|count| count.parse::<u64>().expect("a number")).sum::<u64>()
    };
    for n in 0..60 {
        let sid = target.sid(POLLING).await;
        let mut raw = target.raw().await;
        raw.send(upgrade(&format!("&sid={sid}"), "").as_bytes()).await;
        if n % 2 == 0 {
            assert_eq!(raw.status().await, Some(101));
            raw.say("2probe").await;
        }
        if n % 3 == 0 {
            raw.reset();
        }
        let mut raw = target.raw().await;
        raw.send(upgrade("", "").as_bytes()).await;
        raw.reset();
    }
    target.goes_on("upgrades").await;
    let swept = async {
        while sessions(&target).await > 2 {
            tokio::task::yield_now().await;
        }
    };
    crate::support::within("the sessions to be swept", Box::pin(swept)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_handshakes_are_refused_or_harmless() {
    let mut target = Target::start().await;
    for (what, more, status) in [
        ("an extension named like a property", "Sec-WebSocket-Extensions: constructor\r\n".to_owned(), 101),
        ("an extension of blanks", format!("Sec-WebSocket-Extensions: a{}b\r\n", " ".repeat(12_000)), 101),
        (
            "parameters without end",
            format!("Sec-WebSocket-Extensions: permessage-deflate{}\r\n", "; a".repeat(4_000)),
            101,
        ),
        ("a protocol of blanks", format!("Sec-WebSocket-Protocol: {}x\r\n", " ".repeat(12_000)), 101),
        ("a user agent of colours", "User-Agent: \x1b[31m${jndi:ldap://x}\u{fffd}\r\n".to_owned(), 101),
        ("more headers than allowed", "A: b\r\n".repeat(120), 431),
        ("a header that is too long", format!("A: {}\r\n", "b".repeat(20_000)), 431),
    ] {
        let before = hobnob::clock::now();
        let mut raw = target.raw().await;
        raw.send(upgrade("", &more).as_bytes()).await;
        let found = raw.status().await;
        // A control character may be refused as such.
        assert!(found == Some(status) || (what.contains("colours") && found == Some(400)), "{what}: {found:?}");
        assert!(before.elapsed().as_secs() < 2, "{what}");
        target.goes_on(what).await;
    }
    assert!(!target.server.calm_log().contains('\u{1b}'));
    // An announced body is not allocated.
    let (_, memory) = target.used();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let sid = target.sid(POLLING).await;
        let mut raw = target.raw().await;
        let path = format!("{POLLING}&sid={sid}");
        raw.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nx").as_bytes()).await;
        waiting.push(raw);
    }
    target.goes_on("announced bodies").await;
    assert!(target.used().1 - memory < 16 << 20, "{} bytes", target.used().1 - memory);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_could_be_read_in_two_ways_are_refused_and_paths_lead_nowhere_else() {
    let mut target = Target::start().await;
    for (what, head) in [
        ("two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n"),
        ("a signed length", "Content-Length: +5\r\n"),
        ("a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("a blank before the colon", "Content-Length : 5\r\n"),
        ("a line that goes on", "X: a\r\n b\r\nContent-Length: 5\r\n"),
    ] {
        let mut raw = target.raw().await;
        raw.send(format!("POST /api/messages HTTP/1.1\r\nHost: a\r\n{head}\r\nhello").as_bytes()).await;
        let status = raw.status().await;
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{what}: {status:?}");
        target.goes_on(what).await;
    }
    for path in
        ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/socket.io/../metrics", "/.env", "/%2e%2e/"]
    {
        let answer = target.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!answer.body.contains("root:"), "{path}");
    }
    let answer = http::call(target.server.address, &token::of("ann"), "GET", "/nowhere", &Value::Null).await;
    assert_eq!(answer.header("server"), None, "no banner");
}

/// A header of an event, and the connection ends before what belongs to it: half of it dies with the connection.
#[tokio::test(flavor = "multi_thread")]
async fn half_an_event_dies_with_its_connection() {
    let mut target = Target::start().await;
    for _ in 0..30 {
        let mut raw = target.eve().await;
        raw.say(r#"451-7["message:send",{"_placeholder":true,"num":0}]"#).await;
        raw.send(&head(0x82, 5_000)).await;
        raw.reset();
        let mut raw = target.eve().await;
        raw.say(r#"451-7["message:send",{"_placeholder":true,"num":"splice"}]"#).await;
        assert_eq!(raw.closed().await, None, "closed without a code");
    }
    target.goes_on("halves").await;
}
