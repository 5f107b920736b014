//! From polling to WebSocket, by the byte: what goes over which transport when, and what an attempt that fails leaves behind.

use hobnob::transport::Config;
use tokio::io::AsyncWriteExt as _;

use crate::wire::{BINARY, Echo, Listening, Poller, TEXT, Wire, read_answer, request};

async fn probe(client: &Poller<'_, Echo>) -> Wire {
    let mut wire = Wire::connect(client.server.address, &client.upgrade_query()).await;
    wire.say("2probe").await;
    assert_eq!(wire.text().await, "3probe");
    wire
}

#[tokio::test]
async fn an_upgrade_loses_doubles_and_reorders_nothing() {
    let server = Listening::echo(Config::default()).await;
    for version in [3, 4] {
        let client = Poller::open(&server, version, "").await;
        let mut poll = tokio::net::TcpStream::connect(server.address).await.expect("it listens");
        poll.write_all(&request("GET", &client.query, &[], b"")).await.expect("open");
        client.say("6").await;
        let mut wire = probe(&client).await;
        // The poll that waits, and each new one, is released so that the client can stop polling.
        assert_eq!(read_answer(&mut poll).await.expect("released").text(), client.payload("6"));
        assert_eq!(client.hear().await, "6");
        // Polling goes on meanwhile, in both directions.
        client.say("4one\n4two").await;
        assert_eq!(client.hear().await, "4one\n4two");
        client.say("4three\n4burst 200").await;
        wire.say("5").await;
        wire.say("4last").await;
        assert_eq!(wire.text().await, "4three");
        for number in 1..=200 {
            assert_eq!(wire.text().await, format!("4m{number}"));
        }
        assert_eq!(wire.text().await, "4last");
        for method in ["GET", "POST"] {
            let refused = server.request(method, &client.query, &[], b"4late").await;
            assert_eq!(refused.said(), (400, r#"{"code":3,"message":"Bad request"}"#.to_owned()));
        }
        assert!(Wire::connect(server.address, &client.upgrade_query()).await.close_code().await.is_empty());
        wire.say("4still here").await;
        assert_eq!(wire.text().await, "4still here");
    }
}

/// The poll before the switch took some; the WebSocket brings what is behind them, and nothing twice.
#[tokio::test]
async fn a_poll_that_is_open_at_the_switch_is_released() {
    let server = Listening::echo(Config::default()).await;
    for version in [3, 4] {
        let client = Poller::open(&server, version, "").await;
        let mut wire = probe(&client).await;
        let switch = async {
            client.say("4burst 50").await;
            wire.say("5").await;
        };
        let ((), polled) = tokio::join!(switch, client.get());
        // It came in front of the messages, behind them, or behind the switch.
        let polled = if polled.status == 200 { client.packets(&polled.text()) } else { String::new() };
        let mut heard: Vec<String> = polled.lines().filter(|packet| *packet != "6").map(str::to_owned).collect();
        while heard.len() < 50 {
            heard.push(wire.text().await);
        }
        assert_eq!(heard, (1..=50).map(|number| format!("4m{number}")).collect::<Vec<_>>());
        wire.say("4end").await;
        assert_eq!(wire.text().await, "4end");
    }
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_the_session_on_polling_and_another_may_succeed() {
    let server = Listening::echo(Config::default()).await;
    let bad: [(u8, &[u8]); 9] = [
        (TEXT, b"5"),
        (TEXT, b"2"),
        (TEXT, b"2prob"),
        (TEXT, b"4hello"),
        (TEXT, b""),
        (TEXT, b"x"),
        (TEXT, &[b'2'; 200]),
        (BINARY, b"2probe"),
        (0x83, b"2probe"),
    ];
    let client = Poller::open(&server, 4, "").await;
    for (first, payload) in bad {
        let mut wire = Wire::connect(server.address, &client.upgrade_query()).await;
        wire.send(first, payload).await;
        assert!(wire.close_code().await.is_empty(), "{payload:?}");
        client.say("4still polling").await;
        assert_eq!(client.hear().await, "4still polling");
    }
    // Behind the probe, too.
    for (first, payload) in [(TEXT, &b"2probe"[..]), (TEXT, b"4early"), (BINARY, b"5"), (0x88, b"")] {
        let mut wire = probe(&client).await;
        wire.send(first, payload).await;
        assert!(wire.close_code().await.is_empty(), "{payload:?}");
        client.say("4still polling").await;
        assert_eq!(client.hear().await, "4still polling");
    }
    for _ in 0..3 {
        drop(probe(&client).await);
        client.say("4still polling").await;
        while client.hear().await == "6" {}
    }
    // The server may not have noticed the last one's end.
    let mut wire = loop {
        let mut wire = Wire::connect(server.address, &client.upgrade_query()).await;
        wire.say("2probe").await;
        if wire.frame().await == Some((TEXT, b"3probe".to_vec())) {
            break wire;
        }
    };
    wire.say("5").await;
    wire.say("4made it").await;
    assert_eq!(wire.text().await, "4made it");
}

#[tokio::test]
async fn a_second_candidate_is_closed_and_the_first_goes_on() {
    let server = Listening::echo(Config::default()).await;
    let client = Poller::open(&server, 4, "").await;
    let mut first = probe(&client).await;
    let second = Wire::connect(server.address, &client.upgrade_query()).await;
    assert!(second.close_code().await.is_empty());
    first.say("5").await;
    first.say("4made it").await;
    assert_eq!(first.text().await, "4made it");
}

#[tokio::test]
async fn a_candidate_that_takes_too_long_is_closed() {
    let server = Listening::echo(Config { upgrade_timeout_ms: 50, ..Config::default() }).await;
    let client = Poller::open(&server, 4, "").await;
    let silent = Wire::connect(server.address, &client.upgrade_query()).await;
    assert!(silent.close_code().await.is_empty());
    assert!(probe(&client).await.close_code().await.is_empty());
    client.say("4still polling").await;
    assert_eq!(client.hear().await, "4still polling");
}

#[tokio::test]
async fn a_candidate_ends_with_its_session() {
    let server = Listening::echo(Config::default()).await;
    let client = Poller::open(&server, 4, "").await;
    let wire = probe(&client).await;
    client.say("1").await;
    assert!(wire.close_code().await.is_empty());
    client.is_gone().await;
}

/// Over WebSocket a close packet is as good as a close frame, and what breaks Engine.IO ends in a frame without a code.
#[tokio::test]
async fn a_websocket_ends_with_a_close_frame() {
    let server = Listening::echo(Config { max_http_buffer_bytes: 1_000, ..Config::default() }).await;
    let large = vec![b'4'; 1_001];
    let cases: [(u8, u8, &[u8], &[u8]); 9] = [
        (4, TEXT, b"1", b""),
        (3, TEXT, b"1", b""),
        (4, TEXT, b"abc", b""),
        (4, TEXT, b"", b""),
        (4, TEXT, b"2", b""),
        (3, TEXT, b"3", b""),
        (3, BINARY, b"4a", b""),
        (4, TEXT, b"4\xff", &[0x03, 0xef]),
        (4, TEXT, &large, &[0x03, 0xf1]),
    ];
    for (version, first, payload, code) in cases {
        let (mut wire, _) = Wire::open(server.address, &format!("EIO={version}&transport=websocket")).await;
        wire.send(first, payload).await;
        assert_eq!(wire.close_code().await, code, "{version} {payload:?}");
        server.has_sessions(0).await;
    }
    let (mut wire, _) = Wire::open(server.address, "EIO=4&transport=websocket").await;
    wire.send(TEXT, &large[1..]).await;
    assert_eq!(wire.text().await.len(), 1_000, "the limit itself is taken");
    wire.say("4bye").await;
    assert_eq!([wire.text().await, wire.text().await], ["4good", "4bye"]);
    assert!(wire.close_code().await.is_empty());
}
