//! This server as a node of a cluster: who it is, and what of it is told to the rest of the process.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rand::RngExt as _;
use tokio::{sync::watch, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    copies::{self, NoCopy, Source},
    exit::{ExitCode, ExitError},
    forward::{Caller, Forwarder},
    secret,
    service::Node,
};
use crate::{
    cluster::{Cluster, Identity, NodeEvent, Nodes, is_node_id},
    config::Config,
    features::elsewhere::{Elsewhere, ElsewhereListener, Neighbors},
    http::Stopper,
    ids::UserId,
    setting::Secret,
    storage::{
        self, OpenError, Store,
        replicated::{Halt, Replica, ReplicaConfig, ReplicaState, ReplicaStatus},
    },
    telemetry::{Metrics, Obstacles, Sample},
    transport,
};

/// The file in the data directory with the name of the node.
const FILE: &str = "node_id";
/// The promise that does not hold in full while Redis is away.
const PROMISE: &str = "P24";

/// How long the last words to Redis may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a start waits for what the log says of this node's database. Without Redis it goes on alone before that.
const VERDICT: Duration = Duration::from_secs(5);
/// Time between two attempts to copy the database of another node.
const RETRY: Duration = Duration::from_secs(1);
/// What an answer of another node may take beyond the longest poll.
const SLACK: Duration = Duration::from_secs(5);

/// This server as one of several. It outlasts everything else: what is stored at the very end goes to the others, too.
pub(super) struct Membership {
    cluster: Arc<Cluster>,
    replica: ReplicaConfig,
    tracker: TaskTracker,
}

impl Membership {
    /// This server's part of a cluster, if it is one of several. Nothing is connected yet.
    pub(super) fn new(config: &Config) -> Result<Option<Self>, ExitError> {
        if !config.cluster.enabled {
            return Ok(None);
        }
        let node = match &config.cluster.node_id {
            Some(id) => id.clone(),
            None => load_or_create(&config.storage.dir)?,
        };
        let replica = ReplicaConfig::new(node.clone());
        let mut replica = replica.ok_or_else(|| ExitError::new(ExitCode::Config, "cluster.node_id is too long"))?;
        replica.spool_max_bytes = config.cluster.spool_max_bytes;
        let identity = Identity { node, secret: secret(config)? };
        let cluster = Cluster::new(&config.cluster, identity);
        // The address was checked with the other settings.
        let cluster = cluster.map_err(|error| ExitError::new(ExitCode::Config, error.to_string()))?;
        Ok(Some(Self { cluster: Arc::new(cluster), replica, tracker: TaskTracker::new() }))
    }

    /// Opens the database as that of a node.
    pub(super) fn open(&self, config: &storage::Config) -> Result<(Store, Replica), OpenError> {
        // What was left of an attempt.
        copies::forget(config);
        let (log, peers) = (Arc::new(self.cluster.log.clone()), Arc::clone(&self.cluster.nodes));
        Store::replicated(config, self.replica.clone(), log, peers)
    }

    /// The way to the others.
    pub(super) fn neighbors(&self) -> Neighbors {
        let elsewhere = Arc::new(OtherNodes(Arc::clone(&self.cluster)));
        Neighbors { adapter: Arc::clone(&self.cluster.bus) as _, elsewhere }
    }

    /// Connects, takes part in the log, and goes on telling how things are.
    pub(super) async fn start(
        &self,
        store: &Store,
        replica: Replica,
        (obstacles, metrics): (&Obstacles, &Metrics),
    ) -> Result<(), ExitError> {
        self.cluster.start().await.map_err(|unfit| {
            let message = format!("{unfit}; or set cluster.allow_volatile_redis if losing messages is all right");
            ExitError::new(ExitCode::Config, message)
        })?;
        tracing::info!(node = self.cluster.nodes.id(), "one node of a cluster");
        connect_metrics(&self.cluster, metrics);
        self.tracker.spawn(replica.run());
        if let Some(status) = store.replica_status() {
            let at_start = status.clone();
            connect_replica_metrics(&status, metrics);
            // Ends with the replica.
            self.tracker.spawn(follow(status, Arc::clone(&self.cluster.nodes), obstacles.clone()));
            return verdict(at_start).await;
        }
        Ok(())
    }

    /// What the ids of sessions end with.
    pub(super) fn tag(&self) -> String {
        self.cluster.calls.own_tag()
    }

    /// What is answered to other nodes, and where requests about their sessions go.
    pub(super) fn http(&self, store: &Store, config: &transport::Config, stopper: &Stopper) -> Option<Node> {
        let patience = config.ping_interval() + config.ping_timeout() + SLACK;
        let source = Source::new(store.clone(), store.replica_status()?, stopper.clone());
        Some(Node { forwarder: Forwarder::new(&self.cluster, patience, stopper.clone()), source })
    }

    /// Ends when the database cannot be gone on with and there is a copy of another node's. Gives the name of this node.
    pub(super) async fn copied(
        &self,
        store: &Store,
        config: &storage::Config,
        obstacles: &Obstacles,
        pause: Duration,
    ) -> Result<String, ExitError> {
        let Some(mut status) = store.replica_status() else { return std::future::pending().await };
        let halted = status.wait_for(|status| matches!(status.state, ReplicaState::Halted(_))).await;
        match halted.map(|status| status.state) {
            Ok(ReplicaState::Halted(Halt::Foreign)) => return Err(foreign()),
            Ok(_) => {}
            // The store has been closed.
            Err(_) => return std::future::pending().await,
        }
        obstacles.set(PROMISE, NoCopy::NotGiven.text());
        tokio::time::sleep(pause).await;
        let caller = Caller::new(Arc::clone(&self.cluster.calls));
        let (mut before, mut told) = (None, None);
        loop {
            let Err(why) = copies::fetch(&self.cluster, &caller, config).await else {
                return Ok(self.replica.node().to_owned());
            };
            obstacles.set(PROMISE, why.text());
            // Not at the first time: the others say once in a second that they are there.
            if before.replace(why) == Some(why) && told.replace(why) != Some(why) {
                tracing::warn!("{}", why.text());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Says goodbye, when the store is closed.
    pub(super) async fn leave(self) {
        self.tracker.close();
        let end = async {
            self.tracker.wait().await;
            self.cluster.close().await;
        };
        if timeout(PATIENCE, end).await.is_err() {
            tracing::debug!("the other nodes find out by themselves that this one has gone");
        }
    }
}

/// Waits until it is known whether this node can go on with its database: before that nobody should be served from it.
async fn verdict(mut status: watch::Receiver<ReplicaStatus>) -> Result<(), ExitError> {
    let decided = status.wait_for(|status| status.state != ReplicaState::Joining);
    match timeout(VERDICT, decided).await {
        Ok(Ok(status)) if status.state == ReplicaState::Halted(Halt::Foreign) => Err(foreign()),
        _ => Ok(()),
    }
}

/// A database from elsewhere is neither mixed into that of a cluster nor thrown away.
fn foreign() -> ExitError {
    let message = "the database has rows that are not from this cluster, which was begun by another node: move hobnob.redb and FORMAT \
                   out of the data directory, and the node copies the database of the cluster at the next start; or, to go on with \
                   these rows, start the cluster with this node first, on an empty Redis or with another cluster.prefix";
    ExitError::new(ExitCode::Data, message)
}

/// Tells the other nodes how far this one is, and the operator how it stands with them.
async fn follow(mut status: watch::Receiver<ReplicaStatus>, nodes: Arc<Nodes>, obstacles: Obstacles) {
    let mut before = None;
    loop {
        let now = status.borrow_and_update().clone();
        nodes.set_position(now.epoch, now.applied);
        if before.replace(now.state) != Some(now.state) {
            match now.state {
                ReplicaState::Connected => {
                    tracing::info!("in step with the other nodes");
                    obstacles.restore(PROMISE);
                }
                ReplicaState::Joining | ReplicaState::CatchingUp => {}
                ReplicaState::Degraded { .. } => {
                    tracing::warn!("cut off from the other nodes: messages are stored here and passed on later");
                    obstacles.degrade(PROMISE, "Redis is away, this node goes on alone");
                }
                ReplicaState::Halted(halt) => {
                    tracing::error!(?halt, "this node cannot follow the others with the database that it has");
                    obstacles.degrade(PROMISE, "the database has to be replaced by a copy of another node's");
                }
            }
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn connect_replica_metrics(status: &watch::Receiver<ReplicaStatus>, metrics: &Metrics) {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (entries, bytes, conflicts) = (status.clone(), status.clone(), status.clone());
    metrics.read("spooled_entries", move || vec![Sample::plain(number(entries.borrow().spooled_entries))]);
    metrics.read("spooled_bytes", move || vec![Sample::plain(number(bytes.borrow().spooled_bytes))]);
    metrics.read("spool_conflicts", move || vec![Sample::plain(conflicts.borrow().spool_conflicts)]);
}

fn connect_metrics(cluster: &Arc<Cluster>, metrics: &Metrics) {
    let state = cluster.redis.state();
    metrics.read("redis_connected", move || vec![Sample::plain(u64::from(state.borrow().is_connected()))]);
    let nodes = Arc::clone(cluster);
    metrics.read("cluster_nodes", move || {
        vec![Sample::plain(u64::try_from(nodes.nodes.live().len()).unwrap_or(u64::MAX))]
    });
    let bus = Arc::clone(cluster);
    metrics.read("bus_messages", move || {
        let counts = bus.bus.counts();
        [
            ("sent", counts.sent),
            ("received", counts.received),
            ("dropped, queue full", counts.dropped_full),
            ("dropped, Redis away", counts.dropped_away),
            ("malformed", counts.malformed.saturating_add(bus.nodes.refused())),
        ]
        .into_iter()
        .map(|(outcome, messages)| Sample::labelled(outcome, messages))
        .collect()
    });
}

/// The other nodes in the eyes of the features.
struct OtherNodes(Arc<Cluster>);

impl Elsewhere for OtherNodes {
    fn is_connected(&self, user: &UserId) -> bool {
        self.0.nodes.is_connected(user.as_str())
    }

    fn is_leader(&self) -> bool {
        self.0.nodes.is_leader()
    }

    fn came(&self, user: &UserId) {
        self.0.nodes.connected(user.as_str());
    }

    fn went(&self, user: &UserId) {
        self.0.nodes.disconnected(user.as_str());
    }

    fn listen(&self, listener: Arc<dyn ElsewhereListener>) {
        self.0.nodes.listen(move |event| match event {
            NodeEvent::UserConnected { user } => each_user(user, |user| listener.came(user)),
            NodeEvent::UserDisconnected { user } => each_user(user, |user| listener.went(user)),
            NodeEvent::NodeGone { .. } | NodeEvent::LeaseLost => listener.broke(),
            NodeEvent::NodeUp { .. } => {}
        });
    }
}

/// Another node cannot make up an id that this one would not let in.
fn each_user(user: &str, tell: impl Fn(&UserId)) {
    if let Ok(user) = UserId::new(user) {
        tell(&user);
    }
}

/// What the nodes know each other by.
fn secret(config: &Config) -> Result<Secret, ExitError> {
    if let Some(secret) = config.cluster.secret.as_ref().or(config.auth.jwt_secret.as_ref()) {
        return Ok(secret.clone());
    }
    // For public keys the settings demand a secret of the cluster.
    let (secret, _) = secret::load_or_create(&config.storage.dir)?;
    tracing::warn!(
        "the secret that this server has made for itself is no other node's: set the same auth.jwt_secret on all nodes"
    );
    Ok(Secret::new(String::from_utf8_lossy(&secret)))
}

/// The name in the data directory; it is made when there is none.
fn load_or_create(data_dir: &Path) -> Result<String, ExitError> {
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) if is_node_id(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => {
            let message =
                format!("{} holds no name of a node: remove it, and the node gets another one", path.display());
            return Err(ExitError::new(ExitCode::Data, message));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ExitError::from_io(ExitCode::Io, &format!("cannot read {}", path.display()), &error)),
    }
    let name = format!("{:016x}", rand::rng().random::<u64>());
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(format!("{name}\n").as_bytes())?;
        file.sync_all()
    };
    let written = write();
    written.map_err(|error| {
        ExitError::from_io(ExitCode::CannotCreate, &format!("cannot write {}", path.display()), &error)
    })?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = load_or_create(dir.path()).expect("made");
        assert!(is_node_id(&made));
        assert_eq!(load_or_create(dir.path()).expect("found"), made);
        fs::write(dir.path().join(FILE), "").expect("ours");
        assert_eq!(load_or_create(dir.path()).expect_err("empty").code, ExitCode::Data as u8);
    }
}
