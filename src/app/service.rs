//! Which request goes where: Engine.IO, REST, or a hint for a path that is a namespace.

use std::{convert::Infallible, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, response::IntoResponse};
use futures_util::FutureExt;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use tower::ServiceExt as _;

use super::{
    copies::{self, Source},
    forward::Forwarder,
};
use crate::{
    codes::ErrorCode,
    http::{Body, ClientAddress, Proxies},
    server::{Refusal, Server},
    telemetry::{Metrics, SOCKET_EVENTS},
    transport::{self, Transport},
};

/// Why a node whose database has to be replaced takes no new sessions.
const OUT_OF_STEP: &str = "this node has to copy the database of another one first";

/// Answers all HTTP requests. Cloning shares it.
#[derive(Clone)]
pub(super) struct Service {
    transport: Transport<Server>,
    rest: Router,
    rest_timeout: Duration,
    namespaces: Arc<[Arc<str>]>,
    proxies: Proxies,
    metrics: Metrics,
    node: Option<Arc<Node>>,
}

/// What a node of a cluster answers beside that.
pub(super) struct Node {
    /// Requests about sessions of other nodes.
    pub(super) forwarder: Forwarder,
    /// Copies of the database for other nodes.
    pub(super) source: Source,
}

impl Service {
    pub(super) fn new(
        transport: Transport<Server>,
        rest: Router,
        max_body_bytes: usize,
        rest_timeout: Duration,
        (proxies, metrics): (Proxies, Metrics),
        node: Option<Node>,
        namespaces: impl IntoIterator<Item = Arc<str>>,
    ) -> Self {
        let rest = rest
            .fallback(|| async { Refusal::not_found("this path was") })
            .layer(DefaultBodyLimit::max(max_body_bytes));
        let (namespaces, node) = (namespaces.into_iter().collect(), node.map(Arc::new));
        Self { transport, rest, rest_timeout, namespaces, proxies, metrics, node }
    }

    pub(super) async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let peer = request.extensions().get::<SocketAddr>().copied();
        let peer = peer.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        // Another node has looked for the client already, and there is no proxy between nodes.
        let called_for = self.node.as_ref().and_then(|node| node.forwarder.client_of(&request));
        let client = called_for.map_or_else(|| self.proxies.client(peer, request.headers()), ClientAddress);
        request.extensions_mut().insert(client);
        let path = request.uri().path();
        let engine_path = &self.transport.config().path;
        if path == engine_path || Some(path) == engine_path.strip_suffix('/') {
            return Ok(self.answer_engine(request, SocketAddr::new(client.0, peer.port())).await);
        }
        if let Some(node) = self.node.as_ref().filter(|_| path == copies::PATH)
            && node.forwarder.is_call_once(&request)
        {
            return Ok(node.source.answer());
        }
        let method = request.method().clone();
        if let Some(hint) = self.namespace_hint(&request) {
            self.refused(&method, hint.code);
            return Ok(hint.into_response());
        }
        let answer = AssertUnwindSafe(self.rest.clone().oneshot(request.map(Body::new))).catch_unwind();
        let response = match tokio::time::timeout(self.rest_timeout, answer).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => {
                tracing::error!("a REST handler panicked; its request was refused");
                Refusal::new(ErrorCode::Internal, "the server failed to handle this request").into_response()
            }
            Err(_) => Refusal::new(ErrorCode::Unavailable, "the request took too long").into_response(),
        };
        if let Some(code) = response.extensions().get::<ErrorCode>() {
            self.refused(&method, *code);
        }
        Ok(response)
    }

    async fn answer_engine(&self, request: Request<Incoming>, client: SocketAddr) -> Response<Body> {
        if let Some(node) = &self.node {
            if let Some(owner) = node.forwarder.owner(&request) {
                return node.forwarder.pass_on(request, &owner, client.ip()).await;
            }
            if node.source.is_out_of_step() && transport::sid_of(request.uri().query().unwrap_or_default()).is_none() {
                let answer = Refusal::new(ErrorCode::Unavailable, OUT_OF_STEP).into_response();
                self.count_handshake(answer.status());
                return answer;
            }
        }
        let response = self.transport.handle(request, client).await;
        self.count_handshake(response.status());
        response.map(Body::new)
    }

    /// Counts and logs a refused request. The path stays out of the log: what stands in it was chosen by the client.
    fn refused(&self, method: &Method, code: ErrorCode) {
        self.metrics.refusal(code);
        tracing::warn!(target: SOCKET_EVENTS, %method, code = code.name(), "Request refused");
    }

    /// The transport has numbers of its own for what is refused; what the server's limits refuse is counted as elsewhere.
    fn count_handshake(&self, status: StatusCode) {
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
            _ => return,
        };
        self.metrics.refusal(code);
        tracing::warn!(target: SOCKET_EVENTS, code = code.name(), "Handshake refused");
    }

    /// A client that takes the namespace for the path gets the line it meant to write.
    ///
    /// Spec: feature document, "Troubleshooting", "Connection Issues".
    fn namespace_hint(&self, request: &Request<Incoming>) -> Option<Refusal> {
        let path = request.uri().path().trim_end_matches('/');
        let is_engine = request.uri().query().is_some_and(|query| query.contains("EIO="));
        if !is_engine || !self.namespaces.iter().any(|namespace| **namespace == *path) {
            return None;
        }
        let host =
            request.headers().get(hyper::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost:4000");
        let message = format!(
            "{path} is a namespace, not a path: connect with io('http://{host}{path}', {{ auth: {{ token }} }}) and leave \
             the option `path` out"
        );
        Some(Refusal::new(ErrorCode::NotFound, message))
    }
}
