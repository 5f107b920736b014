//! Which request may do what: statuses, codes and words of the official server, by the byte.

use std::time::Duration;

use hobnob::{
    clock,
    transport::{Config, TransportName},
};

use crate::wire::{Answer, BINARY, HANDSHAKE, Listening, Poller, Wire, send, upgrade};

const TRANSPORT_UNKNOWN: (u8, &str) = (0, "Transport unknown");
const UNKNOWN_SID: (u8, &str) = (1, "Session ID unknown");
const BAD_METHOD: (u8, &str) = (2, "Bad handshake method");
const BAD_REQUEST: (u8, &str) = (3, "Bad request");
const UNSUPPORTED: (u8, &str) = (5, "Unsupported protocol version");

/// Method, query, and the refusal. The first check that fails counts: transport, session, method, version.
const REFUSED: &[(&str, &str, (u8, &str))] = &[
    ("GET", "", TRANSPORT_UNKNOWN),
    ("GET", "EIO=4", TRANSPORT_UNKNOWN),
    ("GET", "EIO=4&transport=", TRANSPORT_UNKNOWN),
    ("GET", "EIO=4&transport=abc", TRANSPORT_UNKNOWN),
    ("GET", "EIO=4&transport=Polling", TRANSPORT_UNKNOWN),
    ("GET", "EIO=4&transport=constructor", TRANSPORT_UNKNOWN),
    ("GET", "EIO=4&transport=polling&transport=webtransport", TRANSPORT_UNKNOWN),
    ("POST", "EIO=9&transport=abc&sid=abc", TRANSPORT_UNKNOWN),
    ("GET", "EIO=4&transport=polling&sid=abc", UNKNOWN_SID),
    ("POST", "EIO=4&transport=polling&sid=abc", UNKNOWN_SID),
    ("PUT", "EIO=9&transport=polling&sid=abc", UNKNOWN_SID),
    ("GET", "EIO=3&transport=websocket&sid=abc", UNKNOWN_SID),
    ("GET", "EIO=4&transport=polling&sid=__proto__", UNKNOWN_SID),
    ("GET", "EIO=4&transport=polling&sid=%00%ff", UNKNOWN_SID),
    ("POST", "EIO=4&transport=polling", BAD_METHOD),
    ("PUT", "EIO=4&transport=polling", BAD_METHOD),
    ("DELETE", "EIO=3&transport=polling", BAD_METHOD),
    ("OPTIONS", "EIO=4&transport=polling", BAD_METHOD),
    ("POST", "EIO=9&transport=polling", BAD_METHOD),
    ("POST", "EIO=9&transport=websocket", BAD_METHOD),
    ("GET", "EIO=4&transport=websocket", BAD_REQUEST),
    ("GET", "transport=polling", UNSUPPORTED),
    ("GET", "EIO=&transport=polling", UNSUPPORTED),
    ("GET", "EIO=2&transport=polling", UNSUPPORTED),
    ("GET", "EIO=5&transport=polling", UNSUPPORTED),
    ("GET", "EIO=04&transport=polling", UNSUPPORTED),
    ("GET", "EIO=4%20&transport=polling", UNSUPPORTED),
    ("GET", "EIO=4&EIO=abc&transport=polling", UNSUPPORTED),
];

/// Queries of WebSocket handshakes; refused before the protocol is switched.
const UPGRADES_REFUSED: &[(&str, (u8, &str))] = &[
    ("EIO=4", TRANSPORT_UNKNOWN),
    ("EIO=4&transport=abc", TRANSPORT_UNKNOWN),
    ("EIO=4&transport=websocket&sid=abc", UNKNOWN_SID),
    ("EIO=4&transport=polling", BAD_REQUEST),
    ("transport=websocket", UNSUPPORTED),
    ("EIO=5&transport=websocket", UNSUPPORTED),
];

fn is_refused(answer: &Answer, (code, message): (u8, &str)) {
    assert_eq!(answer.said(), (400, format!(r#"{{"code":{code},"message":"{message}"}}"#)));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn each_refusal_has_the_status_the_code_and_the_words_of_the_official_server() {
    let server = Listening::echo(Config::default()).await;
    for (method, query, refusal) in REFUSED {
        is_refused(&server.request(method, query, &[], b"").await, *refusal);
    }
    for (query, (_, message)) in UPGRADES_REFUSED {
        let answer = send(server.address, &upgrade(query, &HANDSHAKE)).await.expect("an answer");
        assert_eq!(answer.said(), (400, (*message).to_owned()), "{query}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("content-type"), Some("text/html"));
    }
    assert_eq!(server.transport.sessions(), 0);
}

#[tokio::test]
async fn a_websocket_handshake_of_another_kind_is_a_bad_request() {
    let server = Listening::echo(Config::default()).await;
    let [connection, upgrades, version, key] = HANDSHAKE;
    let broken: [&[&str]; 5] = [
        &[connection, upgrades, version],
        &[connection, upgrades, key],
        &[connection, upgrades, key, "Sec-WebSocket-Version: 8"],
        &[connection, upgrades, version, "Sec-WebSocket-Key: short"],
        &["Connection: close", upgrades, version, key],
    ];
    for headers in broken {
        let headers = [headers, &["Connection: close"]].concat();
        let answer = send(server.address, &upgrade("EIO=4&transport=websocket", &headers)).await.expect("an answer");
        assert_eq!(answer.status, 400, "{headers:?}");
        assert!(answer.text().contains("Bad request"), "{answer:?}");
    }
    assert_eq!(server.transport.sessions(), 0);
}

#[tokio::test]
async fn what_is_not_offered_is_unknown() {
    let config = Config { allow_eio3: false, transports: vec![TransportName::Polling], ..Config::default() };
    let server = Listening::echo(config).await;
    is_refused(&server.get("EIO=3&transport=polling").await, UNSUPPORTED);
    is_refused(&server.get("EIO=4&transport=websocket").await, TRANSPORT_UNKNOWN);
    let client = Poller::open(&server, 4, "").await;
    assert!(client.open.contains(r#""upgrades":[]"#), "{}", client.open);
}

#[tokio::test]
async fn what_the_application_does_not_allow_is_forbidden() {
    let server = Listening::echo(Config::default()).await;
    let foreign = "Origin: http://foreign.example";
    for query in ["EIO=4&transport=polling", "EIO=3&transport=polling&j=0"] {
        let answer = server.request("GET", query, &[foreign], b"").await;
        assert_eq!(answer.said(), (403, r#"{"code":4,"message":"Forbidden"}"#.to_owned()));
        assert_eq!(server.request("GET", query, &["Origin: http://other.example"], b"").await.status, 200);
    }
    let headers = [&HANDSHAKE[..], &[foreign]].concat();
    let answer = send(server.address, &upgrade("EIO=4&transport=websocket", &headers)).await.expect("an answer");
    assert_eq!(answer.said(), (400, "Forbidden".to_owned()));
    // The first thing that is wrong is told, and this is the last to be looked at.
    is_refused(&server.request("GET", "EIO=5&transport=polling", &[foreign], b"").await, UNSUPPORTED);
    assert_eq!(server.transport.sessions(), 2);
}

#[tokio::test]
async fn an_origin_with_control_characters_is_a_bad_request() {
    let server = Listening::echo(Config::default()).await;
    for bad in ["Origin: http://a\u{1}b", "Origin: http://a\u{7f}b"] {
        assert_eq!(server.request("GET", "EIO=4&transport=polling", &[bad], b"").await.status, 400);
    }
    assert_eq!(server.transport.sessions(), 0);
}

#[tokio::test]
async fn a_session_opens_with_what_clients_have_to_know() {
    let server = Listening::echo(Config { max_http_buffer_bytes: 12_345, ..Config::default() }).await;
    for (version, query) in [(4, ""), (4, "&sid="), (4, "&t=abc&x=%zz"), (3, ""), (3, "&b64=1")] {
        let answer = server.get(&format!("EIO={version}&transport=polling{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(answer.header("content-length").map(str::to_owned), Some(answer.body.len().to_string()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!([answer.header("set-cookie"), answer.header("x-xss-protection")], [None, None]);
        let text = answer.text();
        let (length, packet) = if version == 4 { ("", &*text) } else { text.split_once(':').expect("a length") };
        assert!(version == 4 || length == packet.len().to_string());
        let open: serde_json::Value = serde_json::from_str(packet.strip_prefix('0').expect("open")).expect("JSON");
        assert_eq!(open["upgrades"], serde_json::json!(["websocket"]));
        assert_eq!([&open["pingInterval"], &open["pingTimeout"], &open["maxPayload"]], [25_000, 60_000, 12_345]);
        assert!(open["sid"].as_str().is_some_and(|sid| sid.len() >= 20));
        assert_eq!(open.as_object().map(serde_json::Map::len), Some(5));
    }
    let (_wire, open) = Wire::open(server.address, "EIO=4&transport=websocket").await;
    assert!(open.contains(r#""upgrades":[]"#) && open.contains(r#""maxPayload":12345"#), "{open}");
}

#[tokio::test]
async fn a_post_is_answered_with_ok() {
    let server = Listening::echo(Config::default()).await;
    for version in [3, 4] {
        let client = Poller::open(&server, version, "").await;
        let answer = client.post(client.payload("4a\n4b").as_bytes()).await;
        assert_eq!(answer.said(), (200, "ok".to_owned()));
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(client.hear().await, "4a\n4b", "all of them in one answer");
    }
}

#[tokio::test]
async fn old_internet_explorers_are_told_that_no_script_is_smuggled_in() {
    let server = Listening::echo(Config::default()).await;
    let agents = [
        ("User-Agent: Mozilla/5.0 (compatible;MSIE 9.0; Windows NT 6.1)", Some("0")),
        ("User-Agent: Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko", Some("0")),
        ("User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", None),
    ];
    let client = Poller::open(&server, 3, "").await;
    for (agent, filter) in agents {
        let posted = server.request("POST", &client.query, &[agent], b"2:4a").await;
        let polled = server.request("GET", &client.query, &[agent], b"").await;
        assert_eq!(
            [posted, polled].map(|answer| answer.header("x-xss-protection").map(str::to_owned)),
            [filter.map(str::to_owned), filter.map(str::to_owned)]
        );
    }
}

#[tokio::test]
async fn a_session_answers_to_its_own_transport_only() {
    let server = Listening::echo(Config::default()).await;
    let polling = Poller::open(&server, 4, "").await;
    is_refused(&server.get(&polling.upgrade_query()).await, BAD_REQUEST);
    for method in ["PUT", "DELETE", "HEAD", "PATCH"] {
        assert_eq!(server.request(method, &polling.query, &[], b"").await.status, 405, "{method}");
    }
    polling.say("4still here").await;
    assert_eq!(polling.hear().await, "4still here");

    let (mut wire, open) = Wire::open(server.address, "EIO=4&transport=websocket").await;
    let sid = crate::wire::sid(&open);
    for method in ["GET", "POST"] {
        let query = format!("EIO=4&transport=polling&sid={sid}");
        is_refused(&server.request(method, &query, &[], b"4a").await, BAD_REQUEST);
    }
    is_refused(&server.get(&format!("EIO=4&transport=websocket&sid={sid}")).await, BAD_REQUEST);
    let second = Wire::connect(server.address, &format!("EIO=4&transport=websocket&sid={sid}")).await;
    assert!(second.close_code().await.is_empty());
    wire.say("4still here").await;
    assert_eq!(wire.text().await, "4still here");
}

/// `b64=1`: a client that takes text only, by either transport.
#[tokio::test]
async fn binary_messages_are_base64_for_clients_that_want_them_so() {
    let server = Listening::echo(Config::default()).await;
    let cases = [(3, "", None), (3, "&b64=1", Some("b4AQIDBA==")), (4, "", None), (4, "&b64=1", Some("bAQIDBA=="))];
    for (version, more, base64) in cases {
        let (mut wire, _) = Wire::open(server.address, &format!("EIO={version}&transport=websocket{more}")).await;
        let marker: &[u8] = if version == 3 { &[4] } else { &[] };
        let frame = [marker, &[1, 2, 3, 4]].concat();
        wire.send(BINARY, &frame).await;
        match base64 {
            Some(base64) => {
                assert_eq!(wire.text().await, base64);
                wire.say(base64).await;
                assert_eq!(wire.text().await, base64);
            }
            None => assert_eq!(wire.frame().await, Some((BINARY, frame))),
        }
    }
    let (mut wire, _) = Wire::open(server.address, "EIO=3&transport=websocket&b64=1").await;
    wire.send(BINARY, &[4]).await;
    assert_eq!(wire.text().await, "b4", "an empty one, too");
}

/// A program that begins to listen for messages when it has read the 101 must not read the open packet along with it.
#[tokio::test]
async fn version_3_has_time_to_take_the_101_in_before_the_open_packet_comes() {
    let server = Listening::echo(Config::default()).await;
    for _ in 0..10 {
        let asked = clock::now();
        let mut wire = Wire::connect(server.address, "EIO=3&transport=websocket").await;
        // What the client says meanwhile is not lost.
        wire.say("4early").await;
        assert!(wire.text().await.starts_with("0{"));
        assert!(asked.elapsed() >= Duration::from_millis(20), "{:?}", asked.elapsed());
        assert_eq!(wire.text().await, "4early");
    }
}
