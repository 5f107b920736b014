//! The HTTP side of Engine.IO: which request may do what, in the order of the official server's checks, with its error codes.
//!
//! Spec: Engine.IO v4, "Handshake", "HTTP long-polling", "Upgrade".

use std::{
    borrow::Cow,
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    Application, Body, Handshake, Permit, Rejection, Session, Transport,
    accept::{accepts_gzip, asks_for_websocket, switch_protocols},
    channel::Channel,
    deflate::gzip,
    io::take_stream,
    session::{Answer, Command},
    task::{PayloadForm, Way},
};
use crate::protocol::engineio::{CloseReason, Jsonp, TransportKind, Version};

/// Time for the body of a POST.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Version 3 over WebSocket: time between the answer to the handshake and the open packet.
///
/// Programs for this version, its official test suite among them, begin to listen for messages when they have seen the answer. A
/// read that brings both loses them the open packet, and separate writes end up in one read of a program that is busy for a moment.
/// Nothing that comes back tells when the answer was taken in, so there is a while for it. Only clients up to 2.x notice, and of
/// those only the ones that begin with a WebSocket.
const V3_HEAD_START: Duration = Duration::from_millis(20);

/// Why a request is refused, with the number clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    TransportUnknown = 0,
    UnknownSid = 1,
    BadHandshakeMethod = 2,
    BadRequest = 3,
    Forbidden = 4,
    UnsupportedVersion = 5,
    /// The server takes no new sessions; known to no client, which all try again on any failure.
    Stopping = 6,
    /// The process is short of memory; as unknown to clients.
    Crowded = 8,
}

/// The number of [`reject`], after those of [`Refusal`].
const REJECTED: u8 = 7;

impl Refusal {
    fn message(self) -> &'static str {
        match self {
            Self::TransportUnknown => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
            Self::Stopping => "Server is shutting down",
            Self::Crowded => "Server has no memory for more sessions",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Stopping | Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            Self::TransportUnknown
            | Self::UnknownSid
            | Self::BadHandshakeMethod
            | Self::BadRequest
            | Self::UnsupportedVersion => StatusCode::BAD_REQUEST,
        }
    }
}

/// The query parameters of Engine.IO; the last of repeated ones counts.
#[derive(Debug, Default)]
struct Query<'a> {
    eio: Option<Cow<'a, str>>,
    transport: Option<Cow<'a, str>>,
    sid: Option<Cow<'a, str>>,
    base64: bool,
    jsonp: Option<Jsonp>,
}

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "EIO" => parsed.eio = Some(value),
                "transport" => parsed.transport = Some(value),
                // An empty one is none.
                "sid" => parsed.sid = Some(value).filter(|sid| !sid.is_empty()),
                "b64" => parsed.base64 = !matches!(&*value, "" | "0" | "false"),
                "j" => parsed.jsonp = Some(Jsonp::from_query(&value)),
                _ => {}
            }
        }
        parsed
    }
}

/// The session that a request with this query is about.
#[must_use]
pub fn sid_of(query: &str) -> Option<Cow<'_, str>> {
    Query::parse(query).sid
}

/// The answer to a request about a session that is not there, or to an upgrade: the client begins anew.
#[must_use]
pub fn unknown_session(is_upgrade: bool) -> Response<Body> {
    if is_upgrade { refuse_upgrade(Refusal::UnknownSid) } else { refuse(Refusal::UnknownSid) }
}

impl<A: Application> Transport<A> {
    /// Answers one request to the Engine.IO path. An upgrade goes on in a task of its own.
    pub async fn handle(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let is_upgrade = asks_for_websocket(request.headers());
        match self.dispatch(&mut request, peer, is_upgrade).await {
            Ok(response) => response,
            Err(refusal) if is_upgrade => refuse_upgrade(refusal),
            Err(refusal) => refuse(refusal),
        }
    }

    async fn dispatch(
        &self,
        request: &mut Request<Incoming>,
        peer: SocketAddr,
        is_upgrade: bool,
    ) -> Result<Response<Body>, Refusal> {
        let uri = request.uri().clone();
        let query = Query::parse(uri.query().unwrap_or_default());
        let kind = query.transport.as_deref().and_then(TransportKind::from_query);
        let kind = kind.filter(|kind| self.config().offers(*kind)).ok_or(Refusal::TransportUnknown)?;
        let session = match &query.sid {
            Some(sid) => Some(self.shared.registry.find(sid).ok_or(Refusal::UnknownSid)?),
            None => None,
        };
        if session.is_none() && request.method() != Method::GET {
            return Err(Refusal::BadHandshakeMethod);
        }
        if is_upgrade != (kind == TransportKind::WebSocket) {
            return Err(Refusal::BadRequest);
        }
        if let Some(session) = session {
            return match kind {
                TransportKind::WebSocket => self.upgrade_session(request, session, query.base64),
                TransportKind::Polling => self.poll(request, &session).await,
            };
        }
        let version = query.eio.as_deref().and_then(Version::from_query);
        let version = version.filter(|version| *version == Version::V4 || self.config().allow_eio3);
        let version = version.ok_or(Refusal::UnsupportedVersion)?;
        if self.shared.closing.get().is_some() {
            return Err(Refusal::Stopping);
        }
        if self.shared.memory_is_scarce.load(Ordering::Relaxed) {
            return Err(Refusal::Crowded);
        }
        let handshake = handshake(request, version, peer);
        if !self.application().allows(&handshake) {
            return Err(Refusal::Forbidden);
        }
        let permit = match self.application().admit(peer.ip()) {
            Ok(permit) => permit,
            Err(rejection) => return Ok(reject(rejection)),
        };
        match kind {
            TransportKind::WebSocket => self.open_websocket(request, handshake, query.base64, permit),
            TransportKind::Polling => {
                let form = PayloadForm { base64_only: query.base64, jsonp: query.jsonp };
                let session = self.open(handshake, Way::Polling(form), permit);
                self.poll_get(request.headers(), &session).await
            }
        }
    }

    // ---- polling ---------------------------------------------------------------------------------------------------------

    async fn poll(&self, request: &mut Request<Incoming>, session: &Arc<Session>) -> Result<Response<Body>, Refusal> {
        if session.transport() != TransportKind::Polling {
            return Err(Refusal::BadRequest);
        }
        match *request.method() {
            Method::GET => self.poll_get(request.headers(), session).await,
            Method::POST => self.poll_post(request, session).await,
            _ => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    async fn poll_get(&self, headers: &HeaderMap, session: &Session) -> Result<Response<Body>, Refusal> {
        let (sender, answer) = oneshot::channel();
        session.command(Command::Get(sender)).map_err(|_| Refusal::UnknownSid)?;
        match answer.await {
            Ok(Answer::Payload { body, content_type }) => {
                let response = self.respond_to_poll(headers, content_type, body);
                Ok(without_xss_filter(headers, response))
            }
            Ok(Answer::Taken | Answer::Refused) => Ok(empty(StatusCode::BAD_REQUEST)),
            // The session has ended meanwhile.
            Err(_) => Err(Refusal::UnknownSid),
        }
    }

    fn respond_to_poll(&self, headers: &HeaderMap, content_type: &'static str, body: Bytes) -> Response<Body> {
        let config = self.config();
        let is_worth_it = config.compression && body.len() >= config.compression_threshold_bytes;
        let compressed = if is_worth_it && accepts_gzip(headers) { gzip(&body) } else { None };
        let Some(compressed) = compressed else { return respond(StatusCode::OK, content_type, body) };
        let mut response = respond(StatusCode::OK, content_type, compressed);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    }

    async fn poll_post(
        &self,
        request: &mut Request<Incoming>,
        session: &Arc<Session>,
    ) -> Result<Response<Body>, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let binary = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"));
        // A second one might overtake the first, whose body is still on its way.
        if !session.begin_post() {
            session.close(CloseReason::Overlap);
            return Ok(close_connection(StatusCode::BAD_REQUEST));
        }
        let mut post = Post { session, is_answered: false };
        let body = Limited::new(request.body_mut(), session.max_message_bytes());
        let body = match timeout(BODY_TIMEOUT, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                session.close(CloseReason::TooLarge);
                post.is_answered = true;
                return Ok(close_connection(StatusCode::PAYLOAD_TOO_LARGE));
            }
            Ok(Err(_)) | Err(_) => return Ok(close_connection(StatusCode::REQUEST_TIMEOUT)),
        };
        let (sender, answer) = oneshot::channel();
        session.command(Command::Post { body, binary, answer: sender }).map_err(|_| Refusal::UnknownSid)?;
        let answer = answer.await;
        post.is_answered = true;
        match answer {
            Ok(Answer::Taken) => {
                // Some browsers offer to save text/plain.
                let response = respond(StatusCode::OK, "text/html", Bytes::from_static(b"ok"));
                Ok(without_xss_filter(request.headers(), response))
            }
            Ok(Answer::Refused | Answer::Payload { .. }) => Ok(empty(StatusCode::BAD_REQUEST)),
            Err(_) => Err(Refusal::UnknownSid),
        }
    }

    // ---- WebSocket ---------------------------------------------------------------------------------------------------------

    fn open_websocket(
        &self,
        request: &mut Request<Incoming>,
        handshake: Handshake,
        base64_only: bool,
        permit: Option<Permit>,
    ) -> Result<Response<Body>, Refusal> {
        let (response, deflate) = switch_protocols(request.headers(), self.config()).ok_or(Refusal::BadRequest)?;
        let upgrade = hyper::upgrade::on(request);
        let transport = self.clone();
        self.shared.tracker.spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let mut channel = Channel::new(take_stream(upgraded), deflate).base64_only(base64_only);
                if handshake.version == Version::V3 {
                    poll_fn(|cx| channel.poll_write(cx)).await.ok();
                    sleep(V3_HEAD_START).await;
                }
                transport.open(handshake, Way::WebSocket(channel), permit);
            }
        });
        Ok(response)
    }

    fn upgrade_session(
        &self,
        request: &mut Request<Incoming>,
        session: Arc<Session>,
        base64_only: bool,
    ) -> Result<Response<Body>, Refusal> {
        if !self.config().upgrades() {
            return Err(Refusal::BadRequest);
        }
        // A session that has been upgraded already closes the newcomer after the handshake, as the official server does.
        let (response, deflate) = switch_protocols(request.headers(), self.config()).ok_or(Refusal::BadRequest)?;
        let upgrade = hyper::upgrade::on(request);
        self.shared.tracker.spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                // When the session has ended meanwhile, the stream is dropped with the command.
                let channel = Channel::new(take_stream(upgraded), deflate).base64_only(base64_only);
                let mut channel = Box::new(channel);
                // The answer to the upgrade, which the client waits for before it probes. Whether it is gone shows then.
                poll_fn(|cx| channel.poll_write(cx)).await.ok();
                drop(session.command(Command::Candidate(channel)));
            }
        });
        Ok(response)
    }
}

/// A POST that is under way. A client that breaks off in the middle of a body has lost packets: its session ends with the request.
struct Post<'a> {
    session: &'a Session,
    is_answered: bool,
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.session.close(CloseReason::TransportError);
        }
        self.session.end_post();
    }
}

fn handshake(request: &Request<Incoming>, version: Version, peer: SocketAddr) -> Handshake {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(Box::from);
    Handshake {
        version,
        query: request.uri().query().unwrap_or_default().into(),
        authorization: text(header::AUTHORIZATION),
        cookie: text(header::COOKIE),
        origin: text(header::ORIGIN),
        fetch_site: text(HeaderName::from_static("sec-fetch-site")),
        address: peer.ip(),
    }
}

fn refuse(refusal: Refusal) -> Response<Body> {
    let body = format!(r#"{{"code":{},"message":"{}"}}"#, refusal as u8, refusal.message());
    respond(refusal.status(), "application/json", body.into())
}

/// A handshake that the layer above does not admit for now. Clients try again on any failure; programs may read when.
fn reject(rejection: Rejection) -> Response<Body> {
    let Rejection { message, limit, retry_after } = rejection;
    let millis = retry_after.as_micros().div_ceil(1000);
    let body = format!(
        r#"{{"code":{REJECTED},"message":"{message}","error":"rate_limited","limit":{limit},"retryAfterMs":{millis}}}"#
    );
    let mut response = respond(StatusCode::TOO_MANY_REQUESTS, "application/json", body.into());
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().saturating_add(1)));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A refused upgrade is a plain answer before the 101.
fn refuse_upgrade(refusal: Refusal) -> Response<Body> {
    // Old browsers' WebSockets and proxies know this status; the words say the rest.
    let status = if refusal == Refusal::Forbidden { StatusCode::BAD_REQUEST } else { refusal.status() };
    let mut response = respond(status, "text/html", Bytes::from_static(refusal.message().as_bytes()));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Old Internet Explorers take a payload for an attack by script unless they are told that it is none.
fn without_xss_filter(headers: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    if agent.is_some_and(|agent| agent.contains(";MSIE") || agent.contains("Trident/")) {
        response.headers_mut().insert(header::X_XSS_PROTECTION, HeaderValue::from_static("0"));
    }
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

/// Refuses a request whose body was not read to its end: the rest must not be taken for the next request.
fn close_connection(status: StatusCode) -> Response<Body> {
    let mut response = empty(status);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
