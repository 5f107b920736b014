//! The floor of long-polling: the least work on hyper for the echo fixture. Hobnob speaks HTTP through hyper,
//! too: what it costs beyond this is its own.
//!
//! One thread. It knows the exact text of this benchmark's client, checks nothing, and serves nobody else.

use std::{
    collections::HashMap,
    convert::Infallible,
    mem,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime, sync::Notify};

/// The floor of the echo fixture over HTTP.
#[derive(Debug, Parser)]
struct Arguments {
    /// The port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The time between two pings, as the client is told. None are sent.
    #[arg(long)]
    ping_interval_ms: u64,
}

/// What a client is to be sent with its next poll.
#[derive(Default)]
struct Session {
    payload: Mutex<Vec<u8>>,
    filled: Notify,
}

struct Floor {
    ping_interval_ms: u64,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let floor = Arc::new(Floor { ping_interval_ms: arguments.ping_interval_ms, sessions: Mutex::default() });
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(floor, arguments.port))
}

async fn serve(floor: Arc<Floor>, port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = Arc::clone(&floor);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&floor, request));
            // A client that goes in the middle of a request is no error of the server.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(floor: &Floor, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let sid = request.uri().query().and_then(|query| query.split_once("&sid=")).map_or("", |(_, sid)| sid);
    let session = lock(&floor.sessions).get(sid).cloned();
    let body = match session {
        None => floor.open(),
        Some(session) if request.method() == Method::POST => {
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            session.receive(&body.unwrap_or_default());
            Bytes::from_static(b"ok")
        }
        Some(session) => session.payload().await,
    };
    let response = Response::builder().header("content-type", "text/plain; charset=UTF-8");
    Ok(response.body(Full::new(body)).unwrap_or_default())
}

impl Floor {
    fn open(&self) -> Bytes {
        let mut sessions = lock(&self.sessions);
        let sid = format!("{:020}", sessions.len());
        let open = format!(
            r#"0{{"sid":"{sid}","upgrades":[],"pingInterval":{},"pingTimeout":60000,"maxPayload":1000000}}"#,
            self.ping_interval_ms
        );
        sessions.insert(sid, Arc::default());
        open.into()
    }
}

impl Session {
    fn receive(&self, packet: &[u8]) {
        let mut payload = lock(&self.payload);
        if !payload.is_empty() {
            payload.push(0x1e);
        }
        if let Some((ack, argument)) = packet.strip_prefix(b"42").and_then(split_echo) {
            payload.extend([b"43", ack, b"[", argument].concat());
        } else {
            payload.extend_from_slice(b"40{\"sid\":\"AAAAAAAAAAAAAAAAAAAA\"}\x1e42[\"auth\",{}]");
        }
        self.filled.notify_one();
    }

    /// Everything there is to be sent, once there is something.
    async fn payload(&self) -> Bytes {
        loop {
            let payload = mem::take(&mut *lock(&self.payload));
            if !payload.is_empty() {
                return payload.into();
            }
            self.filled.notified().await;
        }
    }
}

/// The ack id and the argument of an `echo`, with the bracket that ends the event.
fn split_echo(event: &[u8]) -> Option<(&[u8], &[u8])> {
    let (ack, event) = event.split_at(event.iter().position(|&byte| byte == b'[')?);
    Some((ack, event.strip_prefix(br#"["echo","#)?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
