//! Engine.IO over a bare WebSocket, where a test chooses every packet.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderName},
};

use super::within;

/// A WebSocket.
pub type Stream = WebSocketStream<TcpStream>;

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code of the close frame, if one came.
    pub code: Option<u16>,
    /// The packets that came before.
    pub packets: Vec<String>,
}

/// Opens a session.
pub async fn open(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Option<Stream> {
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{query}");
    let mut request = url.into_client_request().expect("a URL");
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let tcp = TcpStream::connect(address).await.ok()?;
    tcp.set_nodelay(true).ok()?;
    within("a WebSocket", client_async(request, tcp)).await.ok().map(|(stream, _)| stream)
}

/// A session, by the packet.
pub struct Packets {
    stream: Stream,
}

impl Packets {
    /// Opens a session and reads its handshake.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = open(address, "", &[]).await.expect("a WebSocket");
        let mut packets = Self { stream };
        assert!(packets.next().await.expect("open").starts_with('0'));
        packets
    }

    /// Opens a session of another version of Engine.IO and reads its handshake.
    pub async fn open_version(address: SocketAddr, version: u8) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO={version}&transport=websocket");
        let tcp = TcpStream::connect(address).await.expect("a connection");
        let (stream, _) = within("a WebSocket", client_async(url, tcp)).await.expect("a WebSocket");
        let mut packets = Self { stream };
        assert!(packets.next().await.expect("open").starts_with('0'));
        packets
    }

    /// Opens a session and joins a namespace, `/` or `/messages` with the comma.
    pub async fn join(address: SocketAddr, prefix: &str, token: &str) -> Self {
        let mut packets = Self::open(address).await;
        packets.send(&format!(r#"40{prefix}{{"token":"{token}"}}"#)).await;
        assert!(packets.next().await.expect("connected").starts_with(&format!("40{prefix}{{\"sid\"")));
        packets
    }

    /// Sends a text packet; one that the server does not want any more is lost.
    pub async fn send(&mut self, packet: &str) {
        self.send_message(Message::text(packet)).await;
    }

    /// Sends a WebSocket message.
    pub async fn send_message(&mut self, message: Message) {
        within("room for a packet", self.stream.send(message)).await.ok();
    }

    /// The next text packet; `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match within("a packet", self.stream.next()).await {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads on until the packet that begins so.
    pub async fn until(&mut self, start: &str) -> String {
        loop {
            let packet = self.next().await.unwrap_or_else(|| panic!("closed before {start}"));
            if packet.starts_with(start) {
                return packet;
            }
        }
    }

    /// Reads until the server closes.
    pub async fn closed(mut self) -> Closed {
        let mut closed = Closed { code: None, packets: Vec::new() };
        loop {
            match within("the end of the session", self.stream.next()).await {
                Some(Ok(Message::Text(text))) => closed.packets.push(text.to_string()),
                Some(Ok(Message::Close(frame))) => closed.code = frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return closed,
            }
        }
    }
}
