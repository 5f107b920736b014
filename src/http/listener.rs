//! Accepts connections and serves HTTP/1.1 on them, within limits, until told to stop.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use super::{Config, Stream};

/// The body of every answer.
pub type Body = axum::body::Body;

/// Headers of one request, at most.
const MAX_HEADERS: usize = 100;
/// Read from a connection ahead of the request that is being handled.
const BUFFER_BYTES: usize = 16_384;
/// After a failed accept (out of descriptors, most likely) the listener rests, and longer each time.
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How a server is told to stop, and how it tells that it has.
#[derive(Clone, Debug, Default)]
pub struct Stopper {
    /// Cancelled when nothing new is to be accepted.
    pub stop: CancellationToken,
    /// All tasks that have to end before the process does.
    pub tracker: TaskTracker,
}

/// Accepts until `stopper` says stop, and answers every request with `service`.
///
/// At `config.max_connections` no more are accepted; they wait in the kernel's queue. Returns when the listener is closed;
/// connections end in tasks of the tracker.
pub async fn serve<S>(listener: TcpListener, config: Config, service: S, stopper: Stopper)
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // In a task: the caller may be what the runtime blocks on, and that lives on a thread of its own, which would have to be woken
    // for each connection and wake a worker in turn.
    let accepting = accept_all(listener, config, service, stopper.clone());
    if let Err(error) = AbortOnDropHandle::new(stopper.tracker.spawn(accepting)).await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn accept_all<S>(listener: TcpListener, config: Config, service: S, stopper: Stopper)
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let mut rest = FIRST_REST;
    loop {
        let accepted = tokio::select! {
            () = stopper.stop.cancelled() => return,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                rest = FIRST_REST;
                let connection = serve_connection(stream, peer, config.clone(), service.clone(), stopper.stop.clone());
                stopper.tracker.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; those that are open go on");
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    }
}

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(Stream, SocketAddr)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (tcp, peer) = listener.accept().await?;
    // Small packets are all there is: they must not wait for more. A peer that is gone already is noticed later.
    tcp.set_nodelay(true).ok();
    Ok((Stream::new(tcp, permit), peer))
}

/// Serves one connection, whatever it is made of; the peer's address is in the extensions of each request.
pub async fn serve_connection<I, S>(io: I, peer: SocketAddr, config: Config, service: S, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let service = tower::util::MapRequest::new(service, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size(BUFFER_BYTES.max(config.max_header_bytes))
        .max_header_size(config.max_header_bytes)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
