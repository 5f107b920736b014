//! Requests about sessions of other nodes go there: a load balancer may send each request to whichever node it likes.
//!
//! The end of a session's id tells its node ([`Calls::tag`]). The answer is streamed back, and an upgrade becomes a tunnel for the
//! bytes of the WebSocket. A request is passed on once at most; when its node is gone the answer is that the session is unknown, and
//! the client begins anew, here or elsewhere.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::response::IntoResponse as _;
use dashmap::DashMap;
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    io::{AsyncWriteExt as _, copy, split},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    cluster::{CALL_HEADER, Calls, Cluster, Node, Nodes, TAG_CHARS},
    codes::ErrorCode,
    http::{Body, Stopper},
    server::Refusal,
    transport::{self, take_stream},
};

/// Most requests and tunnels to one node at a time; more are refused.
const MAX_TO_ONE_NODE: usize = 8192;
/// Connections to one node that are kept while nothing is asked.
const MAX_IDLE: usize = 64;
/// How long they are kept: shorter than the other node waits for the head of a request.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// A node that is there takes a connection within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Headers between two neighbours, and what each node says for itself.
const NOT_PASSED_ON: &[&str] = &[
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    CALL_HEADER,
];
/// What the layer for other origins adds to the answer of every node.
const ADDED_BY_EACH: &[&str] =
    &["vary", "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"];

/// Requests from this node to others.
#[derive(Clone)]
pub(super) struct Caller {
    client: Client<HttpConnector, Body>,
    calls: Arc<Calls>,
}

impl Caller {
    pub(super) fn new(calls: Arc<Calls>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_keepalive(Some(Duration::from_secs(15)));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Self { client, calls }
    }

    /// Sends `request`, which is to have a path only, to the node `to`. `None`: it has no address, or does not answer; the log tells.
    pub(super) async fn call(
        &self,
        to: &Node,
        mut request: Request<Body>,
        client: Option<IpAddr>,
    ) -> Option<Response<Incoming>> {
        let Some(url) = &to.url else {
            tracing::debug!(node = to.id, "it has no cluster.advertise_url: nothing can be passed on to it");
            return None;
        };
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let proof = self.calls.sign(&to.id, request.method().as_str(), path, client);
        let uri: Uri = format!("{}{path}", url.trim_end_matches('/')).parse().ok()?;
        request.headers_mut().insert(CALL_HEADER, HeaderValue::try_from(proof).ok()?);
        *request.uri_mut() = uri;
        match self.client.request(request).await {
            Ok(response) => Some(response),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(node = to.id, error, "a node did not answer");
                None
            }
        }
    }
}

/// Passes requests on.
pub(super) struct Forwarder {
    nodes: Arc<Nodes>,
    calls: Arc<Calls>,
    own_tag: String,
    caller: Caller,
    /// How many more requests each node may get.
    rooms: DashMap<String, Arc<Semaphore>>,
    /// How long an answer may take: polls are answered at the next ping at the latest.
    patience: Duration,
    stopper: Stopper,
}

impl Forwarder {
    pub(super) fn new(cluster: &Cluster, patience: Duration, stopper: Stopper) -> Self {
        let (nodes, calls) = (Arc::clone(&cluster.nodes), Arc::clone(&cluster.calls));
        let (own_tag, caller) = (calls.own_tag(), Caller::new(Arc::clone(&calls)));
        Self { nodes, calls, own_tag, caller, rooms: DashMap::new(), patience, stopper }
    }

    /// The client for which another node has made this request.
    pub(super) fn client_of<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let header = request.headers().get(CALL_HEADER)?.to_str().ok()?;
        self.calls.check(header, request.method().as_str(), path(request))?.client
    }

    /// Whether another node has made this request, and nobody has made it before.
    pub(super) fn is_call_once<B>(&self, request: &Request<B>) -> bool {
        let header = request.headers().get(CALL_HEADER).and_then(|header| header.to_str().ok());
        header.is_some_and(|header| self.calls.check_once(header, request.method().as_str(), path(request)).is_some())
    }

    /// The node that has the session which the request is about, if that is another one and there. What comes from a node is not
    /// passed on again, whether or not it has proved that.
    pub(super) fn owner<B>(&self, request: &Request<B>) -> Option<Node> {
        if request.headers().contains_key(CALL_HEADER) {
            return None;
        }
        let sid = transport::sid_of(request.uri().query()?)?;
        let tag = sid.get(sid.len().checked_sub(TAG_CHARS)?..)?;
        if tag == self.own_tag {
            return None;
        }
        // This node is the first.
        self.nodes.live().into_iter().skip(1).find(|node| self.calls.tag(&node.id) == tag)
    }

    /// Has `owner` answer the request of `client`.
    pub(super) async fn pass_on(&self, mut request: Request<Incoming>, owner: &Node, client: IpAddr) -> Response<Body> {
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        let lost = || transport::unknown_session(is_upgrade).map(Body::new);
        let Ok(permit) = self.room(&owner.id).try_acquire_owned() else {
            tracing::warn!(node = owner.id, limit = MAX_TO_ONE_NODE, "too many requests are under way to a node");
            return Refusal::new(ErrorCode::Unavailable, "too many requests to one node").into_response();
        };
        let upgrade = is_upgrade.then(|| hyper::upgrade::on(&mut request));
        let outgoing = outgoing(request, is_upgrade);
        let answer = tokio::select! {
            answer = timeout(self.patience, self.caller.call(owner, outgoing, Some(client))) => answer,
            // The client finds another node.
            () = self.stopper.stop.cancelled() => return lost(),
        };
        let Ok(Some(mut response)) = answer else { return lost() };
        let is_switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        clean(response.headers_mut(), is_switched);
        for name in ADDED_BY_EACH {
            response.headers_mut().remove(*name);
        }
        match upgrade {
            Some(upgrade) if is_switched => {
                self.tunnel(upgrade, hyper::upgrade::on(&mut response), permit);
                response.map(|_| Body::empty())
            }
            _ if is_switched => lost(),
            _ => response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    // As long as there is something to come it is under way.
                    let _held = &permit;
                    frame
                }))
            }),
        }
    }

    /// Carries the bytes of a WebSocket between client and node until one of them ends it.
    fn tunnel(&self, client: OnUpgrade, owner: OnUpgrade, permit: OwnedSemaphorePermit) {
        let stop = self.stopper.stop.clone();
        let carry = async {
            let (Ok(client), Ok(owner)) = tokio::join!(client, owner) else { return };
            let mut client = take_stream(client);
            // The answer to the upgrade, which the client waits for.
            if client.flush().await.is_err() {
                return;
            }
            let (mut from_client, mut to_client) = split(client);
            let (mut from_owner, mut to_owner) = split(TokioIo::new(owner));
            // Each side closes when it hears of the other's end; a WebSocket that is open in one direction only is of no use.
            tokio::select! {
                _ = copy(&mut from_client, &mut to_owner) => to_owner.shutdown().await.ok(),
                _ = copy(&mut from_owner, &mut to_client) => to_client.shutdown().await.ok(),
            };
        };
        self.stopper.tracker.spawn(async move {
            stop.run_until_cancelled(carry).await;
            drop(permit);
        });
    }

    fn room(&self, node: &str) -> Arc<Semaphore> {
        if let Some(room) = self.rooms.get(node) {
            return Arc::clone(&room);
        }
        // Names come from heartbeats that have proved themselves; those of nodes that have gone are forgotten.
        let live = self.nodes.live();
        self.rooms.retain(|known, _| live.iter().any(|node| node.id == *known));
        Arc::clone(&self.rooms.entry(node.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(MAX_TO_ONE_NODE))))
    }
}

fn path<B>(request: &Request<B>) -> &str {
    request.uri().path_and_query().map_or("/", |path| path.as_str())
}

/// The request as it goes on: what the client has sent, except for what it has said to its neighbour.
fn outgoing(request: Request<Incoming>, is_upgrade: bool) -> Request<Body> {
    let (parts, body) = request.into_parts();
    let mut outgoing = Request::new(if is_upgrade { Body::empty() } else { Body::new(body) });
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() = parts.uri;
    *outgoing.headers_mut() = parts.headers;
    clean(outgoing.headers_mut(), is_upgrade);
    outgoing
}

/// Takes out what counts between neighbours only. An upgrade is a matter of both ends.
fn clean(headers: &mut HeaderMap, is_upgrade: bool) {
    for name in NOT_PASSED_ON {
        headers.remove(*name);
    }
    if is_upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    } else {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    #[test]
    fn what_is_said_to_a_neighbour_is_not_passed_on() {
        let names = ["connection", "keep-alive", "transfer-encoding", "upgrade", CALL_HEADER, "cookie", "origin"];
        let all = || names.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")));
        let mut headers: HeaderMap = all().into_iter().collect();
        clean(&mut headers, false);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cookie", "origin"]);
        let mut headers: HeaderMap = all().into_iter().collect();
        clean(&mut headers, true);
        assert_eq!(headers.get(header::CONNECTION).expect("kept"), "Upgrade");
        assert_eq!(headers.get(header::UPGRADE).expect("kept"), "x");
    }
}
