//! Proof of arrival against a real listener, by the byte: what the layer above hears of, and not before the client has shown it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hobnob::{
    http::{self, Body, Stopper},
    protocol::engineio::{CloseReason, Packet},
    transport::{Application, Config, Connection, Handshake, Outgoing, Receipt, Session, Transport},
};
use hyper::{Request, body::Incoming};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;
/// How long anything may take before a test gives up on it.
const DEADLINE: Duration = Duration::from_secs(30);
/// Receipts that a session remembers.
const MAX_UNCONFIRMED: u64 = 1024;

/// What the layer above was told, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Text(String),
    Confirmed(Vec<u64>),
    Unconfirmed(Vec<u64>),
    Closed,
}

/// Does what the client says: `track N` sends so many messages that are tracked, `ask` asks for proof.
struct Recorder(UnboundedSender<Told>);

struct Recording {
    session: Arc<Session>,
    told: UnboundedSender<Told>,
    sent: u64,
}

impl Application for Recorder {
    type Connection = Recording;

    fn open(&self, session: Arc<Session>, _: Handshake) -> Recording {
        Recording { session, told: self.0.clone(), sent: 0 }
    }
}

impl Recording {
    fn tell(&self, told: Told) {
        self.told.send(told).ok();
    }
}

impl Connection for Recording {
    fn handle_text(&mut self, text: &str) -> Result<(), CloseReason> {
        match text.split_once(' ') {
            Some(("track", count)) => {
                for _ in 0..count.parse().expect("a number") {
                    self.sent += 1;
                    let packet = Outgoing::from_packet(&Packet::Text(format!("m{}", self.sent).into()));
                    self.session.send_tracked(&[packet], Receipt { socket: 1, key: *b"conversation", seq: self.sent });
                }
            }
            _ if text == "ask" => self.session.ask_for_proof(),
            _ => self.tell(Told::Text(text.to_owned())),
        }
        Ok(())
    }

    fn handle_binary(&mut self, _: &[u8]) -> Result<(), CloseReason> {
        Err(CloseReason::ParseError)
    }

    fn handle_confirmed(&mut self, receipts: &[Receipt]) {
        self.tell(Told::Confirmed(receipts.iter().map(|receipt| receipt.seq).collect()));
    }

    fn handle_unconfirmed(&mut self, receipts: &[Receipt]) {
        self.tell(Told::Unconfirmed(receipts.iter().map(|receipt| receipt.seq).collect()));
    }

    fn handle_close(&mut self, _: CloseReason) {
        self.tell(Told::Closed);
    }
}

/// A listener, and what its one session tells.
struct Listening {
    address: SocketAddr,
    told: UnboundedReceiver<Told>,
    _task: JoinSet<()>,
}

impl Listening {
    async fn start(config: Config) -> Self {
        let (sender, told) = unbounded_channel();
        let stopper = Stopper::default();
        let transport = Transport::new(config, Recorder(sender), stopper.tracker.clone());
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
        Self { address, told, _task: task }
    }

    async fn told(&mut self) -> Told {
        within(self.told.recv()).await.expect("more is told")
    }

    /// What is told next is this text of the client's, so nothing else was told before.
    async fn told_nothing_before(&mut self, text: &str) {
        assert_eq!(self.told().await, Told::Text(text.to_owned()));
    }
}

/// A client over WebSocket.
struct Wire(TcpStream);

impl Wire {
    /// Opens a session and reads its open packet.
    async fn open(address: SocketAddr, version: u8) -> Self {
        let mut wire = Self::connect(address, &format!("EIO={version}")).await;
        assert!(wire.text().await.starts_with('0'));
        wire
    }

    /// Takes the session of a client that polls over.
    async fn upgrade(poller: &Poller) -> Self {
        let mut wire = Self::connect(poller.address, &format!("EIO={}{}", poller.version, poller.sid)).await;
        wire.say("2probe").await;
        assert_eq!(wire.text().await, "3probe");
        wire.say("5").await;
        wire
    }

    async fn connect(address: SocketAddr, query: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!(
            "GET /socket.io/?{query}&transport=websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Self(stream)
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        within(async {
            let mut header = [0; 2];
            self.0.read_exact(&mut header).await.expect("a frame");
            let length = match header {
                [_, 126] => usize::from(self.0.read_u16().await.expect("its length")),
                [_, short] => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.expect("its payload");
            let [first, _] = header;
            (first, payload)
        })
        .await
    }

    async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await;
        assert_eq!(first, TEXT);
        String::from_utf8(payload).expect("UTF-8")
    }

    /// Reads so many tracked messages, of which the first has this number.
    async fn messages(&mut self, from: u64, count: u64) {
        for seq in from..from + count {
            assert_eq!(self.text().await, format!("4m{seq}"));
        }
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).expect("short");
        let frame = [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat();
        self.0.write_all(&frame).await.expect("open");
    }

    async fn say(&mut self, packet: &str) {
        self.send(TEXT, packet.as_bytes()).await;
    }
}

/// A client over polling.
struct Poller {
    address: SocketAddr,
    version: u8,
    sid: String,
}

impl Poller {
    /// Opens a session.
    async fn open(address: SocketAddr, version: u8) -> Self {
        let mut poller = Self { address, version, sid: String::new() };
        let open = poller.get().await;
        let sid = open.split('"').skip_while(|part| *part != "sid").nth(2).expect("a session id");
        poller.sid = format!("&sid={sid}");
        poller
    }

    /// Polls once.
    async fn get(&self) -> String {
        self.request("GET", "").await
    }

    /// Sends one packet.
    async fn say(&self, packet: &str) {
        let body = self.body(packet);
        assert_eq!(self.request("POST", &body).await, "ok");
    }

    /// A payload of one packet.
    fn body(&self, packet: &str) -> String {
        if self.version == 3 { format!("{}:{packet}", packet.len()) } else { packet.to_owned() }
    }

    async fn request(&self, method: &str, body: &str) -> String {
        let Self { address, version, sid } = self;
        let request = format!(
            "{method} /socket.io/?EIO={version}&transport=polling{sid} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        within(async {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(request.as_bytes()).await.expect("open");
            stream.read_to_string(&mut answer).await.expect("text");
        })
        .await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

#[tokio::test]
async fn over_websocket_version_4_proves_by_the_pong_of_a_ping_behind_the_packets() {
    let mut server = Listening::start(Config::default()).await;
    let mut client = Wire::open(server.address, 4).await;
    client.say("4track 2").await;
    client.messages(1, 2).await;
    client.say("3").await;
    client.say("4unasked").await;
    server.told_nothing_before("unasked").await;
    client.say("4ask").await;
    assert_eq!(client.text().await, "2");
    client.say("4track 1").await;
    client.messages(3, 1).await;
    client.say("4pinged").await;
    server.told_nothing_before("pinged").await;
    client.say("3").await;
    assert_eq!(server.told().await, Told::Confirmed(vec![1, 2]));
    client.say("3").await;
    client.say("4twice").await;
    server.told_nothing_before("twice").await;
    drop(client);
    assert_eq!((server.told().await, server.told().await), (Told::Unconfirmed(vec![3]), Told::Closed));
}

#[tokio::test]
async fn over_websocket_version_3_proves_by_the_pong_of_a_frame() {
    let mut server = Listening::start(Config::default()).await;
    let mut client = Wire::open(server.address, 3).await;
    client.say("4track 2").await;
    client.messages(1, 2).await;
    for foreign in [&b""[..], b"12345678", &2_u64.to_be_bytes(), &3_u64.to_be_bytes()] {
        client.send(PONG, foreign).await;
    }
    client.say("4unasked").await;
    server.told_nothing_before("unasked").await;
    client.say("4ask").await;
    let (first, mark) = client.frame().await;
    assert_eq!(first, PING);
    client.say("4track 1").await;
    client.messages(3, 1).await;
    client.send(PONG, b"foreign!").await;
    client.say("4pinged").await;
    server.told_nothing_before("pinged").await;
    client.send(PONG, &mark).await;
    assert_eq!(server.told().await, Told::Confirmed(vec![1, 2]));
    client.send(PONG, &mark).await;
    client.say("4twice").await;
    server.told_nothing_before("twice").await;
    drop(client);
    assert_eq!((server.told().await, server.told().await), (Told::Unconfirmed(vec![3]), Told::Closed));
}

#[tokio::test]
async fn over_polling_the_next_poll_proves_what_the_response_before_it_carried() {
    for version in [3, 4] {
        let mut server = Listening::start(Config::default()).await;
        let client = Poller::open(server.address, version).await;
        client.say("4track 2").await;
        client.say("4queued").await;
        server.told_nothing_before("queued").await;
        assert!(client.get().await.ends_with("4m2"));
        if version == 4 {
            client.say("3").await;
        }
        client.say("4ask").await;
        client.say("4answered").await;
        server.told_nothing_before("answered").await;
        client.say("4track 1").await;
        assert_eq!(client.get().await, client.body("4m3"), "no ping: the next poll is the proof");
        assert_eq!(server.told().await, Told::Confirmed(vec![1, 2]));
        client.say("1").await;
        assert_eq!((server.told().await, server.told().await), (Told::Unconfirmed(vec![3]), Told::Closed));
    }
}

/// The session then ends for want of a sign of life.
#[tokio::test]
async fn a_client_that_does_not_poll_again_has_proved_nothing() {
    for version in [3, 4] {
        let config = Config { ping_interval_ms: 1_000, ping_timeout_ms: 2_000, ..Config::default() };
        let mut server = Listening::start(config).await;
        let client = Poller::open(server.address, version).await;
        client.say("4track 1").await;
        assert!(client.get().await.contains("4m1"));
        assert_eq!((server.told().await, server.told().await), (Told::Unconfirmed(vec![1]), Told::Closed));
    }
}

#[tokio::test]
async fn after_an_upgrade_the_websocket_proves_what_went_out_over_polling() {
    let mut server = Listening::start(Config::default()).await;
    let poller = Poller::open(server.address, 4).await;
    poller.say("4track 1").await;
    assert_eq!(poller.get().await, "4m1");
    let mut client = Wire::upgrade(&poller).await;
    client.say("4ask").await;
    assert_eq!(client.text().await, "2");
    client.say("4pinged").await;
    server.told_nothing_before("pinged").await;
    client.say("3").await;
    assert_eq!(server.told().await, Told::Confirmed(vec![1]));
}

/// It goes on living by its heartbeat. What is remembered for it has a limit, and the oldest goes first.
#[tokio::test]
async fn a_peer_that_never_answers_a_ping_frame_stays_bounded() {
    const BATCH: u64 = 500;
    const BATCHES: u64 = MAX_UNCONFIRMED / BATCH + 1;
    let mut server = Listening::start(Config::default()).await;
    let mut client = Wire::open(server.address, 3).await;
    for batch in 0..BATCHES {
        client.say(&format!("4track {BATCH}")).await;
        let mut seq = batch * BATCH + 1;
        while seq <= (batch + 1) * BATCH {
            let (first, payload) = client.frame().await;
            if first == TEXT {
                assert_eq!(payload, format!("4m{seq}").into_bytes());
                seq += 1;
            }
        }
    }
    client.say("4here").await;
    server.told_nothing_before("here").await;
    drop(client);
    let sent = BATCH * BATCHES;
    let remembered = sent - MAX_UNCONFIRMED + 1..=sent;
    assert_eq!((server.told().await, server.told().await), (Told::Unconfirmed(remembered.collect()), Told::Closed));
}
