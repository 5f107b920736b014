//! P16: the limits that always hold, each with what is said and what ends when it is passed. Those of single fields are in `cases`.

use serde_json::json;

use super::{metrics, time_passes};
use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    packets::Packets,
    process::Server,
    raw::{Raw, TEXT, frame, upgrade},
    token, within,
};

/// The code of the close frame when these frames come from somebody who is signed in; `None` when there is no code in it.
async fn closed_after(server: &Server, frames: impl IntoIterator<Item = Vec<u8>>) -> Option<u16> {
    let mut raw = Raw::connect(server.address).await.open(Some(&token::of("eve"))).await;
    for frame in frames {
        if !raw.send(&frame).await {
            break;
        }
    }
    raw.closed().await
}

fn say(packet: &str) -> Vec<u8> {
    frame(TEXT, packet.as_bytes())
}

/// A binary event with so many attachments, all of them sent.
fn attachments(count: usize) -> Vec<Vec<u8>> {
    let places: Vec<String> = (0..count).map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#)).collect();
    let mut frames = vec![say(&format!(r#"45{count}-1["nope",{}]"#, places.join(",")))];
    frames.extend((0..count).map(|_| frame(0x82, b"x")));
    frames
}

/// An event whose payload is nested so deep.
fn nested(depth: usize) -> Vec<u8> {
    say(&format!(r#"421["nope",{}{}]"#, "[".repeat(depth - 1), "]".repeat(depth - 1)))
}

/// One event in so many fragments.
fn fragments(count: usize) -> Vec<Vec<u8>> {
    let mut frames = vec![frame(0x01, br#"421["nope""#)];
    frames.extend((2..count).map(|_| frame(0x00, b" ")));
    frames.push(frame(0x80, b"]"));
    frames
}

/// What is within the limit is answered, one more ends the session.
#[tokio::test(flavor = "multi_thread")]
async fn p16_packets_beyond_a_limit_end_their_session_and_those_at_it_are_answered() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let fill = |bytes: usize| say(&format!("421[\"nope\",\"{}\"]", "a".repeat(bytes - 14)));
    let name = |bytes: usize| say(&format!("421[\"{}\"]", "n".repeat(bytes)));
    for (what, at, beyond, code) in [
        ("bytes", vec![fill(1_000_000)], vec![fill(1_000_001)], Some(1009)),
        ("attachments", attachments(10), attachments(11), None),
        ("depth", vec![nested(64)], vec![nested(65)], None),
        ("name", vec![name(128)], vec![name(129)], None),
        ("fragments", fragments(1024), fragments(1100), Some(1002)),
    ] {
        let mut raw = Raw::connect(server.address).await.open(Some(&token::of("ann"))).await;
        for frame in at {
            raw.send(&frame).await;
        }
        loop {
            let packet = raw.text().await.unwrap_or_else(|| panic!("{what}: cut at the limit"));
            if packet.starts_with("431[") {
                assert!(packet.contains("unknown_event"), "{what}: {packet}");
                break;
            }
        }
        assert_eq!(closed_after(&server, beyond).await, code, "{what}");
    }
    let told = metrics(&server).await;
    for line in ["sessions_closed_total{reason=\"too large\"} 1", "sessions_closed_total{reason=\"parse error\"}"] {
        assert!(told.contains(&format!("hobnob_{line}")), "{line}: {told}");
    }
    server.logged("Session closed, its client refused", 5).await;
}

/// Each CONNECT costs a look at a token: after so many the session ends, whatever they are for.
#[tokio::test(flavor = "multi_thread")]
async fn p16_a_session_joins_so_many_namespaces_and_tries_so_often() {
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &[("HOBNOB_SOCKETIO__MAX_NAMESPACES", "2")]).await;
    let token = token::of("ann");
    let mut packets = Packets::join(server.address, "", &token).await;
    packets.send(&format!(r#"40/messages,{{"token":"{token}"}}"#)).await;
    packets.until("40/messages,").await;
    packets.send(&format!(r#"40/notifications,{{"token":"{token}"}}"#)).await;
    packets.closed().await;
    let mut packets = Packets::join(server.address, "", &token).await;
    for n in 0..70 {
        packets.send(&format!("40/nowhere{n},")).await;
    }
    packets.closed().await;
    let told = metrics(&server).await;
    let refused = told.lines().find_map(|line| line.strip_prefix("hobnob_refusals_total{code=\"not_found\"} "));
    let refused: usize = refused.expect("counted").parse().expect("a number");
    assert_eq!(refused, 63, "the one that was admitted counts, too");
}

/// Short times in place of the usual ones; the defaults stand in `config.example.toml`.
#[tokio::test(flavor = "multi_thread")]
async fn p16_who_takes_his_time_is_cut_off() {
    let sandbox = Sandbox::new();
    let variables = [
        ("HOBNOB_SOCKETIO__CONNECT_TIMEOUT_MS", "400"),
        ("HOBNOB_SERVER__HEADER_TIMEOUT_MS", "400"),
        ("HOBNOB_SERVER__BODY_TIMEOUT_MS", "400"),
    ];
    let server = Server::start_with(&sandbox, &variables).await;
    let begin = hobnob::clock::now();
    // No token, half a header, no header at all, half a body.
    Raw::connect(server.address).await.open(None).await.closed().await;
    for bytes in ["GET / HTTP/1.1\r\nHost: ", ""] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(bytes.as_bytes()).await;
        assert!(matches!(raw.status().await, None | Some(408)), "{bytes:?}");
    }
    let mut raw = Raw::connect(server.address).await;
    let head = "POST /api/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n";
    raw.send(format!("{head}Authorization: Bearer {}\r\n\r\n{{", token::of("ann")).as_bytes()).await;
    assert!(matches!(raw.status().await, Some(408 | 503)));
    assert!(begin.elapsed() < std::time::Duration::from_secs(10), "{:?}", begin.elapsed());
    let told = metrics(&server).await;
    assert!(told.contains("hobnob_sessions_closed_total{reason=\"connect timeout\"} 1\n"), "{told}");
    let config = include_str!("../../../config.example.toml");
    for line in ["connect_timeout_ms = 10000", "header_timeout_ms = 10000", "body_timeout_ms = 30000"] {
        assert!(config.contains(&format!("\n#{line}\n")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p16_requests_beyond_a_limit_are_refused_with_their_status() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let status = async |request: String| {
        let mut raw = Raw::connect(server.address).await;
        raw.send(request.as_bytes()).await;
        raw.status().await
    };
    let header = |bytes: usize| format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes));
    assert_eq!(status(header(15_000)).await, Some(200));
    assert_eq!(status(header(17_000)).await, Some(431));
    let headers = |count: usize| format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(status(headers(90)).await, Some(200));
    assert_eq!(status(headers(120)).await, Some(431));
    let body = json!({"conversationId": "x", "content": "a", "data": "a".repeat(65_536)});
    let refused = http::call(server.address, &token::of("ann"), "POST", "/api/messages", &body).await;
    assert_eq!(refused.refusal(), (413, "too_large".to_owned()));
    let told = metrics(&server).await;
    assert!(told.contains("hobnob_refusals_total{code=\"too_large\"} 1\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p16_sockets_of_a_user_and_sessions_of_an_address_are_limited() {
    let sandbox = Sandbox::new();
    let variables = [("HOBNOB_RATE_LIMITS__SOCKETS_PER_USER", "32"), ("HOBNOB_SERVER__TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start_with(&sandbox, &variables).await;
    let join = || Client::join(server.address, "/", json!({"token": token::of("ann")}));
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(join().await.expect("admitted"));
    }
    let error = join().await.err().expect("one too many");
    assert_eq!((&error["data"]["code"], &error["data"]["limit"]), (&json!("rate_limited"), &json!(32)), "{error}");
    clients.pop();
    let again = async {
        while let Err(error) = join().await {
            assert_eq!(error["data"]["code"], "rate_limited");
            time_passes(0.02).await;
        }
    };
    within("room for another socket", again).await;

    let open = async |address: String| {
        let mut raw = Raw::connect(server.address).await;
        raw.send(upgrade("", &format!("X-Forwarded-For: {address}\r\n")).as_bytes()).await;
        (raw.status().await, raw)
    };
    // Of one /64 they are one customer; of two they are two.
    let mut sessions = Vec::new();
    for n in 0..256 {
        let (status, raw) = open(format!("2001:db8:0:1::{n:x}")).await;
        assert_eq!(status, Some(101), "session {n}");
        sessions.push(raw);
    }
    assert_eq!(open("2001:db8:0:1:ffff::1".to_owned()).await.0, Some(429));
    assert_eq!(open("2001:db8:0:2::1".to_owned()).await.0, Some(101));
    let told = metrics(&server).await;
    let limited = told.lines().find(|line| line.starts_with("hobnob_refusals_total{code=\"rate_limited\"}"));
    assert!(limited.is_some_and(|line| !line.ends_with(" 0")), "{limited:?}");
}
