//! The Unix socket: made with its permissions before anybody can connect, taken away when the server stops.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{Method, Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use thiserror::Error;
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::util::MapResponse;

use crate::http::Stopper;

/// Longest path of a Unix socket, in bytes: what fits into `sockaddr_un` with the zero at its end.
const MAX_PATH_BYTES: usize = 107;
/// Connections at the same time. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8;
const BACKLOG: u32 = 16;
/// Time for a connection, from the first byte to the last answer. The commands make one per request.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Time for the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for what is under way when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for another server to take a connection.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failed accept.
const REST: Duration = Duration::from_millis(200);
const MAX_HEADERS: usize = 32;
const BUFFER_BYTES: usize = 16_384;

/// Why there is no door. The message is one line and says how to mend it.
#[derive(Debug, Error)]
pub enum DoorError {
    /// The operating system allows no such long name.
    #[error("the path of the operator's socket has {length} bytes, at most {MAX_PATH_BYTES} are possible: {path}; choose a \
             shorter data directory, or give it as a path relative to the working directory", path = path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// Somebody answers there.
    #[error("another server has the operator's socket {path}; stop that one first", path = path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// There is something else of this name.
    #[error("{path} is in the way of the operator's socket; move it away", path = path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("cannot make the operator's socket {path}: {source}", path = path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The file of the socket. It is removed when this is dropped, unless another server has put its own there meanwhile.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, number and last change: a number alone may have been given to another file meanwhile.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}

/// Makes the socket at `path` with these permissions, in the place of one that a dead server has left behind.
///
/// # Errors
///
/// When the path is too long or taken, or the operating system refuses.
pub async fn listen(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), DoorError> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_PATH_BYTES {
        return Err(DoorError::TooLong { path: path.to_owned(), length });
    }
    remove_stale(path).await?;
    make(path, mode).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => DoorError::InUse { path: path.to_owned() },
        _ => DoorError::Io { path: path.to_owned(), source },
    })
}

fn make(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Nobody can connect before the permissions are what they should be: that takes a socket that listens.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    Ok((socket.listen(BACKLOG)?, file))
}

/// Removes a socket that nobody listens on any more.
async fn remove_stale(path: &Path) -> Result<(), DoorError> {
    let failed = |source| DoorError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(DoorError::InTheWay { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match timeout(KNOCK_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Ok(Err(error)) => Err(failed(error)),
        // A server that is too busy to answer is a server.
        Ok(Ok(_)) | Err(_) => Err(DoorError::InUse { path: path.to_owned() }),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = identity(&self.path).is_ok_and(|identity| identity == self.identity);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, file = %self.path.display(), "the operator's socket was not removed");
        }
    }
}

/// Answers requests with `router` until `stopper` says stop.
pub async fn serve(listener: UnixListener, router: Router, stopper: Stopper) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stopper.stop.cancelled() => return,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let connection = serve_connection(stream, router.clone(), stopper.stop.clone());
                stopper.tracker.spawn(async move {
                    if timeout(CONNECTION_TIMEOUT, connection).await.is_err() {
                        tracing::warn!("a request of the operator took too long");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections of the operator");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn accept(listener: &UnixListener, permits: &Arc<Semaphore>) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?.0, permit))
}

async fn serve_connection(stream: UnixStream, router: Router, stop: CancellationToken) {
    // Who it was, for whoever asks the log afterwards.
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = MapResponse::new(router.clone(), move |answer: axum::response::Response| {
            if method != Method::GET {
                let status = answer.status().as_u16();
                tracing::info!(uid, request = %format_args!("{method} {path}"), status, "operator");
            }
            answer
        });
        tower::ServiceExt::oneshot(answer, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(STOP_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection of the operator ended");
    }
}
