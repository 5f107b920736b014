//! HTTP/1.1 by hand, so that nothing stands between a test and the bytes.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::within;

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status, and the code of the body.
    #[track_caller]
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().expect("a code").to_owned())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Some(Self { status, headers, body: body.to_owned() })
    }
}

/// Sends one request on a connection of its own; `None` when the server closed it without an answer.
pub async fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    send(address, &bytes_of(address, method, path, headers, body)).await
}

fn bytes_of(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let lines: String = headers.iter().map(|(name, value)| [*name, ": ", *value, "\r\n"].concat()).collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n"
    );
    [request.as_bytes(), body].concat()
}

/// Sends these bytes and reads until the server closes.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    exchange(address, bytes, false).await
}

/// Sends these bytes and nothing after them.
pub async fn send_and_close(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    exchange(address, bytes, true).await
}

/// As [`try_request`], of a server that may be gone by then.
pub async fn request_if_alive(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let stream = TcpStream::connect(address).await.ok()?;
    talk(stream, &bytes_of(address, method, path, headers, body), false).await
}

async fn exchange(address: SocketAddr, bytes: &[u8], close: bool) -> Option<Answer> {
    let stream = within("a connection", TcpStream::connect(address)).await.expect("it listens");
    talk(stream, bytes, close).await
}

async fn talk(stream: TcpStream, bytes: &[u8], close: bool) -> Option<Answer> {
    let talk = async {
        let (mut reader, mut writer) = stream.into_split();
        let mut answer = Vec::new();
        // The server may answer, and close, before it has read everything.
        let write = async {
            writer.write_all(bytes).await.ok();
            if close {
                writer.shutdown().await.ok();
            }
        };
        let read = async {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut chunk).await {
                answer.extend_from_slice(&chunk[..length]);
            }
        };
        tokio::join!(write, read);
        Answer::parse(&answer)
    };
    within("an answer over HTTP", talk).await
}

/// Sends one request that must be answered.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let answer = try_request(address, method, path, headers, body).await;
    answer.unwrap_or_else(|| panic!("{method} {path} was not answered"))
}

/// Sends one request of a signed-in user, with JSON unless it is null.
pub async fn call(address: SocketAddr, token: &str, method: &str, path: &str, json: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = if json.is_null() { String::new() } else { json.to_string() };
    request(address, method, path, &headers, body.as_bytes()).await
}
