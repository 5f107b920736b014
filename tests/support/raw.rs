//! A connection whose bytes a test chooses one by one.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::within;

/// A text frame that is whole.
pub const TEXT: u8 = 0x81;

/// A connection.
pub struct Raw {
    stream: TcpStream,
    /// Read and not looked at yet.
    read: Vec<u8>,
}

/// Allows this process as many files as it may have: tests of many connections need them.
pub fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the hard limit is allowed");
}

/// The request that opens a WebSocket; `more` are lines of its own, each with its end.
pub fn upgrade(query: &str, more: &str) -> String {
    format!(
        "GET /socket.io/?EIO=4&transport=websocket{query} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// The head of a frame with this first byte, masked with zeros, which leave the payload as it is.
pub fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => head.push(0x80 | length),
        (_, Ok(length)) => {
            head.push(0x80 | 0x7e);
            head.extend(length.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 0x7f);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// A frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("it listens");
        Self { stream, read: Vec::new() }
    }

    /// Connects with so small a buffer that little is on its way to somebody who does not read.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let stream = within("a connection", socket.connect(address)).await.expect("it listens");
        Self { stream, read: Vec::new() }
    }

    /// Opens a WebSocket and reads the handshake; joins `/` with this token, if there is one.
    pub async fn open(mut self, token: Option<&str>) -> Self {
        self.send(upgrade("", "").as_bytes()).await;
        let status = self.status().await;
        assert_eq!(status, Some(101));
        assert!(self.text().await.expect("a handshake").starts_with('0'));
        if let Some(token) = token {
            self.say(&format!(r#"40{{"token":"{token}"}}"#)).await;
            assert!(self.text().await.expect("an answer").starts_with("40"));
        }
        self
    }

    /// Sends bytes; false when the server does not want them any more.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        within("room for bytes", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Sends a packet as a text frame.
    pub async fn say(&mut self, packet: &str) -> bool {
        self.send(&frame(TEXT, packet.as_bytes())).await
    }

    /// Reads some bytes more; false at the end.
    async fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match within("bytes", self.stream.read(&mut chunk)).await {
            Ok(length @ 1..) => {
                self.read.extend_from_slice(&chunk[..length]);
                true
            }
            Ok(0) | Err(_) => false,
        }
    }

    /// Reads the head of an HTTP answer and gives its status; `None` when the connection ended before.
    pub async fn status(&mut self) -> Option<u16> {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.read.drain(..end + 4).collect()).expect("text");
                return head.split(' ').nth(1).and_then(|status| status.parse().ok());
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The same, however long it takes.
    pub async fn patient_status(&mut self) -> Option<u16> {
        self.stream.readable().await.ok()?;
        self.status().await
    }

    /// The next frame: its first byte and its payload; `None` at the end.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let (head, length) = match self.read.get(1) {
                Some(126) => {
                    (4, self.read.get(2..4).map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))))
                }
                Some(127) => {
                    let length = self.read.get(2..10).map(|bytes| u64::from_be_bytes(bytes.try_into().expect("eight")));
                    (10, length.map(|length| usize::try_from(length).expect("a length")))
                }
                length => (2, length.map(|length| usize::from(*length))),
            };
            if let Some(length) = length
                && self.read.len() >= head + length
            {
                let mut frame: Vec<u8> = self.read.drain(..head + length).collect();
                let payload = frame.split_off(head);
                return Some((frame[0], payload));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next text packet; `None` at the end.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            match self.frame().await? {
                (TEXT, payload) => return Some(String::from_utf8(payload).expect("UTF-8")),
                (0x88, _) => return None,
                _ => {}
            }
        }
    }

    /// Reads to the end, and gives the code of the close frame, if one came.
    pub async fn closed(mut self) -> Option<u16> {
        let mut code = None;
        while let Some((first, payload)) = self.frame().await {
            if first == 0x88 {
                code = payload.get(..2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
            }
        }
        code
    }

    /// Whether the server has left the connection open so far.
    pub fn is_open(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.try_read(&mut chunk) {
                Ok(1..) => {}
                Ok(0) => return false,
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Ends the connection at once, with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("an option");
    }
}
