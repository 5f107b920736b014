//! A WebSocket without Engine.IO on top, which sends every message back: what conformance suites for RFC 6455 talk to. It runs on the
//! same frames, limits and compression as a session.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming as IncomingBody};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{
    Body, Config,
    accept::{asks_for_websocket, switch_protocols},
    channel::{Channel, Continue, ReadEnd},
    deflate::Deflate,
    io::take_stream,
    outgoing::{Outgoing, TextWriter},
    websocket::{Incoming, close_frame, pong_frame},
};
use crate::protocol::engineio::Version;

/// How long a closed WebSocket waits for the client to close its half.
const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// Answers a WebSocket handshake, whatever its path, and echoes on that connection until it ends, in a task of `tracker`.
pub fn echo(request: &mut Request<IncomingBody>, config: &Config, tracker: &TaskTracker) -> Response<Body> {
    let Some((response, deflate)) = accept(request.headers(), config) else {
        let mut refusal = Response::new(Body::default());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return refusal;
    };
    let upgrade = hyper::upgrade::on(request);
    let max_bytes = config.max_http_buffer_bytes;
    tracker.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let mut channel = Channel::new(take_stream(upgraded), deflate);
            // The answer to the upgrade: the client speaks first.
            if poll_fn(|cx| channel.poll_write(cx)).await.is_ok() {
                run(channel, max_bytes).await;
            }
        }
    });
    response
}

fn accept(headers: &HeaderMap, config: &Config) -> Option<(Response<Body>, Option<Deflate>)> {
    if asks_for_websocket(headers) { switch_protocols(headers, config) } else { None }
}

/// Reads, and writes what that asks for before it reads on, so that a client that does not take its answers is not read from.
async fn run(mut channel: Channel, max_bytes: usize) {
    loop {
        let (mut answers, mut end) = (Vec::new(), None);
        let read = poll_fn(|cx| {
            channel.poll_read(cx, max_bytes, &mut |incoming| {
                match incoming {
                    Incoming::Text(text) => answers.push(Answer::Message(text_message(text))),
                    Incoming::Binary(data) => {
                        answers.push(Answer::Message(Outgoing::binary(Bytes::copy_from_slice(data))));
                    }
                    Incoming::Ping(data) => answers.push(Answer::Frame(pong_frame(data))),
                    Incoming::Pong(_) => {}
                    Incoming::Close(code) => end = Some(code),
                }
                if end.is_none() { Continue::Yes } else { Continue::Pause }
            })
        });
        match read.await {
            Ok(_) => {}
            Err(ReadEnd::Gone) => return,
            Err(ReadEnd::Broken(error)) => end = Some(Some(error.close_code())),
        }
        for answer in answers {
            match answer {
                Answer::Message(message) => channel.queue(Version::V4, std::iter::once(message)),
                Answer::Frame(frame) => channel.queue_frame(frame),
            }
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

enum Answer {
    Message(Outgoing),
    Frame(Bytes),
}

fn text_message(text: &str) -> Outgoing {
    let mut writer = TextWriter::with_capacity(text.len());
    writer.buffer().extend_from_slice(text.as_bytes());
    Outgoing::Text(writer.finish())
}
