//! A WebSocket without Engine.IO on top, which sends every message back: what conformance suites for RFC 6455 talk to. It runs on the
//! same frames, limits and compression as a session.

use std::{future::poll_fn, time::Duration};

use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming as IncomingBody};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_util::task::TaskTracker;

use super::{
    Body, Config,
    accept::{asks_for_websocket, switch_protocols},
    channel::{Channel, Continue, ReadEnd},
    io::take_stream,
    websocket::{Incoming, close_frame, frame, pong_frame},
};

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
/// How long a closed WebSocket waits for the client to close its half.
const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// Answers a WebSocket handshake, whatever its path, and echoes on that connection until it ends, in a task of `tracker`.
pub fn echo(request: &mut Request<IncomingBody>, config: &Config, tracker: &TaskTracker) -> Response<Body> {
    let Some(response) = accept(request.headers()) else {
        let mut refusal = Response::new(Body::default());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return refusal;
    };
    let upgrade = hyper::upgrade::on(request);
    let max_bytes = config.max_http_buffer_bytes;
    tracker.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            run(Channel::new(take_stream(upgraded)), max_bytes).await;
        }
    });
    response
}

fn accept(headers: &HeaderMap) -> Option<Response<Body>> {
    if asks_for_websocket(headers) { switch_protocols(headers) } else { None }
}

/// Reads, and writes what that asks for before it reads on, so that a client that does not take its answers is not read from.
async fn run(mut channel: Channel, max_bytes: usize) {
    loop {
        let mut answers = Vec::new();
        let mut end = None;
        let read = poll_fn(|cx| {
            channel.poll_read(cx, max_bytes, &mut |incoming| {
                answers.push(match incoming {
                    Incoming::Text(text) => frame(TEXT, text.as_bytes()),
                    Incoming::Binary(data) => frame(BINARY, data),
                    Incoming::Ping(data) => pong_frame(data),
                    Incoming::Pong(_) => return Continue::Yes,
                    Incoming::Close(code) => {
                        end = Some(code);
                        return Continue::Pause;
                    }
                });
                Continue::Yes
            })
        });
        match read.await {
            Ok(_) => {}
            Err(ReadEnd::Gone) => return,
            Err(ReadEnd::Broken(error)) => end = Some(Some(error.close_code())),
        }
        for answer in answers {
            channel.queue_frame(answer);
        }
        if let Some(code) = end {
            channel.queue_frame(close_frame(code));
        }
        if poll_fn(|cx| channel.poll_write(cx)).await.is_err() {
            return;
        }
        if end.is_some() {
            poll_fn(|cx| channel.poll_shutdown(cx)).await;
            timeout(CLOSE_LINGER, poll_fn(|cx| channel.poll_end(cx))).await.ok();
            return;
        }
    }
}
