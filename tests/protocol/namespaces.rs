//! Socket.IO on the wire, without a client library: joining and leaving, packets in any order, attachments, and what ends a
//! connection.

use std::sync::Arc;

use hobnob::{
    cluster::Single,
    codes::ErrorCode,
    http::Stopper,
    server::{
        Admission, Args, ConnectError, ConnectRequest, Connecting, Limits, Middleware, Namespace, Outcome, Reply,
        Routes, Server, Socket,
    },
    transport::{Config, Handshake, Transport},
};

use crate::wire::{BINARY, CLOSE, Listening, Poller, TEXT, Wire};

/// Lets in who does not ask to be refused, in the auth object or in a query, and says hello to those with a token.
struct Gate;

impl Middleware for Gate {
    fn connect(&self, request: ConnectRequest) -> Connecting {
        let asked = request.auth.or(request.query).unwrap_or_default();
        let admission = if asked.contains("refuse") {
            Err(ConnectError {
                message: "no".to_owned(),
                data: Some(r#"{"code":1}"#.to_owned()),
                code: ErrorCode::Forbidden,
            })
        } else {
            Ok(Admission { socket_id: request.socket_id, data: Arc::new(asked), user: None })
        };
        Box::pin(async {
            // As if it had to look something up.
            tokio::task::yield_now().await;
            admission
        })
    }

    fn join(&self, _: &Arc<Socket>) -> Result<(), ConnectError> {
        Ok(())
    }

    fn connected(&self, socket: &Arc<Socket>, _: &Handshake) {
        if let Some(asked) = socket.data::<String>().filter(|asked| asked.contains("token")) {
            let hello = serde_json::Value::from(&**asked).to_string();
            socket.emit_raw("hello", &[&hello], &[]);
        }
    }

    fn disconnected(&self, _: &Arc<Socket>, _: &str) {}
}

fn routes(namespace: &Arc<Namespace>) -> Routes {
    let all = Arc::clone(namespace);
    Routes::new()
        .on_raw("echo", |socket, event| {
            if event.wants_ack {
                return Reply::Now(Outcome::Ack(Args::of(event)));
            }
            let args: Vec<&str> = event.args.iter().map(|arg| arg.get()).collect();
            socket.emit_raw("echo", &args, event.attachments);
            Reply::Now(Outcome::Silent)
        })
        .on_raw("flood", move |_, _| {
            // Ten megabytes of what may be dropped, and then what may not.
            let text = format!("\"{}\"", "v".repeat(10_000));
            for _ in 0..1_000 {
                all.all().volatile().emit_raw("volatile", &[&text], &[]);
            }
            all.all().emit_raw("firm", &[], &[]);
            Reply::Now(Outcome::Silent)
        })
}

pub(crate) async fn start(config: Config) -> Listening<Server> {
    let stopper = Stopper::default();
    Listening::start(transport(config, &stopper), stopper).await
}

pub(crate) fn transport(config: Config, stopper: &Stopper) -> Transport<Server> {
    // With recovery on, events carry an offset: see `recovery`.
    let config = Config { recovery_ms: 0, ..config };
    let mut server = Server::builder(Limits::from(&config));
    for name in ["/", "/custom", "/third"] {
        let namespace = Namespace::new(name, Arc::new(Single));
        server = server.namespace(&namespace, Arc::new(Gate), routes(&namespace));
    }
    Transport::new(config, server.build(), stopper.tracker.clone())
}

async fn open(server: &Listening<Server>, version: u8) -> Wire {
    let (mut wire, _) = Wire::open(server.address, &format!("EIO={version}&transport=websocket")).await;
    if version == 3 {
        assert_eq!(wire.text().await, "40", "old clients are in from the start");
    }
    wire
}

/// A client of version 4 in the main namespace.
async fn joined(server: &Listening<Server>) -> Wire {
    let mut wire = open(server, 4).await;
    wire.say("40").await;
    assert!(wire.text().await.starts_with(r#"40{"sid":""#));
    wire
}

#[tokio::test]
async fn several_namespaces_live_on_one_connection() {
    let server = start(Config::default()).await;
    let mut wire = open(&server, 4).await;
    let mut sids = vec![];
    for prefix in ["", "/custom,", "/third,"] {
        wire.say(&format!("40{prefix}")).await;
        let answer = wire.text().await;
        let sid = answer.strip_prefix(&format!("40{prefix}{{\"sid\":\"")).and_then(|sid| sid.strip_suffix("\"}"));
        sids.push(sid.expect(&answer).to_owned());
    }
    sids.dedup();
    assert_eq!(sids.len(), 3, "each has an id of its own");
    wire.say(r#"42/custom,7["echo","c"]"#).await;
    wire.say(r#"42["echo","main"]"#).await;
    wire.say(r#"42/third,["echo",3]"#).await;
    assert_eq!(wire.text().await, r#"43/custom,7["c"]"#);
    assert_eq!(wire.text().await, r#"42["echo","main"]"#);
    assert_eq!(wire.text().await, r#"42/third,["echo",3]"#);

    // Leaving one, the last one even, does not end the connection; coming back is possible.
    for prefix in ["/custom,", "", "/third,"] {
        wire.say(&format!("41{prefix}")).await;
    }
    wire.say("40/custom,").await;
    assert!(wire.text().await.starts_with(r#"40/custom,{"sid":""#));
    wire.say(r#"42["echo"]"#).await;
    assert_eq!(wire.close_code().await, b"", "the main namespace was left");
}

#[tokio::test]
async fn refusals_look_as_each_generation_expects_them_and_end_nothing() {
    let server = start(Config::default()).await;
    let mut wire = open(&server, 4).await;
    wire.say(r#"40{"refuse":1}"#).await;
    assert_eq!(wire.text().await, r#"44{"message":"no","data":{"code":1}}"#);
    wire.say("40/nowhere,").await;
    assert_eq!(wire.text().await, r#"44/nowhere,{"message":"Invalid namespace"}"#);
    // In this version a question mark belongs to the name.
    wire.say("40/custom?token=x,").await;
    assert_eq!(wire.text().await, r#"44/custom?token=x,{"message":"Invalid namespace"}"#);
    wire.say(r#"40/custom,{"token":"x"}"#).await;
    assert!(wire.text().await.starts_with(r#"40/custom,{"sid":""#));
    assert_eq!(wire.text().await, r#"42/custom,["hello","{\"token\":\"x\"}"]"#);

    let mut wire = open(&server, 3).await;
    wire.say("40/custom?refuse=1,").await;
    assert_eq!(wire.text().await, r#"44/custom,"no""#);
    wire.say("40/nowhere").await;
    assert!(wire.text().await.starts_with("44/nowhere,"));
    wire.say("40/custom?token=a%2Cb&x=1,").await;
    assert_eq!(wire.text().await, "40/custom,");
    assert_eq!(wire.text().await, r#"42/custom,["hello","token=a%2Cb&x=1"]"#);
    wire.say(r#"42/custom?token=x,5["echo",1]"#).await;
    assert_eq!(wire.text().await, "43/custom,5[1]");
    wire.say("40").await;
    wire.say(r#"420["echo","joined twice"]"#).await;
    assert_eq!(wire.text().await, r#"430["joined twice"]"#);
}

#[tokio::test]
async fn who_joins_nothing_in_time_is_closed_and_who_has_joined_once_is_not() {
    let server = start(Config { connect_timeout_ms: 150, ..Config::default() }).await;
    let mut stays = joined(&server).await;
    stays.say("41").await;
    let mut refused = open(&server, 4).await;
    refused.say("40/nowhere,").await;
    assert!(refused.text().await.starts_with("44"), "and the time goes on");
    assert_eq!(refused.close_code().await, b"");
    let silent = open(&server, 4).await;
    assert_eq!(silent.close_code().await, b"");
    let polls = Poller::open(&server, 4, "").await;
    assert_eq!(polls.hear().await, "1");
    stays.say("40").await;
    assert!(stays.text().await.starts_with("40"));
}

#[tokio::test]
async fn attachments_come_back_wherever_they_were() {
    let server = start(Config::default()).await;
    let place = |num: u8| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    let args = format!(r#"{},{{"deep":[[{{"x":{}}}],1]}},{}"#, place(1), place(0), place(2));
    for version in [3, 4] {
        let mut wire = open(&server, version).await;
        if version == 4 {
            wire.say("40").await;
            wire.text().await;
        }
        let marker: &[u8] = if version == 3 { &[4] } else { &[] };
        let attachments = [b"first".to_vec(), Vec::new(), vec![0; 70_000]];
        for (sent, answered) in [("453-9", "463-9["), ("453-", r#"453-["echo","#)] {
            wire.say(&format!("{sent}[\"echo\",{args}]")).await;
            for attachment in &attachments {
                wire.send(BINARY, &[marker, attachment].concat()).await;
            }
            let header = wire.text().await;
            let json = header.strip_prefix(answered).and_then(|json| json.strip_suffix(']'));
            assert_eq!(json, Some(&*args));
            for attachment in &attachments {
                assert_eq!(wire.frame().await, Some((BINARY, [marker, attachment].concat())));
            }
        }
        // One used twice is sent twice, by number; one that is not used is not missed.
        wire.say(&format!(r#"452-1["echo",{},{}]"#, place(0), place(0))).await;
        for attachment in [b"a", b"b"] {
            wire.send(BINARY, &[marker, attachment].concat()).await;
        }
        assert!(wire.text().await.contains("-1["));
    }
}

#[tokio::test]
async fn a_message_out_of_place_ends_the_connection() {
    let server = start(Config::default()).await;
    for (early, packet) in [
        (true, r#"42["echo"]"#),
        (true, r#"420["echo"]"#),
        (true, "430[]"),
        (false, r#"42/custom,["echo"]"#),
        (false, r#"42["connect"]"#),
        (false, r#"42["connect_error"]"#),
        (false, r#"42["disconnect"]"#),
        (false, r#"42["disconnecting"]"#),
        (false, r#"42["newListener"]"#),
        (false, r#"42["removeListener"]"#),
        (false, r#"44{"message":"x"}"#),
        (false, "40[]"),
        (false, "41{}"),
        (false, "43/custom,1[]"),
        (false, "431{}"),
        (false, "47"),
        (false, r#"4511-["echo"]"#),
        (false, r#"450-["echo"]"#),
        (false, r#"451-["echo",{"_placeholder":true,"num":1}]"#),
    ] {
        let mut wire = if early { open(&server, 4).await } else { joined(&server).await };
        wire.say(packet).await;
        assert_eq!(wire.close_code().await, b"", "{packet}");
    }
    // A binary message that nobody announced, and a text in the place of one.
    let mut wire = joined(&server).await;
    wire.send(BINARY, b"x").await;
    assert_eq!(wire.close_code().await, b"");
    let mut wire = joined(&server).await;
    wire.say(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    wire.say(r#"42["echo"]"#).await;
    assert_eq!(wire.close_code().await, b"");
}

#[tokio::test]
async fn what_is_harmless_is_passed_over() {
    let server = start(Config::default()).await;
    let mut wire = joined(&server).await;
    // An answer to nothing, one that comes twice, a second CONNECT, a noop and a pong of nobody's.
    for packet in ["430[]", "430[]", "439007199254740991[1]", "40", "6", "3"] {
        wire.say(packet).await;
    }
    // Events may come before the answer to CONNECT has been read, and the highest id is as good as any.
    wire.say("40/custom,").await;
    wire.say(r#"429007199254740991["echo",1e400,"\ud83d"]"#).await;
    let mut heard = [wire.text().await, wire.text().await];
    heard.sort();
    assert!(heard[0].starts_with(r#"40/custom,{"sid":""#), "{heard:?}");
    assert_eq!(heard[1], r#"439007199254740991[1e400,"\ud83d"]"#);
}

#[tokio::test]
async fn volatile_events_are_dropped_for_who_does_not_read_and_nothing_else_is() {
    let server = start(Config { outbox_bytes: 200_000, outbox_packets: 64, ..Config::default() }).await;
    let mut wire = joined(&server).await;
    wire.say(r#"42["flood"]"#).await;
    let mut volatile = 0;
    loop {
        let text = wire.text().await;
        if text == r#"42["firm"]"# {
            break;
        }
        assert!(text.starts_with(r#"42["volatile","#) && text.len() > 10_000);
        volatile += 1;
    }
    assert!(volatile < 1_000, "{volatile}");
    assert_eq!(server.transport.volatile_dropped(), 1_000 - volatile);
    wire.say(r#"420["echo","still here"]"#).await;
    assert_eq!(wire.text().await, r#"430["still here"]"#);
}

/// The limit of strangers is smaller than that of those who have joined.
#[tokio::test]
async fn too_large_is_told_by_its_code_before_the_end() {
    let config = Config { max_http_buffer_bytes: 2_000, unauthenticated_bytes: 500, ..Config::default() };
    let server = start(config).await;
    let mut wire = joined(&server).await;
    let event = |bytes: usize| format!(r#"42["echo","{}"]"#, "a".repeat(bytes - r#"42["echo",""]"#.len()));
    wire.say(&event(2_000)).await;
    assert_eq!(wire.text().await.len(), 2_000);
    wire.say(&event(2_001)).await;
    assert_eq!(wire.frame().await, Some((CLOSE, vec![0x03, 0xf1])));
    let mut stranger = open(&server, 4).await;
    stranger.say(&event(501)).await;
    assert_eq!(stranger.frame().await, Some((CLOSE, vec![0x03, 0xf1])));
    // All attachments of a message together.
    let mut wire = joined(&server).await;
    wire.say(r#"452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#).await;
    wire.send(BINARY, &[0; 1_500]).await;
    wire.send(BINARY, &[0; 1_500]).await;
    assert_eq!(wire.frame().await, Some((CLOSE, vec![0x03, 0xf1])));
    // A message that begins in one frame and ends in another counts as a whole.
    let mut wire = joined(&server).await;
    wire.send(TEXT & 0x7f, &[b'4'; 1_500]).await;
    wire.send(0x80, &[b'4'; 501]).await;
    assert_eq!(wire.frame().await, Some((CLOSE, vec![0x03, 0xf1])));
}
