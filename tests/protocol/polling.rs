//! Long-polling on the wire: payloads of all framings, requests that overlap or break off, limits, and the ways a session ends.

use hobnob::transport::Config;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::wire::{Echo, Listening, Poller, read_answer, request};

const OCTETS: &str = "Content-Type: application/octet-stream";

fn close_packet(version: u8) -> String {
    if version == 3 { "1:1".to_owned() } else { "1".to_owned() }
}

async fn start() -> Listening<Echo> {
    Listening::echo(Config::default()).await
}

/// A request of which only the first bytes are sent.
async fn begin(client: &Poller<'_, Echo>, method: &str, body: &[u8], bytes_kept_back: usize) -> TcpStream {
    let bytes = request(method, &client.query, &[], body);
    let mut stream = TcpStream::connect(client.server.address).await.expect("it listens");
    stream.write_all(&bytes[..bytes.len() - bytes_kept_back]).await.expect("open");
    stream
}

#[tokio::test]
async fn version_3_mixes_text_and_binary_in_both_framings() {
    let server = start().await;
    // é, a binary message, an empty one, and a ping; the text counts bytes here.
    let octets = b"\x00\x03\xff4\xc3\xa9\x01\x03\xff\x04\x01\x02\x01\x01\xff\x04\x00\x01\xff2";
    let echoed = b"\x00\x03\xff4\xc3\xa9\x01\x03\xff\x04\x01\x02\x01\x01\xff\x04\x00\x01\xff3";

    let client = Poller::open(&server, 3, "").await;
    let posted = server.request("POST", &client.query, &[OCTETS], octets).await;
    assert_eq!(posted.said(), (200, "ok".to_owned()));
    let polled = client.get().await;
    assert_eq!(polled.header("content-type"), Some("application/octet-stream"));
    assert_eq!(polled.body, echoed);
    client.say("4text only").await;
    assert_eq!(client.get().await.header("content-type"), Some("text/plain; charset=UTF-8"));

    // The same client with b64=1 sends either framing, and gets text.
    let client = Poller::open(&server, 3, "&b64=1").await;
    for (headers, body) in [(&[OCTETS][..], &octets[..]), (&[], "2:4é6:b4AQI=2:b41:2".as_bytes())] {
        assert_eq!(server.request("POST", &client.query, headers, body).await.status, 200);
        let polled = client.get().await;
        assert_eq!(polled.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(polled.text(), "2:4é6:b4AQI=2:b41:3");
    }
}

#[tokio::test]
async fn version_4_mixes_text_and_base64() {
    let server = start().await;
    let client = Poller::open(&server, 4, "").await;
    client.say("4é\nbAQI=\nb\n4").await;
    assert_eq!(client.hear().await, "4é\nbAQI=\nb\n4");
}

/// What stands before the first broken packet has been handled by then.
#[tokio::test]
async fn a_payload_that_lies_about_its_lengths_ends_the_session() {
    let server = start().await;
    let lies: [(u8, &[&str], &[u8]); 11] = [
        (3, &[], b"2:4a9:4"),
        (3, &[], b"2:4a1:4b"),
        (3, &[], b"2:4a99999999999:4b"),
        (3, &[], "2:4a2:4\u{1f600}".as_bytes()),
        (3, &[], b"2:4a-1:4"),
        (3, &[OCTETS], b"\x00\x02\xff4a\x00\x09\xff4b"),
        (3, &[OCTETS], b"\x00\x02\xff4a\x01\x00\xff"),
        (3, &[OCTETS], b"\x00\x02\xff4a\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4b"),
        (3, &[OCTETS], b"2:4a"),
        (4, &[], b"4a\x1e"),
        (4, &[OCTETS], b"4a"),
    ];
    for (version, headers, body) in lies {
        let client = Poller::open(&server, version, "").await;
        let poll = client.get();
        let post = async {
            let answer = server.request("POST", &client.query, headers, body).await;
            assert_eq!(answer.said(), (400, String::new()), "{body:?}");
        };
        let (polled, ()) = tokio::join!(poll, post);
        // Its poll was there first or came too late; if it was there, it is told.
        let said = polled.said();
        let told = said.0 == 200 && said.1.ends_with(&close_packet(version));
        assert!(told || said.0 == 400, "{said:?}");
        client.is_gone().await;
    }
}

#[tokio::test]
async fn of_two_polls_the_first_is_told_the_end_and_the_second_refused() {
    let server = start().await;
    for version in [3, 4] {
        let client = Poller::open(&server, version, "").await;
        let mut first = begin(&client, "GET", b"", 0).await;
        // Answered only behind the first poll, which proves that it waits.
        client.say("6").await;
        assert_eq!(client.get().await.said(), (400, String::new()));
        let first = read_answer(&mut first).await.expect("an answer");
        assert_eq!(first.said(), (200, close_packet(version)));
        client.is_gone().await;
    }
}

#[tokio::test]
async fn of_two_posts_neither_overtakes_the_other() {
    let server = start().await;
    for version in [3, 4] {
        let client = Poller::open(&server, version, "").await;
        let body = client.payload("4first");
        let mut first = begin(&client, "POST", body.as_bytes(), 2).await;
        let mut poll = begin(&client, "GET", b"", 0).await;
        let second = loop {
            // Until the server has read the headers of the first one, this is the only one.
            let answer = client.post(client.payload("4second").as_bytes()).await;
            if answer.status == 400 {
                break answer;
            }
            poll = begin(&client, "GET", b"", 0).await;
        };
        assert_eq!(second.said(), (400, String::new()));
        read_answer(&mut poll).await;
        first.write_all(&body.as_bytes()[body.len() - 2..]).await.ok();
        if let Some(answer) = read_answer(&mut first).await {
            assert_eq!(answer.status, 400);
        }
        client.is_gone().await;
    }
}

#[tokio::test]
async fn posts_are_taken_while_a_poll_waits() {
    let server = start().await;
    for version in [3, 4] {
        let client = Poller::open(&server, version, "").await;
        for round in ["4one", "4two\n4three", "4four"] {
            let (heard, ()) = tokio::join!(client.hear(), client.say(round));
            let mut heard = heard;
            while heard.lines().count() < round.lines().count() {
                heard = format!("{heard}\n{}", client.hear().await);
            }
            assert_eq!(heard, round);
        }
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_ends_its_session() {
    let server = start().await;
    for (method, body, kept_back) in [("GET", &b""[..], 0), ("POST", b"4hello", 3)] {
        let client = Poller::open(&server, 4, "").await;
        let request = begin(&client, method, body, kept_back).await;
        assert_eq!(server.transport.sessions(), 1);
        drop(request);
        client.is_gone().await;
    }
}

#[tokio::test]
async fn a_body_of_the_limit_is_taken_and_one_byte_more_is_too_large() {
    const LIMIT: usize = 1_000;
    let server = Listening::echo(Config { max_http_buffer_bytes: LIMIT, ..Config::default() }).await;
    let chunked = |query: &str, bytes: usize| {
        let half = "a".repeat(bytes / 2 - 1);
        let rest = "a".repeat(bytes - bytes / 2);
        format!(
            "POST /socket.io/?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
             {:x}\r\n4{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
            half.len() + 1,
            rest.len()
        )
    };
    for is_chunked in [false, true] {
        let client = Poller::open(&server, 4, "").await;
        for (bytes, said) in [(LIMIT, (200, "ok")), (LIMIT + 1, (413, ""))] {
            let bytes = if is_chunked {
                chunked(&client.query, bytes).into_bytes()
            } else {
                request("POST", &client.query, &[], format!("4{}", "a".repeat(bytes - 1)).as_bytes())
            };
            if said.0 == 200 {
                assert_eq!(crate::wire::send(server.address, &bytes).await.expect("taken").said(), (200, "ok".into()));
                assert_eq!(client.get().await.body.len(), LIMIT);
                continue;
            }
            // Told twice: by the status, and by the close packet in the poll that waits.
            let mut poll = begin(&client, "GET", b"", 0).await;
            client.say("6").await;
            let refused = crate::wire::send(server.address, &bytes).await.expect("refused");
            assert_eq!(refused.said(), (413, String::new()));
            assert_eq!(refused.header("connection"), Some("close"), "the rest is no request");
            assert_eq!(read_answer(&mut poll).await.expect("told").said(), (200, "1".to_owned()));
            client.is_gone().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_closes_gets_a_noop_for_its_poll() {
    let server = start().await;
    for (version, noop) in [(3, "1:6"), (4, "6")] {
        let client = Poller::open(&server, version, "").await;
        let mut poll = begin(&client, "GET", b"", 0).await;
        client.say("6").await;
        client.say("1").await;
        assert_eq!(read_answer(&mut poll).await.expect("an answer").said(), (200, noop.to_owned()));
        client.is_gone().await;
    }
}

/// What was sent before arrives, and the close packet by itself: clients drop what comes in front of it in the same answer.
#[tokio::test]
async fn a_server_that_closes_says_everything_first() {
    let server = start().await;
    for version in [3, 4] {
        let client = Poller::open(&server, version, "").await;
        client.say("4bye").await;
        assert_eq!(client.hear().await, "4good\n4bye");
        assert_eq!(client.hear().await, "1");
        client.is_gone().await;

        let client = Poller::open(&server, version, "").await;
        let mut poll = begin(&client, "GET", b"", 0).await;
        client.say("6").await;
        client.say("4bye").await;
        let first = read_answer(&mut poll).await.expect("an answer").text();
        assert_eq!(first, client.payload("4good\n4bye"));
        assert_eq!(client.hear().await, "1");
        client.is_gone().await;
    }
}

#[tokio::test]
async fn packets_that_only_a_server_sends_and_heartbeats_of_the_other_side_end_the_session() {
    let server = start().await;
    for (version, packet) in
        [(4, "2"), (3, "3"), (4, "0{}"), (3, "0"), (4, "5"), (4, "7"), (3, "x"), (4, ""), (4, "bx")]
    {
        let client = Poller::open(&server, version, "").await;
        let answer = client.post(client.payload(packet).as_bytes()).await;
        assert_eq!(answer.said(), (400, String::new()), "{version} {packet:?}");
        client.is_gone().await;
    }
}

#[tokio::test]
async fn heartbeats_over_polling_keep_a_session_and_silence_ends_it() {
    let config = Config { ping_interval_ms: 40, ping_timeout_ms: 4_000, ..Config::default() };
    let server = Listening::echo(config.clone()).await;
    let client = Poller::open(&server, 4, "").await;
    for _ in 0..3 {
        assert_eq!(client.hear().await, "2");
        client.say("3").await;
    }
    let client = Poller::open(&server, 3, "").await;
    for _ in 0..3 {
        client.say("2").await;
        assert_eq!(client.hear().await, "3");
    }
    let server = Listening::echo(Config { ping_timeout_ms: 400, ..config }).await;
    for (version, heard) in [(4, &["2", "1"][..]), (3, &["1"])] {
        let client = Poller::open(&server, version, "").await;
        for packet in heard {
            assert_eq!(client.hear().await, *packet);
        }
        client.is_gone().await;
    }
}
