//! A server that echoes on the level of Engine.IO, and a client that writes every byte itself.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

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

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
/// How long anything may take before a test gives up on it.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Echoes, but for one origin; `burst N` is answered with so many messages, `bye` with `good` and `bye`, and the end of the session.
pub(crate) struct Echo;

pub(crate) struct Echoing(Arc<Session>);

impl Application for Echo {
    type Connection = Echoing;

    fn allows(&self, handshake: &Handshake) -> bool {
        handshake.origin.as_deref() != Some("http://foreign.example")
    }

    fn open(&self, session: Arc<Session>, _: Handshake) -> Echoing {
        Echoing(session)
    }
}

impl Echoing {
    fn send(&self, text: String) {
        self.0.send(&[Outgoing::from_packet(&Packet::Text(text.into()))]);
    }
}

impl Connection for Echoing {
    fn handle_text(&mut self, text: &str) -> Result<(), CloseReason> {
        match text.split_once(' ') {
            Some(("burst", count)) => {
                (1..=count.parse().unwrap_or(0)).take(1_000).for_each(|number: u32| self.send(format!("m{number}")));
            }
            _ if text == "bye" => {
                ["good", "bye"].map(str::to_owned).into_iter().for_each(|text| self.send(text));
                self.0.close(CloseReason::ServerClose);
            }
            _ => self.send(text.to_owned()),
        }
        Ok(())
    }

    fn handle_binary(&mut self, data: &[u8]) -> Result<(), CloseReason> {
        self.0.send(&[Outgoing::from_packet(&Packet::Binary(data.into()))]);
        Ok(())
    }
}

/// A listener with an application on it; it ends with this.
pub(crate) struct Listening<A: Application> {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport<A>,
    _task: JoinSet<()>,
}

impl Listening<Echo> {
    pub(crate) async fn echo(config: Config) -> Self {
        let stopper = Stopper::default();
        Self::start(Transport::new(config, Echo, stopper.tracker.clone()), stopper).await
    }
}

impl<A: Application> Listening<A> {
    pub(crate) async fn start(transport: Transport<A>, stopper: Stopper) -> Self {
        let engine = transport.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let engine = engine.clone();
            async move {
                let peer = *request.extensions().get::<SocketAddr>().expect("the listener knows it");
                Ok::<_, Infallible>(engine.handle(request, peer).await.map(Body::new))
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut task = JoinSet::new();
        task.spawn(http::serve(listener, http::Config::default(), service, stopper));
        Self { address, transport, _task: task }
    }

    /// Waits until so many sessions are open.
    pub(crate) async fn has_sessions(&self, count: usize) {
        within(async {
            while self.transport.sessions() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) async fn request(&self, method: &str, query: &str, headers: &[&str], body: &[u8]) -> Answer {
        send(self.address, &request(method, query, headers, body)).await.expect("an answer")
    }

    pub(crate) async fn get(&self, query: &str) -> Answer {
        self.request("GET", query, &[], b"").await
    }
}

/// One request, as bytes.
pub(crate) fn request(method: &str, query: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    let length = body.len();
    let head = format!(
        "{method} /socket.io/?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Sends these bytes and reads until the server closes; `None` when it did so without an answer.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes).await.ok();
    read_answer(&mut stream).await
}

/// Reads until the server closes.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    // A server that closes before it has read everything resets the connection.
    within(stream.read_to_end(&mut bytes)).await.ok();
    Answer::parse(&bytes)
}

/// What the server answered over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) = bytes.split_at_checked(end + 4)?;
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, body: body.to_vec() })
    }

    /// The value of a header; its name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    /// Status and text together, to be compared at once.
    pub(crate) fn said(&self) -> (u16, String) {
        (self.status, self.text())
    }
}

/// A client that polls.
pub(crate) struct Poller<'a, A: Application> {
    pub(crate) server: &'a Listening<A>,
    version: u8,
    /// The query of its requests.
    pub(crate) query: String,
    pub(crate) open: String,
}

impl<'a, A: Application> Poller<'a, A> {
    /// Opens a session; `more` is added to the query of all requests.
    pub(crate) async fn open(server: &'a Listening<A>, version: u8, more: &str) -> Self {
        let query = format!("EIO={version}&transport=polling{more}");
        let opened = server.get(&query).await;
        assert_eq!(opened.status, 200, "{opened:?}");
        let open = opened.text();
        let query = format!("{query}&sid={}", sid(&open));
        Self { server, version, query, open }
    }

    /// The query of a WebSocket that wants to take over.
    pub(crate) fn upgrade_query(&self) -> String {
        self.query.replace("transport=polling", "transport=websocket")
    }

    pub(crate) async fn get(&self) -> Answer {
        self.server.get(&self.query).await
    }

    pub(crate) async fn post(&self, body: &[u8]) -> Answer {
        self.server.request("POST", &self.query, &["Content-Type: text/plain;charset=UTF-8"], body).await
    }

    /// Posts one text packet, or several with a newline between.
    pub(crate) async fn say(&self, packets: &str) {
        let body = self.payload(packets);
        assert_eq!(self.post(body.as_bytes()).await.said(), (200, "ok".to_owned()), "{packets}");
    }

    /// What a poll brings, with a newline between packets.
    pub(crate) async fn hear(&self) -> String {
        let answer = self.get().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.packets(&answer.text())
    }

    /// The payload of text packets, written with a newline between.
    pub(crate) fn payload(&self, packets: &str) -> String {
        match self.version {
            3 => {
                let packets = packets.lines().map(|packet| format!("{}:{packet}", packet.encode_utf16().count()));
                packets.collect::<Vec<_>>().concat()
            }
            _ => packets.replace('\n', "\u{1e}"),
        }
    }

    /// The reverse, for ASCII.
    pub(crate) fn packets(&self, payload: &str) -> String {
        if self.version == 4 {
            return payload.replace('\u{1e}', "\n");
        }
        let (mut packets, mut rest) = (Vec::new(), payload);
        while let Some((length, behind)) = rest.split_once(':') {
            let (packet, behind) = behind.split_at(length.parse().expect("a length"));
            packets.push(packet);
            rest = behind;
        }
        packets.join("\n")
    }

    /// The session has ended.
    pub(crate) async fn is_gone(&self) {
        self.server.has_sessions(0).await;
        let answer = self.get().await;
        assert_eq!(answer.said(), (400, r#"{"code":1,"message":"Session ID unknown"}"#.to_owned()));
    }
}

/// The session id out of an open packet, however it is wrapped.
pub(crate) fn sid(open: &str) -> String {
    let (_, behind) = open.split_once("sid").expect("an open packet");
    behind.chars().skip_while(|c| "\\\":".contains(*c)).take_while(|c| !"\\\"".contains(*c)).collect()
}

/// A client over WebSocket.
pub(crate) struct Wire(TcpStream);

impl Wire {
    /// Opens a session and reads its open packet.
    pub(crate) async fn open(address: SocketAddr, query: &str) -> (Self, String) {
        let mut wire = Self::connect(address, query).await;
        let open = wire.text().await;
        assert!(open.starts_with('0'), "{open}");
        (wire, open)
    }

    /// Shakes hands, and no more.
    pub(crate) async fn connect(address: SocketAddr, query: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(&upgrade(query, &HANDSHAKE)).await.expect("open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        within(async {
            let mut header = [0; 2];
            self.0.read_exact(&mut header).await.ok()?;
            let [first, length] = header;
            let length = match length {
                126 => usize::from(self.0.read_u16().await.ok()?),
                127 => usize::try_from(self.0.read_u64().await.ok()?).ok()?,
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((first, payload))
        })
        .await
    }

    /// The next frame, which is text.
    pub(crate) async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await.expect("a frame");
        let text = String::from_utf8(payload).expect("UTF-8");
        assert_eq!(first, TEXT, "{text:?}");
        text
    }

    pub(crate) async fn say(&mut self, packet: &str) {
        self.send(TEXT, packet.as_bytes()).await;
    }

    /// Sends a frame; one that the server does not want any more is lost.
    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        within(self.0.write_all(&frame(first, payload))).await.ok();
    }

    /// Reads on until the close frame, and gives what it says. No text may come before.
    pub(crate) async fn close_code(mut self) -> Vec<u8> {
        let (first, payload) = self.frame().await.expect("a close frame");
        assert_eq!(first, CLOSE, "{payload:?}");
        payload
    }
}

/// A frame, masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut frame = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => frame.push(0x80 | short),
        (_, Ok(length)) => {
            frame.push(0xfe);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The headers of a WebSocket handshake.
pub(crate) const HANDSHAKE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// A request with these headers and no others.
pub(crate) fn upgrade(query: &str, headers: &[&str]) -> Vec<u8> {
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}
