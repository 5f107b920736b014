//! Compression on the wire: what is agreed (RFC 7692), which messages are compressed, and how what breaks the rules ends.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use hobnob::{
    http::{self, Body, Stopper},
    protocol::engineio::{CloseReason, Packet},
    transport::{Application, Config, Connection, Handshake, Outgoing, Session, Transport},
};
use hyper::{Request, body::Incoming};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const CONTINUATION: u8 = 0x00;
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const OFFER: &str = "permessage-deflate; client_max_window_bits";
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
const LIMIT: usize = 100_000;
const DEADLINE: Duration = Duration::from_secs(30);

type Sessions = Arc<Mutex<Vec<Arc<Session>>>>;

/// Sends everything back, and what begins with `all ` to everybody.
struct Hub(Sessions);

struct Member {
    session: Arc<Session>,
    all: Sessions,
}

impl Application for Hub {
    type Connection = Member;

    fn open(&self, session: Arc<Session>, _: Handshake) -> Member {
        self.0.lock().expect("whole").push(Arc::clone(&session));
        Member { session, all: Arc::clone(&self.0) }
    }
}

impl Connection for Member {
    fn handle_text(&mut self, text: &str) -> Result<(), CloseReason> {
        let packet = Outgoing::from_packet(&Packet::Text(text.into()));
        if text.starts_with("all ") {
            self.all.lock().expect("whole").iter().for_each(|session| session.send(std::slice::from_ref(&packet)));
        } else {
            self.session.send(&[packet]);
        }
        Ok(())
    }

    fn handle_binary(&mut self, data: &[u8]) -> Result<(), CloseReason> {
        self.session.send(&[Outgoing::from_packet(&Packet::Binary(data.into()))]);
        Ok(())
    }
}

async fn listen(config: Config) -> (SocketAddr, JoinSet<()>) {
    let stopper = Stopper::default();
    let transport = Transport::new(config, Hub(Sessions::default()), stopper.tracker.clone());
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
    (address, task)
}

async fn start() -> (SocketAddr, JoinSet<()>) {
    listen(Config { max_http_buffer_bytes: LIMIT, ..Config::default() }).await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// A message the way a client compresses it.
fn compress(data: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(data.len() + 1000);
    Compress::new(Compression::best(), false)
        .compress_vec(data, &mut compressed, FlushCompress::Sync)
        .expect("compressed");
    assert!(compressed.ends_with(&TAIL));
    compressed.truncate(compressed.len() - TAIL.len());
    compressed
}

/// Inflates a message by itself, with a window of that many bits.
fn inflate(data: &[u8], window_bits: u8) -> Vec<u8> {
    let mut message = Vec::with_capacity(2 * LIMIT);
    let mut inflater = Decompress::new_with_window_bits(false, window_bits);
    for part in [data, &TAIL] {
        inflater.decompress_vec(part, &mut message, FlushDecompress::Sync).expect("deflate");
    }
    message
}

fn letters(count: usize) -> String {
    "to be or not to be ".chars().cycle().take(count).collect()
}

/// A client over WebSocket that chooses every bit.
struct Wire {
    stream: TcpStream,
    /// What was agreed.
    extensions: Option<String>,
}

impl Wire {
    /// Opens a session and reads its open packet.
    async fn open(address: SocketAddr, offer: &str) -> Self {
        Self::open_version(address, offer, 4).await
    }

    async fn open_version(address: SocketAddr, offer: &str, version: u8) -> Self {
        let mut wire = Self::connect(address, &[offer], &format!("EIO={version}")).await;
        assert_eq!(wire.message(TEXT).await.1.first(), Some(&b'0'));
        wire
    }

    async fn connect(address: SocketAddr, offers: &[&str], query: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let offers = offers.iter().filter(|offer| !offer.is_empty());
        let offers: String = offers.flat_map(|offer| ["Sec-WebSocket-Extensions: ", *offer, "\r\n"]).collect();
        let request = format!(
            "GET /socket.io/?{query}&transport=websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("ASCII");
        assert!(head.starts_with("HTTP/1.1 101"));
        let extensions = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
        Self { stream, extensions: extensions.map(str::to_owned) }
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        within(async {
            let mut header = [0; 2];
            self.stream.read_exact(&mut header).await.expect("a frame");
            let length = match header {
                [_, 126] => usize::from(self.stream.read_u16().await.expect("its length")),
                [_, 127] => usize::try_from(self.stream.read_u64().await.expect("its length")).expect("short"),
                [_, short] => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.expect("its payload");
            let [first, _] = header;
            (first, payload)
        })
        .await
    }

    /// The next frame is a whole message: whether it is compressed, and what it says.
    async fn message(&mut self, kind: u8) -> (bool, Vec<u8>) {
        let (first, payload) = self.frame().await;
        assert_eq!(first & !RSV1, FIN | kind);
        let compressed = first & RSV1 != 0;
        (compressed, if compressed { inflate(&payload, 15) } else { payload })
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut frame = vec![first, 0x80 | 127];
        frame.extend((payload.len() as u64).to_be_bytes());
        if let Ok(short @ 0..126) = u8::try_from(payload.len()) {
            frame = vec![first, 0x80 | short];
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        // The server may have closed by then.
        self.stream.write_all(&frame).await.ok();
    }

    /// Sends a text message, compressed, and expects it back.
    async fn echo(&mut self, text: &str) -> bool {
        let packet = format!("4{text}");
        self.send(FIN | RSV1 | TEXT, &compress(packet.as_bytes())).await;
        let (compressed, echo) = self.message(TEXT).await;
        assert_eq!(String::from_utf8(echo).expect("UTF-8"), packet);
        compressed
    }

    /// The server closes, with this code.
    async fn closed(mut self) -> u16 {
        let (first, payload) = self.frame().await;
        assert_eq!(first, CLOSE);
        u16::from_be_bytes(payload.try_into().expect("a code"))
    }
}

#[tokio::test]
async fn what_is_agreed_stands_in_the_answer() {
    let (address, _task) = start().await;
    for (offers, answer) in [
        (&["permessage-deflate"][..], Some("")),
        (&[OFFER], Some("")),
        (&["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], Some("")),
        (&["permessage-deflate; server_max_window_bits=10"], Some("; server_max_window_bits=10")),
        (&["permessage-deflate; client_max_window_bits=10"], Some("; client_max_window_bits=10")),
        (
            &["permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9"],
            Some("; server_max_window_bits=9"),
        ),
        (&["x-webkit-deflate-frame", "permessage-deflate"], Some("")),
        (&["permessage-deflate; server_max_window_bits=8"], None),
        (&["permessage-deflate; server_max_window_bits=99"], None),
        (&["permessage-deflate; unknown"], None),
        (&["x-webkit-deflate-frame"], None),
        (&[], None),
    ] {
        let wire = Wire::connect(address, offers, "EIO=4").await;
        assert_eq!(wire.extensions, answer.map(|limits| format!("{ANSWER}{limits}")), "{offers:?}");
    }
    let (address, _task) = listen(Config { compression: false, ..Config::default() }).await;
    assert_eq!(Wire::connect(address, &[OFFER], "EIO=4").await.extensions, None);
}

#[tokio::test]
async fn messages_from_the_threshold_on_are_compressed_and_smaller_ones_are_not() {
    let (address, _task) = start().await;
    let mut wire = Wire::open(address, OFFER).await;
    for (letters_sent, compressed) in
        [(0, false), (1, false), (100, false), (1022, false), (1023, true), (99_000, true)]
    {
        // With its type the packet has one byte more.
        assert_eq!(wire.echo(&letters(letters_sent)).await, compressed, "{letters_sent} letters");
    }
    // The client may send any message as it is.
    for length in [5, 5_000] {
        let packet = format!("4{}", letters(length));
        wire.send(FIN | TEXT, packet.as_bytes()).await;
        assert_eq!(wire.message(TEXT).await, (length == 5_000, packet.into_bytes()));
    }
    let (address, _task) = listen(Config { compression_threshold_bytes: 50, ..Config::default() }).await;
    let mut wire = Wire::open(address, OFFER).await;
    assert_eq!([wire.echo(&letters(48)).await, wire.echo(&letters(49)).await], [false, true]);
}

#[tokio::test]
async fn a_client_that_did_not_offer_gets_nothing_compressed() {
    let (address, _task) = start().await;
    let mut wire = Wire::open(address, "").await;
    let packet = format!("4{}", letters(5_000));
    wire.send(FIN | TEXT, packet.as_bytes()).await;
    assert_eq!(wire.message(TEXT).await, (false, packet.into_bytes()));
}

#[tokio::test]
async fn binary_messages_are_compressed_in_both_versions() {
    let (address, _task) = start().await;
    for version in [3, 4] {
        let mut wire = Wire::open_version(address, OFFER, version).await;
        let marker: &[u8] = if version == 3 { &[4] } else { &[] };
        for (length, compressed) in [(100, false), (5_000, true)] {
            let message = [marker, letters(length).as_bytes()].concat();
            wire.send(FIN | RSV1 | BINARY, &compress(&message)).await;
            assert_eq!(wire.message(BINARY).await, (compressed, message), "version {version}");
        }
    }
}

#[tokio::test]
async fn everybody_gets_a_broadcast_in_the_form_that_was_agreed() {
    let (address, _task) = start().await;
    let mut wires = Vec::new();
    for offer in [OFFER, OFFER, "permessage-deflate; server_max_window_bits=9", ""] {
        wires.push(Wire::open(address, offer).await);
    }
    let packet = format!("4all {}", letters(20_000)).into_bytes();
    let sender = wires.first_mut().expect("the first");
    sender.send(FIN | RSV1 | TEXT, &compress(&packet)).await;
    for (wire, bits) in wires.iter_mut().zip([15, 15, 9, 0]) {
        let (first, payload) = wire.frame().await;
        assert_eq!(first, if bits == 0 { FIN | TEXT } else { FIN | RSV1 | TEXT });
        assert!(packet == if bits == 0 { payload } else { inflate(&payload, bits) }, "{bits} bits");
    }
}

#[tokio::test]
async fn a_compressed_message_in_fragments_is_put_together_and_pings_between_are_answered_at_once() {
    let (address, _task) = start().await;
    let mut wire = Wire::open(address, OFFER).await;
    let packet = format!("4{}", letters(3_000));
    let compressed = compress(packet.as_bytes());
    for cut in [0, 1, compressed.len() / 2, compressed.len()] {
        let (start, end) = compressed.split_at(cut);
        wire.send(RSV1 | TEXT, start).await;
        wire.send(PING, b"one").await;
        assert_eq!(wire.frame().await, (PONG, b"one".to_vec()));
        wire.send(CONTINUATION, &[]).await;
        wire.send(PING, b"two").await;
        assert_eq!(wire.frame().await, (PONG, b"two".to_vec()));
        wire.send(FIN | CONTINUATION, end).await;
        assert_eq!(wire.message(TEXT).await, (true, packet.clone().into_bytes()));
    }
    // One byte at a time.
    let mut bytes = Vec::new();
    for byte in &compressed {
        let first = if bytes.is_empty() { RSV1 | TEXT } else { CONTINUATION };
        bytes.extend([first, 0x81, 0, 0, 0, 0, *byte]);
    }
    bytes.extend([FIN | CONTINUATION, 0x80, 0, 0, 0, 0]);
    for byte in bytes {
        wire.stream.write_all(&[byte]).await.expect("open");
    }
    assert_eq!(wire.message(TEXT).await, (true, packet.into_bytes()));
}

#[tokio::test]
async fn what_breaks_the_rules_of_compression_is_closed_with_its_code() {
    let (address, _task) = start().await;
    let good = compress(format!("4{}", letters(2_000)).as_bytes());
    let half = good.get(..good.len() / 2).expect("half");
    let no_utf8 = compress(&[b"4".as_slice(), &[0xff; 2_000]].concat());
    for (frames, code) in [
        (vec![(RSV1 | TEXT, half), (FIN | RSV1 | CONTINUATION, half)], 1002),
        (vec![(RSV1 | PING, b"".as_slice())], 1002),
        (vec![(RSV1 | CLOSE, b"")], 1002),
        (vec![(FIN | RSV1 | RSV2 | TEXT, &good)], 1002),
        (vec![(FIN | RSV2 | TEXT, b"4")], 1002),
        (vec![(RSV1 | TEXT, half), (FIN | RSV1 | TEXT, &good)], 1002),
        (vec![(FIN | RSV1 | TEXT, b"4 is no deflate")], 1007),
        (vec![(RSV1 | TEXT, b"4 is no "), (FIN | CONTINUATION, b"deflate")], 1007),
        (vec![(FIN | RSV1 | TEXT, &no_utf8)], 1007),
    ] {
        let mut wire = Wire::open(address, OFFER).await;
        for (first, payload) in &frames {
            wire.send(*first, payload).await;
        }
        assert_eq!(wire.closed().await, code, "{frames:x?}");
    }
    let mut wire = Wire::open(address, "").await;
    wire.send(FIN | RSV1 | TEXT, &good).await;
    assert_eq!(wire.closed().await, 1002, "not agreed");
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit_whole_and_in_fragments() {
    let (address, _task) = start().await;
    let bomb = compress(&vec![b'4'; 50_000_000]);
    assert!(bomb.len() < LIMIT);
    for data in [bomb.as_slice(), &compress(&vec![b'4'; LIMIT + 1])] {
        let mut wire = Wire::open(address, OFFER).await;
        wire.send(FIN | RSV1 | TEXT, data).await;
        assert_eq!(wire.closed().await, 1009);
        let mut wire = Wire::open(address, OFFER).await;
        let (start, end) = data.split_at(data.len() / 2);
        wire.send(RSV1 | BINARY, start).await;
        wire.send(FIN | CONTINUATION, end).await;
        assert_eq!(wire.closed().await, 1009);
    }
    // By its announced length alone, and by the sum of its fragments.
    let mut wire = Wire::open(address, OFFER).await;
    wire.stream.write_all(&[FIN | RSV1 | TEXT, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).await.expect("open");
    assert_eq!(wire.closed().await, 1009);
    let mut wire = Wire::open(address, OFFER).await;
    wire.send(RSV1 | TEXT, &vec![0; LIMIT]).await;
    wire.send(CONTINUATION, &vec![0; LIMIT / 2]).await;
    assert_eq!(wire.closed().await, 1009);
    // Exactly the limit is allowed.
    let mut wire = Wire::open(address, OFFER).await;
    assert!(wire.echo(&letters(LIMIT - 1)).await);
}

#[tokio::test]
async fn a_session_that_upgrades_agrees_on_compression_too() {
    let (address, _task) = start().await;
    let open = get(address, "EIO=4", "").await.1;
    let sid = sid(&open);
    let mut wire = Wire::connect(address, &[OFFER], &format!("EIO=4&sid={sid}")).await;
    assert_eq!(wire.extensions.as_deref(), Some(ANSWER));
    wire.send(FIN | RSV1 | TEXT, &compress(b"2probe")).await;
    assert_eq!(wire.message(TEXT).await, (false, b"3probe".to_vec()));
    wire.send(FIN | TEXT, b"5").await;
    assert!(wire.echo(&letters(2_000)).await);
}

// ---- polling -------------------------------------------------------------------------------------------------------------

/// The session id of an open packet.
fn sid(open: &[u8]) -> String {
    let text = std::str::from_utf8(open).expect("UTF-8");
    text.split('"').skip_while(|part| *part != "sid").nth(2).expect("a session id").to_owned()
}

/// Polls: the head of the answer, in lower case, and its body.
async fn get(address: SocketAddr, query: &str, headers: &str) -> (String, Vec<u8>) {
    request(address, "GET", query, headers, "").await
}

async fn request(address: SocketAddr, method: &str, query: &str, headers: &str, body: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!(
        "{method} /socket.io/?{query}&transport=polling HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("an answer");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).expect("ASCII").to_lowercase(), body)
}

#[tokio::test]
async fn polling_answers_from_the_threshold_on_are_compressed_for_clients_that_accept_it() {
    let (address, _task) = start().await;
    let open = get(address, "EIO=4", "Accept-Encoding: gzip\r\n").await;
    assert!(!open.0.contains("content-encoding"), "{}", open.0);
    let sid = sid(&open.1);
    let query = format!("EIO=4&sid={sid}");
    for (accepts, letters_sent, compressed) in [
        ("Accept-Encoding: gzip, deflate, br\r\n", 1_023, true),
        ("Accept-Encoding: gzip, deflate, br\r\n", 1_022, false),
        ("Accept-Encoding: deflate, GZIP;q=0.5\r\n", 50_000, true),
        ("Accept-Encoding: gzip;q=0, br\r\n", 5_000, false),
        ("Accept-Encoding: br\r\n", 5_000, false),
        ("", 5_000, false),
    ] {
        let packet = format!("4{}", letters(letters_sent));
        assert_eq!(request(address, "POST", &query, "", &packet).await.1, b"ok");
        let (head, body) = get(address, &query, accepts).await;
        assert_eq!(head.contains("\r\ncontent-encoding: gzip\r\n"), compressed, "{accepts}{head}");
        let mut text = Vec::with_capacity(LIMIT);
        if compressed {
            Decompress::new_gzip(15).decompress_vec(&body, &mut text, FlushDecompress::Finish).expect("gzip");
        }
        assert!(packet.as_bytes() == if compressed { text } else { body }, "{accepts}");
    }
}
