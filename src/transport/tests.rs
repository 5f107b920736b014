//! Sessions over a pipe in memory and on a paused clock: when proof of arrival is asked for, with which write, and how long the way
//! there and back takes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::atomic::AtomicUsize,
    task::Poll,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::advance,
};

use super::{channel::Channel, *};
use crate::protocol::engineio::Version;

const INTERVAL: Duration = Duration::from_secs(5);
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

/// What the layer above was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Confirmed(Vec<u64>),
    Unconfirmed(Vec<u64>),
    Closed(CloseReason),
}

struct Recorder(UnboundedSender<Told>);

struct Recording {
    session: Arc<Session>,
    told: UnboundedSender<Told>,
}

impl Application for Recorder {
    type Connection = Recording;

    fn open(&self, session: Arc<Session>, _: Handshake) -> Recording {
        Recording { session, told: self.0.clone() }
    }
}

impl Connection for Recording {
    fn handle_text(&mut self, _: &str) -> Result<(), CloseReason> {
        Ok(())
    }

    fn handle_binary(&mut self, _: &[u8]) -> Result<(), CloseReason> {
        Ok(())
    }

    fn handle_confirmed(&mut self, receipts: &[Receipt]) {
        self.told.send(Told::Confirmed(seqs(receipts))).ok();
    }

    fn handle_unconfirmed(&mut self, receipts: &[Receipt]) {
        self.told.send(Told::Unconfirmed(seqs(receipts))).ok();
        // As if somebody else had broadcast at this moment.
        self.session.send_tracked(&[message("late")], receipt(99));
    }

    fn handle_close(&mut self, reason: CloseReason) {
        self.told.send(Told::Closed(reason)).ok();
    }
}

fn seqs(receipts: &[Receipt]) -> Vec<u64> {
    receipts.iter().map(|receipt| receipt.seq).collect()
}

fn receipt(seq: u64) -> Receipt {
    Receipt { socket: 0, key: [0; 12], seq }
}

fn message(text: &str) -> Outgoing {
    Outgoing::from_packet(&Packet::Text(text.into()))
}

/// Counts the calls that write.
struct Counted {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(cx, &bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// One session over WebSocket, seen from both ends.
struct Pair {
    version: Version,
    session: Arc<Session>,
    told: UnboundedReceiver<Told>,
    wire: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl Pair {
    /// Opens it and reads its open packet.
    async fn open(version: Version, config: Config) -> Self {
        let (near, wire) = duplex(1 << 20);
        let (sender, told) = unbounded_channel();
        let writes = Arc::default();
        let io = Counted { io: near, writes: Arc::clone(&writes) };
        let transport = Transport::new(config, Recorder(sender), TaskTracker::new());
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (query, fetch_site) = ("".into(), None);
        let handshake =
            Handshake { version, query, authorization: None, cookie: None, origin: None, fetch_site, address };
        let session = transport.open(handshake, Way::WebSocket(Channel::new(Box::new(io), None)), None);
        let mut pair = Self { version, session, told, wire, writes };
        assert_eq!(pair.frame().await.1.first(), Some(&b'0'));
        pair
    }

    /// The next frame from the server.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.wire.read_exact(&mut header).await.expect("a frame");
        let length = match header[1] {
            126 => usize::from(self.wire.read_u16().await.expect("its length")),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.wire.read_exact(&mut payload).await.expect("its payload");
        (header[0], payload)
    }

    async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await;
        assert_eq!(first, TEXT);
        String::from_utf8(payload).expect("UTF-8")
    }

    /// The next frame, which asks for proof; gives what answers it.
    async fn asked(&mut self) -> (u8, Vec<u8>) {
        match (self.version, self.frame().await) {
            (Version::V4, (TEXT, packet)) if packet == b"2" => (TEXT, b"3".to_vec()),
            (Version::V3, (PING, mark)) => (PONG, mark),
            (version, frame) => unreachable!("{version:?} does not ask by {frame:?}"),
        }
    }

    async fn answer(&mut self, (first, payload): (u8, Vec<u8>)) {
        let length = u8::try_from(payload.len()).expect("short");
        let frame = [&[first, 0x80 | length, 0, 0, 0, 0], payload.as_slice()].concat();
        self.wire.write_all(&frame).await.expect("open");
    }

    async fn told(&mut self) -> Told {
        self.told.recv().await.expect("more is told")
    }

    fn track(&self, seq: u64) {
        self.session.send_tracked(&[message(&format!("m{seq}"))], receipt(seq));
    }
}

#[tokio::test(start_paused = true)]
async fn proof_is_asked_for_with_the_write_that_carries_the_first_packet() {
    for version in [Version::V3, Version::V4] {
        let mut pair = Pair::open(version, Config::default()).await;
        advance(INTERVAL).await;
        let (start, writes) = (clock::now(), pair.writes.load(Ordering::Relaxed));
        pair.track(1);
        pair.session.send(&[message("x")]);
        assert_eq!((pair.text().await, pair.text().await), ("4m1".to_owned(), "4x".to_owned()));
        let answer = pair.asked().await;
        assert_eq!(clock::now(), start);
        assert_eq!(pair.writes.load(Ordering::Relaxed), writes + 1, "one call for all");
        pair.answer(answer).await;
        assert_eq!(pair.told().await, Told::Confirmed(vec![1]));
    }
}

#[tokio::test(start_paused = true)]
async fn proof_is_not_asked_for_again_until_the_interval_is_over() {
    for version in [Version::V3, Version::V4] {
        let mut pair = Pair::open(version, Config::default()).await;
        advance(INTERVAL).await;
        let start = clock::now();
        pair.track(1);
        pair.text().await;
        let answer = pair.asked().await;
        // Behind the ping: its pong must not prove it.
        pair.track(2);
        pair.text().await;
        pair.answer(answer).await;
        assert_eq!(pair.told().await, Told::Confirmed(vec![1]));
        let answer = pair.asked().await;
        assert_eq!(clock::now() - start, INTERVAL);
        pair.answer(answer).await;
        assert_eq!(pair.told().await, Told::Confirmed(vec![2]));
    }
}

/// The deadline has to be set even when nothing was there to be written.
#[tokio::test(start_paused = true)]
async fn a_receipt_without_packets_is_proved_after_the_interval_too() {
    for version in [Version::V3, Version::V4] {
        let start = clock::now();
        let mut pair = Pair::open(version, Config::default()).await;
        pair.session.send_tracked(&[], receipt(1));
        let answer = pair.asked().await;
        assert_eq!(clock::now() - start, INTERVAL);
        pair.answer(answer).await;
        assert_eq!(pair.told().await, Told::Confirmed(vec![1]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_ping_interval_is_the_interval() {
    let start = clock::now();
    let mut pair = Pair::open(Version::V3, Config { ping_interval_ms: 2_000, ..Config::default() }).await;
    pair.track(1);
    pair.text().await;
    pair.asked().await;
    assert_eq!(clock::now() - start, Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn proof_is_asked_for_at_once_on_request_and_at_the_end_of_the_window() {
    for version in [Version::V3, Version::V4] {
        let start = clock::now();
        let mut pair = Pair::open(version, Config::default()).await;
        pair.track(1);
        pair.session.ask_for_proof();
        pair.text().await;
        let answer = pair.asked().await;
        // A request while a ping is on its way is met by another one behind its pong.
        pair.track(2);
        pair.session.ask_for_proof();
        pair.text().await;
        pair.answer(answer).await;
        let answer = pair.asked().await;
        pair.answer(answer).await;
        assert_eq!((pair.told().await, pair.told().await), (Told::Confirmed(vec![1]), Told::Confirmed(vec![2])));
        for seq in 3..259 {
            pair.track(seq);
        }
        for _ in 3..259 {
            pair.text().await;
        }
        let answer = pair.asked().await;
        pair.answer(answer).await;
        assert_eq!(pair.told().await, Told::Confirmed((3..259).collect()));
        assert_eq!(clock::now(), start);
    }
}

#[tokio::test(start_paused = true)]
async fn the_regular_ping_is_proof_too_and_measures_the_round_trip() {
    let start = clock::now();
    let mut pair = Pair::open(Version::V4, Config { ping_interval_ms: 3_000, ..Config::default() }).await;
    pair.track(1);
    pair.text().await;
    let answer = pair.asked().await;
    assert_eq!(clock::now() - start, Duration::from_secs(3));
    advance(Duration::from_millis(7)).await;
    pair.answer(answer).await;
    assert_eq!(pair.told().await, Told::Confirmed(vec![1]));
    let latency = pair.session.latency();
    assert_eq!((latency.last, latency.count, latency.missed), (7_000, 1, 0));
    let answer = pair.asked().await;
    advance(Duration::from_secs(4)).await;
    let latency = pair.session.latency();
    assert_eq!((latency.count, latency.missed, latency.consecutive_missed), (1, 1, 1), "on its way for too long");
    pair.answer(answer).await;
    pair.asked().await;
    let latency = pair.session.latency();
    assert_eq!((latency.max, latency.count, latency.missed), (4_000_000, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_of_version_3_measures_the_round_trip_by_a_ping_frame() {
    let mut pair = Pair::open(Version::V3, Config::default()).await;
    pair.answer((TEXT, b"2".to_vec())).await;
    assert_eq!(pair.text().await, "3");
    let answer = pair.asked().await;
    advance(Duration::from_millis(9)).await;
    pair.answer(answer).await;
    pair.answer((TEXT, b"2".to_vec())).await;
    assert_eq!(pair.text().await, "3");
    let latency = pair.session.latency();
    assert_eq!((latency.last, latency.count, latency.missed), (9_000, 1, 0));
}

/// What is sent between that and the end would be lost: neither proved nor told.
#[tokio::test(start_paused = true)]
async fn nothing_is_tracked_after_what_is_unproved_was_told() {
    let mut pair = Pair::open(Version::V4, Config::default()).await;
    pair.track(1);
    pair.session.close(CloseReason::ServerClose);
    assert_eq!(pair.told().await, Told::Unconfirmed(vec![1]));
    assert_eq!(pair.told().await, Told::Closed(CloseReason::ServerClose));
    assert_eq!(pair.text().await, "4m1", "what was queued before goes out");
    assert_eq!(pair.frame().await.0, CLOSE, "and the late one does not");
}

/// RFC 6455, section 5.5.1.
#[tokio::test(start_paused = true)]
async fn the_close_frame_of_a_client_is_answered_with_its_own_code() {
    for code in [vec![], vec![0x03, 0xe8], vec![0x0f, 0xa0]] {
        let mut pair = Pair::open(Version::V4, Config::default()).await;
        pair.answer((CLOSE, code.clone())).await;
        assert_eq!(pair.frame().await, (CLOSE, code));
        assert_eq!(pair.told().await, Told::Unconfirmed(vec![]));
        assert_eq!(pair.told().await, Told::Closed(CloseReason::ClientClose));
    }
}

#[test]
fn the_mark_of_a_ping_covers_only_what_was_taken_before_it() {
    let limits = OutboxLimits { packets: 10, bytes: 1_000 };
    let session = Session::new(Sid::fresh(), Version::V3, TransportKind::WebSocket, limits, 1_000, INTERVAL);
    for seq in 1..=3 {
        session.send_tracked(&[message("m")], receipt(seq));
    }
    let mut taken = std::collections::VecDeque::new();
    assert_eq!(session.take_outgoing_with_ping(2, &mut taken, clock::now()), None, "the third is not among them");
    assert_eq!(session.take_outgoing_with_ping(2, &mut taken, clock::now()), Some(3));
    session.send_tracked(&[message("m")], receipt(4));
    assert_eq!(session.take_outgoing_with_ping(2, &mut taken, clock::now()), None, "one is on its way");
    assert_eq!(taken.len(), 4);
    assert_eq!(seqs(&session.pong(clock::now())), [1, 2, 3]);
}

/// A session that polls.
fn polling(transport: &Transport<Recorder>) -> Arc<Session> {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (version, query, fetch_site) = (Version::V4, "".into(), None);
    let handshake = Handshake { version, query, authorization: None, cookie: None, origin: None, fetch_site, address };
    transport.open(handshake, Way::Polling(task::PayloadForm::default()), None)
}

/// The two are sent at the same time and travel on connections of their own.
#[tokio::test(start_paused = true)]
async fn a_poll_that_the_close_packet_overtakes_is_released() {
    for comes in [true, false] {
        let (sender, mut told) = unbounded_channel();
        let transport = Transport::new(Config::default(), Recorder(sender), TaskTracker::new());
        let session = polling(&transport);
        session.send(&[message("never read")]);
        let (answer, mut taken) = tokio::sync::oneshot::channel();
        let close = session::Command::Post { body: "1".into(), binary: false, answer };
        assert!(session.command(close).is_ok());
        while told.recv().await != Some(Told::Closed(CloseReason::ClientClose)) {}
        assert!(taken.try_recv().is_err(), "the client hears of the end when it is there");
        if comes {
            let (answer, released) = tokio::sync::oneshot::channel();
            assert!(session.command(session::Command::Get(answer)).is_ok());
            let released = released.await;
            assert!(matches!(released, Ok(session::Answer::Payload { body, .. }) if body == "6"));
        }
        assert!(matches!(taken.await, Ok(session::Answer::Taken)));
        assert_eq!(transport.sessions(), 0);
    }
}

/// Else it would wait for an answer that nobody gives, and a server that stops would wait for it.
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_after_the_end_is_refused() {
    for reason in [CloseReason::ServerClose, CloseReason::Shutdown, CloseReason::ParseError] {
        let (sender, mut told) = unbounded_channel();
        let tracker = TaskTracker::new();
        let transport = Transport::new(Config::default(), Recorder(sender), tracker.clone());
        let session = polling(&transport);
        session.close(reason);
        // Nobody fetches the close packet.
        tracker.close();
        tracker.wait().await;
        assert_eq!(transport.sessions(), 0);
        while told.recv().await != Some(Told::Closed(reason)) {}
        let (answer, _) = tokio::sync::oneshot::channel();
        assert!(session.command(session::Command::Get(answer)).is_err());
    }
}
