//! Copies of the database from node to node: [`Source`] gives them, [`fetch`] gets one, [`replace`] goes on with it.
//!
//! A copy is written to a file of its own while this node still serves. The server stops in order only when the copy is whole; then it
//! takes the place of the database, in one step, and the server starts with it.

use std::{
    fs::{self, File, OpenOptions},
    future::ready,
    io::{self, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::response::IntoResponse as _;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, body::Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::block_in_place,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::forward::Caller;
use crate::{
    cluster::{Cluster, Node},
    codes::ErrorCode,
    http::{Body, Stopper},
    server::Refusal,
    storage::{
        self, Store,
        replicated::{
            Carried, Export, ImportError, Imported, Place, ReplicaState, ReplicaStatus, SharedLog as _, import,
        },
    },
};

/// Where a node gets a copy. For everybody else there is nothing.
pub(super) const PATH: &str = "/cluster/copy";

/// Copies that one node gives at a time: each holds back the cleaning of its database.
const MAX_COPIES: usize = 2;
/// The next part of a copy comes within this time.
const PART_TIMEOUT: Duration = Duration::from_secs(30);
/// What the name of the file with a copy ends with, behind that of the database.
const SUFFIX: &str = "copy";

/// Gives copies to other nodes.
pub(super) struct Source {
    store: Store,
    status: watch::Receiver<ReplicaStatus>,
    copies: Arc<Semaphore>,
    stopper: Stopper,
}

/// A copy that is on its way.
struct Sending {
    export: Export,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Source {
    pub(super) fn new(store: Store, status: watch::Receiver<ReplicaStatus>, stopper: Stopper) -> Self {
        Self { store, status, copies: Arc::new(Semaphore::new(MAX_COPIES)), stopper }
    }

    /// Whether this node's own database has to be replaced.
    pub(super) fn is_out_of_step(&self) -> bool {
        matches!(self.status.borrow().state, ReplicaState::Halted(_))
    }

    /// A copy as of now, part by part; 503 when this node cannot give one at the moment.
    pub(super) fn answer(&self) -> Response<Body> {
        let busy = |why| Refusal::new(ErrorCode::Unavailable, why).into_response();
        if self.status.borrow().state != ReplicaState::Connected {
            return busy("this node is not in step itself");
        }
        let Ok(permit) = Arc::clone(&self.copies).try_acquire_owned() else { return busy("other nodes copy already") };
        match self.store.export() {
            Ok(export) => {
                let (epoch, place) = export.position();
                tracing::info!(epoch = epoch.0, %place, "another node copies the database");
                let sending = Sending { export, stop: self.stopper.stop.clone(), _permit: permit };
                Response::new(Body::from_stream(stream::try_unfold(sending, |sending| ready(sending.next()))))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot give another node a copy of the database");
                busy("the database cannot be copied")
            }
        }
    }
}

impl Sending {
    /// The next part. An error breaks the connection off, so that the receiver does not take what it has for everything.
    fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("stopping"));
        }
        // About a millisecond each; a node copies rarely.
        match block_in_place(|| self.export.next_chunk()) {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk.into(), self))),
            Err(error) => {
                tracing::error!(%error, "a row cannot be copied to another node");
                Err(io::Error::other(error))
            }
        }
    }
}

/// Why there is no copy yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoCopy {
    /// Redis does not answer, or has no log.
    NoLog,
    /// No other node is there that has the log.
    NoPeer,
    /// Those that are there have not said where.
    NoAddress,
    /// None of those asked gave a whole one.
    NotGiven,
}

impl NoCopy {
    /// What the operator is told.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::NoLog => "waits for Redis, to copy the database of another node then",
            Self::NoPeer => "waits for another node that is in step, to copy its database",
            Self::NoAddress => "cannot copy the database of another node: set cluster.advertise_url on the others",
            Self::NotGiven => "no other node has given a whole copy of its database yet: trying again",
        }
    }
}

/// The file of a copy beside the database of `config`.
pub(super) fn file(config: &storage::Config) -> PathBuf {
    config.database().with_added_extension(SUFFIX)
}

/// Copies the database of the node that is furthest, or of the next one, to [`file`].
pub(super) async fn fetch(cluster: &Cluster, caller: &Caller, config: &storage::Config) -> Result<(), NoCopy> {
    let bounds = cluster.log.bounds().await.ok().flatten().ok_or(NoCopy::NoLog)?;
    // This node is the first.
    let others = cluster.nodes.live().into_iter().skip(1);
    let mut peers: Vec<(Place, Node)> = others
        .filter_map(|node| node.position.filter(|(epoch, _)| *epoch == bounds.epoch).map(|(_, place)| (place, node)))
        .collect();
    if peers.is_empty() {
        return Err(NoCopy::NoPeer);
    }
    peers.retain(|(_, node)| node.url.is_some());
    if peers.is_empty() {
        return Err(NoCopy::NoAddress);
    }
    peers.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    for (_, peer) in &peers {
        match fetch_from(peer, caller, &file(config)).await {
            Ok(bytes) => {
                tracing::info!(node = peer.id, bytes, "copied the database of another node");
                return Ok(());
            }
            Err(error) => tracing::warn!(node = peer.id, %error, "no copy of the database of this node"),
        }
    }
    Err(NoCopy::NotGiven)
}

async fn fetch_from(peer: &Node, caller: &Caller, path: &Path) -> io::Result<u64> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = PATH.parse().map_err(io::Error::other)?;
    let answer = timeout(PART_TIMEOUT, caller.call(peer, request, None)).await?;
    let answer = answer.ok_or_else(|| io::Error::other("it does not answer"))?;
    if answer.status() != StatusCode::OK {
        return Err(io::Error::other(format!("it answers with {}", answer.status())));
    }
    tracing::info!(node = peer.id, "copying the database of another node");
    let mut body: Incoming = answer.into_body();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut bytes = 0;
    while let Some(frame) = timeout(PART_TIMEOUT, body.frame()).await? {
        let frame = frame.map_err(io::Error::other)?;
        if let Some(data) = frame.data_ref() {
            block_in_place(|| file.write_all(data))?;
            bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
        }
    }
    Ok(bytes)
}

/// Puts the copy in [`file`] in the place of the database of `node`, which is to be closed. What only that has goes along. Whatever goes
/// wrong, the old database is what is there then.
pub(super) fn replace(config: &storage::Config, node: &str) -> Result<Imported, ImportError> {
    let path = file(config);
    let carried = Carried::of(config, node)?;
    let mut copy = BufReader::with_capacity(1 << 20, File::open(&path)?);
    let imported = import(config, &mut copy, &carried)?;
    forget(config);
    Ok(imported)
}

/// Removes the copy.
pub(super) fn forget(config: &storage::Config) {
    // There is none, most times.
    fs::remove_file(file(config)).ok();
}
