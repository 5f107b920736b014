//! Connection state recovery against a real listener, packet by packet.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hobnob::{
    cluster::Single,
    codes::ErrorCode,
    http::{self, Body, Stopper},
    ids::SocketId,
    server::{
        Admission, Args, ConnectError, ConnectRequest, Connecting, Limits, Middleware, Namespace, Outcome, Reply,
        Routes, Server, Socket,
    },
    transport::{Config, Handshake, Transport},
};
use hyper::{Request, body::Incoming};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use crate::support::{packets::Packets, within};

const ROOM: &str = "room";
const KEY: [u8; 12] = *b"conversation";

/// What the application was told, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Connected { recovered: bool },
    Confirmed(Vec<u64>),
    Missed(u64),
    Disconnected(String),
}

/// Lets everybody in whose token is `good`, as the user that they say they are.
struct Gate(UnboundedSender<Told>);

#[derive(Deserialize)]
struct Auth {
    user: String,
    token: String,
}

impl Middleware for Gate {
    fn connect(&self, request: ConnectRequest) -> Connecting {
        let auth = serde_json::from_str(request.auth.as_deref().unwrap_or(r#"{"user":"old","token":"good"}"#));
        let admission = match auth {
            Ok(Auth { user, token }) if token == "good" => {
                Ok(Admission { socket_id: request.socket_id, data: Arc::new(()), user: Some(user.into()) })
            }
            _ => Err(ConnectError { message: "no".to_owned(), data: None, code: ErrorCode::Unauthorized }),
        };
        Box::pin(std::future::ready(admission))
    }

    fn join(&self, _: &Arc<Socket>) -> Result<(), ConnectError> {
        Ok(())
    }

    fn greet(&self, socket: &Arc<Socket>) {
        socket.greet(&Hello {});
    }

    fn connected(&self, socket: &Arc<Socket>, _: &Handshake) {
        self.0.send(Told::Connected { recovered: socket.is_recovered() }).ok();
    }

    fn confirmed(&self, _: &Arc<Socket>, receipts: &[([u8; 12], u64)]) {
        self.0.send(Told::Confirmed(receipts.iter().map(|(_, seq)| *seq).collect())).ok();
    }

    fn missed(&self, _: &Arc<Socket>, first: &[([u8; 12], u64)]) {
        for (key, seq) in first {
            assert_eq!(*key, KEY);
            self.0.send(Told::Missed(*seq)).ok();
        }
    }

    fn disconnected(&self, _: &Arc<Socket>, reason: &str) {
        self.0.send(Told::Disconnected(reason.to_owned())).ok();
    }
}

#[derive(serde::Serialize, schemars::JsonSchema)]
struct Hello {}

impl hobnob::server::ServerEvent for Hello {
    const NAME: &'static str = "hello";
}

/// A server with one namespace.
struct Running {
    address: SocketAddr,
    namespace: Arc<Namespace>,
    told: UnboundedReceiver<Told>,
    _task: JoinSet<()>,
}

impl Running {
    async fn start() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let (sender, told) = unbounded_channel();
        let stopper = Stopper::default();
        let namespace = Namespace::new("/", Arc::new(Single));
        let routes = Routes::new().on_raw("ack", |_, event| Reply::Now(Outcome::Ack(Args::of(event))));
        let server = Server::builder(Limits::from(&config)).namespace(&namespace, Arc::new(Gate(sender)), routes);
        let transport = Transport::new(config, server.build(), stopper.tracker.clone());
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let transport = transport.clone();
            async move {
                let peer = *request.extensions().get::<SocketAddr>().expect("the listener knows it");
                Ok::<_, Infallible>(transport.handle(request, peer).await.map(Body::new))
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut task = JoinSet::new();
        task.spawn(http::serve(listener, http::Config::default(), service, stopper));
        Self { address, namespace, told, _task: task }
    }

    async fn told(&mut self) -> Told {
        within("what is told", self.told.recv()).await.expect("more is told")
    }

    /// Waits until the application hears of the end of a socket.
    async fn disconnected(&mut self) -> String {
        loop {
            if let Told::Disconnected(reason) = self.told().await {
                return reason;
            }
        }
    }

    /// Connects a user with this addition to the auth object.
    async fn connect(&self, user: &str, addition: &Value) -> Peer {
        let mut packets = Packets::open(self.address).await;
        let mut auth = json!({"user": user, "token": "good"});
        let fields = addition.as_object().expect("an object").clone();
        auth.as_object_mut().expect("an object").extend(fields);
        packets.send(&format!("40{auth}")).await;
        let answer = packets.next().await.expect("an answer");
        let answer: Value = serde_json::from_str(answer.strip_prefix("40").expect("admitted")).expect("JSON");
        let mut peer = Peer { packets, answer, offset: String::new() };
        if peer.answer.get("pid").is_some() {
            peer.hears(&json!(["hello", {}])).await;
        }
        peer
    }

    /// Connects a user and puts the socket into the room.
    async fn member(&self, user: &str) -> Peer {
        let peer = self.connect(user, &json!({})).await;
        self.namespace.join(&self.socket(&peer), &[ROOM]);
        peer
    }

    fn socket(&self, peer: &Peer) -> Arc<Socket> {
        let id = SocketId::from_text(peer.answer["sid"].as_str().expect("an id"));
        self.namespace.socket(&id).expect("connected")
    }

    fn say(&self, what: u64) {
        self.namespace.to(ROOM).emit_raw("said", &[&what.to_string()], &[]);
    }
}

/// A client, and the offset of the last event it got.
struct Peer {
    packets: Packets,
    answer: Value,
    offset: String,
}

impl Peer {
    /// The next event has these elements, and an offset behind them.
    #[track_caller]
    fn hears(&mut self, expected: &Value) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let packet = self.packets.next().await.expect("an event");
            let json = packet.strip_prefix("42").unwrap_or_else(|| panic!("{place}: {packet}"));
            let mut event: Vec<Value> = serde_json::from_str(json).expect("an array");
            let offset = event.pop().expect("not empty");
            assert_eq!(json!(event), *expected, "{place}");
            offset.as_str().unwrap_or_else(|| panic!("{place}: no offset in {packet}")).clone_into(&mut self.offset);
        }
    }

    async fn hears_saying(&mut self, what: u64) {
        self.hears(&json!(["said", what])).await;
    }

    /// What the client shows to have its session back.
    fn ticket(&self) -> Value {
        json!({"pid": self.answer["pid"], "offset": self.offset})
    }

    fn is_same_session(&self, other: &Value) -> bool {
        assert_eq!(self.answer["sid"] == other["sid"], self.answer["pid"] == other["pid"]);
        self.answer == *other
    }

    /// Cuts the connection without a word.
    async fn cut(self, server: &mut Running) -> (Value, Value) {
        let (ticket, answer) = (self.ticket(), self.answer.clone());
        drop(self.packets);
        assert_eq!(server.disconnected().await, "transport error");
        (ticket, answer)
    }
}

#[tokio::test]
async fn events_carry_an_offset_but_acks_volatile_ones_and_those_that_want_an_ack_do_not() {
    let server = Running::start().await;
    let mut peer = server.member("alice").await;
    assert_eq!(peer.answer.as_object().map(serde_json::Map::len), Some(2), "{}", peer.answer);
    assert!(peer.answer["pid"].as_str().is_some_and(|pid| pid.len() >= 40));

    server.say(1);
    peer.hears_saying(1).await;
    server.socket(&peer).emit_raw("told", &["2", "\"x\""], &[]);
    peer.hears(&json!(["told", 2, "x"])).await;
    server.namespace.to(ROOM).volatile().emit_raw("said", &["3"], &[]);
    assert_eq!(peer.packets.next().await.as_deref(), Some(r#"42["said",3]"#));
    peer.packets.send(r#"427["ack",4]"#).await;
    assert_eq!(peer.packets.next().await.as_deref(), Some("437[4]"));
    server.namespace.to(ROOM).emit_raw("said", &[r#"{"_placeholder":true,"num":0}"#], &[vec![1].into()]);
    let binary = peer.packets.next().await.expect("an event");
    assert!(binary.starts_with(r#"451-["said",{"_placeholder":true,"num":0},""#), "{binary}");

    let socket = server.socket(&peer);
    let asking = async { socket.emit_with_ack("ask", &Args::default(), Duration::from_secs(30)).await };
    let answering = async {
        assert_eq!(peer.packets.next().await.as_deref(), Some(r#"420["ask"]"#));
        peer.packets.send("430[]").await;
    };
    tokio::join!(asking, answering).0.expect("an ack");
}

#[tokio::test]
async fn all_receivers_of_a_broadcast_get_the_same_packet() {
    let server = Running::start().await;
    let (mut alice, mut bob) = (server.member("alice").await, server.member("bob").await);
    server.say(1);
    let packet = alice.packets.next().await;
    assert_eq!(packet, bob.packets.next().await);
    assert!(packet.is_some_and(|packet| packet.starts_with(r#"42["said",1,""#)));
}

#[tokio::test]
async fn a_client_that_was_cut_off_has_its_session_back_and_what_it_missed_in_order_and_once() {
    let mut server = Running::start().await;
    let mut peer = server.member("alice").await;
    (1..=3).for_each(|what| server.say(what));
    peer.hears_saying(1).await;
    peer.hears_saying(2).await;
    let (ticket, answer) = peer.cut(&mut server).await;
    assert!(server.namespace.is_empty(), "for everybody else it is gone");
    server.say(4);
    server.namespace.to(ROOM).volatile().emit_raw("said", &["99"], &[]);
    server.namespace.to("elsewhere").emit_raw("said", &["99"], &[]);
    server.namespace.to(ROOM).except(ROOM).emit_raw("said", &["99"], &[]);
    server.namespace.all().emit_raw("said", &["5"], &[]);

    let mut back = server.connect("alice", &ticket).await;
    assert!(back.is_same_session(&answer), "{answer} {}", back.answer);
    assert_eq!(back.ticket(), ticket, "the greeting comes first and does not move the offset");
    for what in 3..=5 {
        back.hears_saying(what).await;
    }
    server.say(6);
    back.hears_saying(6).await;
    assert_eq!(server.told().await, Told::Connected { recovered: true });

    // Once more, with what was missed the first time unheard in part.
    let (ticket, answer) = back.cut(&mut server).await;
    let back = server.connect("alice", &ticket).await;
    assert!(back.is_same_session(&answer));
}

#[tokio::test]
async fn what_is_tracked_is_told_by_those_who_have_it_and_held_back_until_then() {
    let mut server = Running::start().await;
    let mut peer = server.member("alice").await;
    let track = |what: u64| server.namespace.to(ROOM).tracked(KEY, what).emit_raw("said", &[&what.to_string()], &[]);
    for what in 1..=3 {
        track(what);
    }
    peer.hears_saying(1).await;
    peer.hears_saying(2).await;
    let (ticket, answer) = peer.cut(&mut server).await;
    let track = |what: u64| server.namespace.to(ROOM).tracked(KEY, what).emit_raw("said", &[&what.to_string()], &[]);
    track(4);
    server.say(5);

    let mut back = server.connect("alice", &ticket).await;
    assert!(back.is_same_session(&answer));
    back.hears_saying(5).await;
    let track = |what: u64| server.namespace.to(ROOM).tracked(KEY, what).emit_raw("said", &[&what.to_string()], &[]);
    assert_eq!(track(6), 0, "what comes before is still to be told");
    server.socket(&back).release(KEY);
    assert_eq!(track(7), 1);
    back.hears_saying(7).await;
    assert_eq!(server.told().await, Told::Confirmed(vec![1, 2]), "what came before the cut has arrived");
    assert_eq!(server.told().await, Told::Missed(3));
    assert_eq!(server.told().await, Told::Connected { recovered: true });
}

#[tokio::test]
async fn what_was_withdrawn_does_not_come_again() {
    const SUBJECT: [u8; 12] = *b"notification";
    let mut server = Running::start().await;
    let mut peer = server.member("alice").await;
    server.say(1);
    peer.hears_saying(1).await;
    server.namespace.to(ROOM).about(SUBJECT).emit_raw("said", &["2"], &[]);
    let (ticket, answer) = peer.cut(&mut server).await;
    server.namespace.to(ROOM).about(SUBJECT).emit_raw("said", &["3"], &[]);
    server.namespace.to(ROOM).about(KEY).emit_raw("said", &["4"], &[]);
    server.namespace.withdraw(ROOM, SUBJECT);
    let mut back = server.connect("alice", &ticket).await;
    assert!(back.is_same_session(&answer));
    back.hears_saying(4).await;
}

#[tokio::test]
async fn what_is_missed_twice_comes_the_second_time() {
    let mut server = Running::start().await;
    let mut peer = server.member("alice").await;
    server.say(1);
    peer.hears_saying(1).await;
    let (ticket, _) = peer.cut(&mut server).await;
    server.say(2);
    server.say(3);
    // Greeted, and cut off before anything else.
    let back = server.connect("alice", &ticket).await;
    assert_eq!(back.ticket(), ticket);
    back.cut(&mut server).await;
    server.say(4);
    let mut back = server.connect("alice", &ticket).await;
    for what in 2..=4 {
        back.hears_saying(what).await;
    }
}

#[tokio::test]
async fn attachments_come_again_with_their_event() {
    let mut server = Running::start().await;
    let peer = server.member("alice").await;
    let (ticket, _) = peer.cut(&mut server).await;
    server.namespace.to(ROOM).emit_raw("said", &[r#"{"_placeholder":true,"num":0}"#], &[vec![1, 2].into()]);
    server.say(2);
    let mut back = server.connect("alice", &ticket).await;
    let header = back.packets.next().await.expect("an event");
    assert!(header.starts_with(r#"451-["said",{"_placeholder":true,"num":0},""#), "{header}");
    // The attachment is passed over by this client: what follows it is the next event.
    back.hears_saying(2).await;
}

#[tokio::test]
async fn a_session_belongs_to_its_user_and_the_token_is_looked_at_first() {
    let mut server = Running::start().await;
    let peer = server.member("alice").await;
    let (ticket, answer) = peer.cut(&mut server).await;
    server.say(1);

    let mut thief = Packets::open(server.address).await;
    let mut auth = ticket.clone();
    auth["user"] = "alice".into();
    auth["token"] = "bad".into();
    thief.send(&format!("40{auth}")).await;
    assert_eq!(thief.next().await.as_deref(), Some(r#"44{"message":"no"}"#));

    let mallory = server.connect("mallory", &ticket).await;
    assert!(!mallory.is_same_session(&answer));
    assert!(!server.socket(&mallory).is_recovered());
    assert!(!server.socket(&mallory).is_in(ROOM));

    let mut back = server.connect("alice", &ticket).await;
    assert!(back.is_same_session(&answer), "nobody else could spoil it");
    back.hears_saying(1).await;
}

#[tokio::test]
async fn whatever_cannot_be_taken_up_is_a_new_session_and_no_error() {
    let mut server = Running::start().await;
    let peer = server.member("alice").await;
    let (ticket, answer) = peer.cut(&mut server).await;
    let pid = answer["pid"].as_str().expect("a pid");
    let wrong = [
        json!({"pid": format!("{pid}x"), "offset": ticket["offset"]}),
        json!({"pid": "x.y", "offset": ticket["offset"]}),
        json!({"pid": answer["sid"], "offset": ticket["offset"]}),
        json!({"pid": pid}),
        json!({"pid": pid, "offset": 1}),
        json!({"pid": [pid], "offset": ticket["offset"]}),
    ];
    for wrong in wrong {
        let fresh = server.connect("alice", &wrong).await;
        assert!(!fresh.is_same_session(&answer), "{wrong}");
        assert!(!server.socket(&fresh).is_in(ROOM), "{wrong}");
    }
    // An offset that never was spends the session: the client will not have missed what it says it has missed.
    let fresh = server.connect("alice", &json!({"pid": pid, "offset": "999999"})).await;
    assert!(!fresh.is_same_session(&answer));
    let fresh = server.connect("alice", &ticket).await;
    assert!(!fresh.is_same_session(&answer));
}

#[tokio::test]
async fn what_somebody_has_ended_stays_ended() {
    let mut server = Running::start().await;
    let mut left = server.member("alice").await;
    left.packets.send("41").await;
    assert_eq!(server.disconnected().await, "client namespace disconnect");
    let fresh = server.connect("alice", &left.ticket()).await;
    assert!(!left.is_same_session(&fresh.answer));

    let kicked = server.member("bob").await;
    server.socket(&kicked).close_session();
    assert_eq!(server.disconnected().await, "server close");
    let fresh = server.connect("bob", &kicked.ticket()).await;
    assert!(!kicked.is_same_session(&fresh.answer));

    let peer = server.member("carol").await;
    let (ticket, answer) = peer.cut(&mut server).await;
    server.namespace.end_parked("carol");
    let fresh = server.connect("carol", &ticket).await;
    assert!(!fresh.is_same_session(&answer));
}

#[tokio::test]
async fn a_session_that_missed_more_than_is_kept_begins_anew() {
    let mut server = Running::start().await;
    let peer = server.member("alice").await;
    let (full, _) = peer.cut(&mut server).await;
    for what in 0..256 {
        server.say(what);
    }
    let mut back = server.connect("alice", &full).await;
    for what in 0..256 {
        back.hears_saying(what).await;
    }
    let (ticket, answer) = back.cut(&mut server).await;
    for what in 0..257 {
        server.say(what);
    }
    let fresh = server.connect("alice", &ticket).await;
    assert!(!fresh.is_same_session(&answer));

    let config = Config { outbox_bytes: 20_000, ..Config::default() };
    let mut server = Running::with(config).await;
    let peer = server.member("alice").await;
    let (ticket, answer) = peer.cut(&mut server).await;
    let large = format!("\"{}\"", "x".repeat(6_000));
    for _ in 0..2 {
        server.namespace.to(ROOM).emit_raw("said", &[&large], &[]);
    }
    let fresh = server.connect("alice", &ticket).await;
    assert!(!fresh.is_same_session(&answer), "bytes are bounded, too");
}

/// A client notices at once that its network is gone; the server waits for a ping.
#[tokio::test]
async fn a_client_may_come_back_before_the_server_knows_that_it_was_gone() {
    let mut server = Running::start().await;
    let mut stale = server.member("alice").await;
    server.say(1);
    stale.hears_saying(1).await;
    server.say(2);
    let mut back = server.connect("alice", &stale.ticket()).await;
    assert!(stale.is_same_session(&back.answer));
    back.hears_saying(2).await;
    assert_eq!(server.disconnected().await, "transport error");
    assert_eq!(server.told().await, Told::Connected { recovered: true });
    stale.packets.closed().await;
    server.say(3);
    back.hears_saying(3).await;
    assert_eq!(server.namespace.len(), 1);
    let (_, _) = back.cut(&mut server).await;
    assert!(server.told.try_recv().is_err(), "the first one ended once");
}

/// Somebody broadcasts all the time from another thread; the client is cut off again and again, and comes back before or after the
/// server has noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_however_often_a_client_is_cut_off() {
    const EVENTS: u64 = 3_000;
    /// Fewer than are kept.
    const AHEAD: usize = 150;
    let server = Running::start().await;
    let mut peer = server.member("alice").await;
    let answer = peer.answer.clone();
    let room_for = Arc::new(tokio::sync::Semaphore::new(AHEAD));
    let mut sending = JoinSet::new();
    let (namespace, permits) = (Arc::clone(&server.namespace), Arc::clone(&room_for));
    sending.spawn(async move {
        for what in 0..EVENTS {
            permits.acquire().await.expect("open").forget();
            namespace.to(ROOM).emit_raw("said", &[&what.to_string()], &[]);
        }
    });
    let mut cuts = 0;
    for what in 0..EVENTS {
        let packet = peer.packets.until("42").await;
        let event: Vec<Value> = serde_json::from_str(&packet[2..]).expect("an array");
        assert_eq!((&event[0], &event[1]), (&json!("said"), &json!(what)), "after {cuts} cuts");
        event[2].as_str().expect("an offset").clone_into(&mut peer.offset);
        room_for.add_permits(1);
        if what % 37 == 5 {
            cuts += 1;
            let ticket = peer.ticket();
            let before = (what % 2 == 0).then_some(peer);
            peer = server.connect("alice", &ticket).await;
            assert!(peer.is_same_session(&answer), "after {cuts} cuts");
            drop(before);
        }
    }
    within("the end of sending", sending.join_all()).await;
    assert_eq!(server.namespace.len(), 1);
}

#[tokio::test]
async fn rooms_change_while_a_client_is_away() {
    let mut server = Running::start().await;
    let (peer, other) = (server.member("alice").await, server.member("bob").await);
    server.namespace.join(&server.socket(&peer), &["hers"]);
    let (ticket, _) = peer.cut(&mut server).await;
    server.namespace.join_all("hers", &["new"]);
    server.namespace.leave_all("hers", &[ROOM]);
    server.say(1);
    server.namespace.to("new").emit_raw("said", &["2"], &[]);
    let mut back = server.connect("alice", &ticket).await;
    back.hears_saying(2).await;
    assert!(server.socket(&back).is_in("new") && !server.socket(&back).is_in(ROOM));
    assert!(server.socket(&other).is_in(ROOM));
}

#[tokio::test]
async fn nothing_of_it_is_seen_while_it_is_off() {
    let server = Running::with(Config { recovery_ms: 0, ..Config::default() }).await;
    let mut peer = server.member("alice").await;
    assert_eq!(peer.answer.as_object().map(serde_json::Map::len), Some(1), "{}", peer.answer);
    server.say(1);
    assert_eq!(peer.packets.next().await.as_deref(), Some(r#"42["hello",{}]"#));
    assert_eq!(peer.packets.next().await.as_deref(), Some(r#"42["said",1]"#));
}

#[tokio::test]
async fn clients_of_engine_io_3_get_neither_a_pid_nor_offsets() {
    let server = Running::start().await;
    let mut new = server.member("alice").await;
    let mut old = Packets::open_version(server.address, 3).await;
    assert_eq!(old.next().await.as_deref(), Some("40"));
    assert_eq!(old.next().await.as_deref(), Some(r#"42["hello",{}]"#));
    server.namespace.all().emit_raw("said", &["1"], &[]);
    assert_eq!(old.next().await.as_deref(), Some(r#"42["said",1]"#));
    new.hears_saying(1).await;
}
