//! The other nodes, by their heartbeats: who is there, how far it is, and which users are connected to it.
//!
//! Every second, and soon after a user has come or gone, each node says so on a channel of the cluster. What has changed goes
//! out at once, the full list every few beats, and in place of a change that got lost. A node that is silent for a lease is gone
//! with all its users; one that stops says so. Beats carry a proof that their sender knows the secret of the cluster: whoever can
//! merely write to Redis cannot make up nodes.

mod beat;
mod peers;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::beat::NodeKey;
use self::{
    beat::{Beat, Listed, MAX_LISTED, VERSION},
    peers::Table,
};
use super::{Config, Identity, redis::Redis};
use crate::{
    clock::{self, Instant, Timestamp},
    storage::replicated::{Epoch, Peers, Place},
};

/// Time between two heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Changes that come within this time go out together.
const COLLECT: Duration = Duration::from_millis(50);
/// Every so many beats the full list goes out.
const FULL_EVERY: u64 = 5;
/// A node that has just started does not lead: it may not have heard of the others yet.
const LISTEN_FIRST: Duration = Duration::from_secs(3);

/// A node as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// Rises with each of its starts.
    pub incarnation: u64,
    /// Where it can be reached.
    pub url: Option<String>,
    /// How far it has carried out the log.
    pub position: Option<(Epoch, Place)>,
}

/// What happens to other nodes, and to users on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// A node has come.
    NodeUp {
        /// Its name.
        node: String,
    },
    /// A node has gone, or is silent for a lease.
    NodeGone {
        /// Its name.
        node: String,
    },
    /// A user is connected to another node, and was to none.
    UserConnected {
        /// Who.
        user: Arc<str>,
    },
    /// A user is connected to no other node any more.
    UserDisconnected {
        /// Who.
        user: Arc<str>,
    },
    /// This node itself did not say anything for a lease, because it stood still or Redis was away: the others took it for gone.
    LeaseLost,
}

type Listener = Arc<dyn Fn(&NodeEvent) + Send + Sync>;

/// This node among the others.
pub struct Nodes {
    identity: Node,
    channel: String,
    key: NodeKey,
    lease: Duration,
    redis: Arc<Redis>,
    own: Mutex<Own>,
    /// Something has changed that the others should hear soon.
    changed: Notify,
    table: Mutex<Table>,
    /// Held while listeners are told, so that they hear of everything in its order.
    listeners: Mutex<Vec<Listener>>,
    refused: AtomicU64,
}

/// What this node says of itself.
#[derive(Default)]
struct Own {
    started: Option<Instant>,
    /// Sockets of each user here.
    users: HashMap<Arc<str>, usize>,
    /// Who has come or gone since the last beat.
    news: HashMap<Arc<str>, bool>,
    position: Option<(Epoch, Place)>,
    beats: u64,
    /// Which of them was the last with a full list.
    full_at: u64,
    seq: u64,
    /// The others have missed something.
    full_due: bool,
    /// When the last beat got out.
    heard: Option<Instant>,
}

impl Nodes {
    pub(super) fn new(config: &Config, Identity { node, secret }: Identity, redis: Arc<Redis>) -> Self {
        let incarnation = u64::try_from(Timestamp::now().as_millis()).unwrap_or_default();
        Self {
            identity: Node { id: node, incarnation, url: config.advertise_url.clone(), position: None },
            channel: format!("{}:nodes", config.prefix),
            key: NodeKey::new(&secret, "nodes"),
            lease: config.lease(),
            redis,
            own: Mutex::new(Own { full_due: true, ..Own::default() }),
            changed: Notify::new(),
            table: Mutex::default(),
            listeners: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// The name of this node.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// The nodes that are there, this one first.
    #[must_use]
    pub fn live(&self) -> Vec<Node> {
        let own = Node { position: self.own().position, ..self.identity.clone() };
        std::iter::once(own).chain(self.table().nodes()).collect()
    }

    /// Whether this node does what only one of them should do: it has the lowest name of all that are there.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        let has_listened = self.own().started.is_some_and(|started| clock::now() - started >= LISTEN_FIRST);
        has_listened && self.table().nodes().all(|node| self.identity.id < node.id)
    }

    /// Whether `user` is connected to another node.
    #[must_use]
    pub fn is_connected(&self, user: &str) -> bool {
        self.table().has_user(user)
    }

    /// The other nodes that `user` is connected to.
    #[must_use]
    pub fn nodes_of(&self, user: &str) -> Vec<String> {
        self.table().nodes_of(user)
    }

    /// Users that are connected to other nodes, each once.
    #[must_use]
    pub fn users_elsewhere(&self) -> usize {
        self.table().users()
    }

    /// Beats that were none, or of somebody who does not know the secret.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Has `listener` told of everything that happens from now on, in its order. It must not block.
    pub fn listen(&self, listener: impl Fn(&NodeEvent) + Send + Sync + 'static) {
        self.listeners().push(Arc::new(listener));
    }

    /// A socket of `user` has connected to this node.
    pub fn connected(&self, user: &str) {
        let mut own = self.own();
        if let Some(sockets) = own.users.get_mut(user) {
            *sockets = sockets.saturating_add(1);
            return;
        }
        let user: Arc<str> = user.into();
        own.users.insert(Arc::clone(&user), 1);
        own.news.insert(user, true);
        drop(own);
        self.changed.notify_one();
    }

    /// A socket of `user` has gone.
    pub fn disconnected(&self, user: &str) {
        let mut own = self.own();
        let Some(sockets) = own.users.get_mut(user) else { return };
        *sockets = sockets.saturating_sub(1);
        if *sockets > 0 {
            return;
        }
        if let Some((user, _)) = own.users.remove_entry(user) {
            own.news.insert(user, false);
        }
        drop(own);
        self.changed.notify_one();
    }

    /// This node has carried out the log up to `place`.
    pub fn set_position(&self, epoch: Epoch, place: Place) {
        self.own().position = Some((epoch, place));
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Says until `stop` that this node is there, and then that it goes.
    pub(super) async fn run(&self, stop: CancellationToken) {
        self.own().started = Some(clock::now());
        let beat = async {
            let mut next = clock::now();
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = self.changed.notified() => tokio::time::sleep(COLLECT).await,
                }
                if clock::now() >= next {
                    let late = clock::now() - next;
                    next = clock::now() + BEAT_EVERY;
                    self.expire(late);
                    self.own().beats += 1;
                }
                self.send(self.beats()).await;
            }
        };
        stop.run_until_cancelled(beat).await;
        let bye = self.beat(true, Listed::Same);
        self.send(vec![bye]).await;
    }

    /// What is to be said now.
    fn beats(&self) -> Vec<Beat> {
        let mut own = self.own();
        let news = std::mem::take(&mut own.news);
        let is_full = own.full_due || own.beats - own.full_at >= FULL_EVERY || news.len() > MAX_LISTED;
        if !is_full {
            drop(own);
            let (on, off): (Vec<_>, Vec<_>) = news.into_iter().partition(|(_, is_connected)| *is_connected);
            let [on, off] = [on, off].map(|users| users.into_iter().map(|(user, _)| user).collect());
            return vec![self.beat(false, Listed::Changes { on, off })];
        }
        let users: Vec<Arc<str>> = own.users.keys().cloned().collect();
        (own.full_due, own.full_at) = (false, own.beats);
        drop(own);
        let parts = u32::try_from(users.len().div_ceil(MAX_LISTED)).unwrap_or(u32::MAX).max(1);
        let pages = users.chunks(MAX_LISTED).map(<[_]>::to_vec).chain(users.is_empty().then(Vec::new));
        pages.zip(0..).map(|(users, part)| self.beat(false, Listed::All { part, parts, users })).collect()
    }

    fn beat(&self, bye: bool, users: Listed) -> Beat {
        let mut own = self.own();
        own.seq += 1;
        Beat {
            version: VERSION,
            node: self.identity.id.clone(),
            incarnation: self.identity.incarnation,
            seq: own.seq,
            url: self.identity.url.clone(),
            position: own.position,
            bye,
            users,
        }
    }

    async fn send(&self, beats: Vec<Beat>) {
        let mut commands = redis::pipe();
        for beat in beats {
            commands.cmd("PUBLISH").arg(&self.channel).arg(self.key.seal(&beat)).ignore();
        }
        let sent = self.redis.query_all::<()>(&commands).await.is_ok();
        let mut own = self.own();
        let now = clock::now();
        let lost = own.heard.is_some_and(|heard| now - heard >= self.lease);
        if sent || lost {
            own.heard = sent.then_some(now);
        }
        // Whatever was in it, the others have not heard of it.
        own.full_due |= !sent || lost;
        drop(own);
        if lost {
            self.tell(&[NodeEvent::LeaseLost]);
        }
    }

    /// Takes what another node has said.
    pub(super) fn receive(&self, message: &[u8]) {
        let Some(beat) = self.key.open::<Beat>(message).filter(|beat| beat.version == VERSION) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(bytes = message.len(), "a heartbeat was none, or of another cluster");
            return;
        };
        if beat.node == self.identity.id {
            if beat.incarnation != self.identity.incarnation {
                tracing::error!(
                    node = beat.node,
                    "another process has the name of this node: set cluster.node_id on one of them"
                );
            }
            return;
        }
        let mut events = Vec::new();
        self.table().receive(beat, clock::now(), &mut events);
        self.tell(&events);
    }

    /// Takes those for gone that were silent for too long.
    fn expire(&self, late: Duration) {
        let mut events = Vec::new();
        // Whoever stood still has not heard the others either: what they have said meanwhile is yet to be read.
        if late < BEAT_EVERY {
            self.table().expire(clock::now(), self.lease, &mut events);
        }
        self.tell(&events);
    }

    fn tell(&self, events: &[NodeEvent]) {
        if events.is_empty() {
            return;
        }
        let listeners = self.listeners();
        for event in events {
            match event {
                NodeEvent::NodeUp { node } => tracing::info!(node, "a node of the cluster is there"),
                NodeEvent::NodeGone { node } => tracing::warn!(node, "a node of the cluster is gone"),
                NodeEvent::LeaseLost => tracing::warn!("the other nodes have not heard of this one for a lease"),
                NodeEvent::UserConnected { .. } | NodeEvent::UserDisconnected { .. } => {}
            }
            listeners.iter().for_each(|listener| listener(event));
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers for Nodes {
    fn furthest(&self, epoch: Epoch) -> Option<Place> {
        let table = self.table();
        let positions = table.nodes().filter_map(|node| node.position);
        positions.filter(|(of, _)| *of == epoch).map(|(_, place)| place).max()
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("id", &self.identity.id).finish_non_exhaustive()
    }
}
