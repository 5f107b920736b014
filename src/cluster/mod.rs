//! Several servers as one, with Redis between them.
//!
//! [`Adapter`] is the port through which broadcasts reach other nodes, [`LocalSockets`] the one through which those of other
//! nodes reach the sockets of this one. With one node there is nothing behind the first: [`Single`]. With several there is a
//! [`Cluster`]: [`Bus`] (the wire format of `@socket.io/redis-adapter`, in which Socket.IO servers on Node take part), [`Nodes`]
//! (who is there, and who is connected to whom), [`RedisLog`] (the order of all commits) over one [`Redis`], and [`Calls`], by which nodes know
//! each other's HTTP requests.
//!
//! The bus is a hint: what must not be lost is in the log.

mod bus;
mod calls;
mod check;
mod config;
mod log;
mod msgpack;
mod nodes;
mod redis;
mod requests;
mod subscriber;
mod target;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    bus::{Bus, Counts},
    calls::{CALL_HEADER, Call, Calls, TAG_CHARS},
    config::{Config, is_key_prefix, is_node_id},
    log::RedisLog,
    msgpack::Malformed,
    nodes::{Node, NodeEvent, NodeKey, Nodes},
    redis::{COMMAND_TIMEOUT, Redis, RedisFailed, State, Unfit},
    target::is_redis_url,
    wire::MAX_MESSAGE_BYTES,
};

/// A broadcast as other nodes need it: the namespace, the rooms, and the event before it is encoded.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// The namespace, with its slash.
    pub namespace: &'a str,
    /// Who is addressed.
    pub to: Group<'a>,
    /// The event's name.
    pub event: &'a str,
    /// Its arguments as JSON text.
    pub args: &'a [&'a str],
    /// What the placeholders in the arguments stand for.
    pub attachments: &'a [Bytes],
    /// Whether receivers may drop it.
    pub volatile: bool,
    /// Whether the nodes of the cluster tell it themselves, from the log: then it is for the others alone.
    pub from_log: bool,
}

/// Sockets of a namespace by their rooms. A socket's id is a room with nobody else in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Group<'a> {
    /// The rooms addressed; empty means the whole namespace.
    pub rooms: &'a [&'a str],
    /// Rooms whose members are left out.
    pub except: &'a [&'a str],
}

/// What happens to the sockets of a group.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// They join rooms.
    Join(&'a [&'a str]),
    /// They leave rooms.
    Leave(&'a [&'a str]),
    /// They are disconnected from the namespace, or with `close` their whole session ends.
    Disconnect {
        /// Whether the session ends.
        close: bool,
    },
}

/// What carries broadcasts to the other nodes of a cluster.
pub trait Adapter: Send + Sync + 'static {
    /// Passes on a broadcast that this node has delivered to its own sockets. Must not block.
    fn publish(&self, broadcast: &Published<'_>);

    /// Passes on a change that this node has carried out on its own sockets. Must not block.
    fn change(&self, namespace: &str, to: &Group<'_>, change: Change<'_>);

    /// Takes note of a namespace of this node: it gets what other nodes send.
    fn attach(&self, name: &Arc<str>, sockets: Weak<dyn LocalSockets>);
}

/// The only node there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Adapter for Single {
    fn publish(&self, _: &Published<'_>) {}

    fn change(&self, _: &str, _: &Group<'_>, _: Change<'_>) {}

    fn attach(&self, _: &Arc<str>, _: Weak<dyn LocalSockets>) {}
}

/// A socket as other servers are shown it.
#[derive(Clone, Debug, Serialize)]
pub struct SocketView {
    /// Its id.
    pub id: String,
    /// What is known of how it came in, as Socket.IO servers name it; tokens and headers are not passed on.
    pub handshake: HandshakeView,
    /// Its rooms, its id among them.
    pub rooms: Vec<String>,
    /// What the server knows of it.
    pub data: SocketData,
}

/// How a socket came in.
#[derive(Clone, Debug, Serialize)]
pub struct HandshakeView {
    /// From where.
    pub address: String,
    /// When, in milliseconds since 1970.
    pub issued: i64,
    /// When, as text.
    pub time: String,
    /// Whether the page was of another origin: not known any more.
    pub xdomain: bool,
    /// Whether it was TLS: that ends before this server.
    pub secure: bool,
    /// Left empty.
    pub headers: Nothing,
    /// Left empty.
    pub query: Nothing,
    /// Left empty.
    pub auth: Nothing,
}

/// An empty object.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Nothing {}

/// What the server knows of a socket.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketData {
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

/// What a client has answered: its arguments as JSON texts, and what their placeholders stand for.
pub type ClientAnswer = Option<(Vec<String>, Vec<Bytes>)>;

/// The sockets of one namespace on this node. Nothing here blocks.
pub trait LocalSockets: Send + Sync + 'static {
    /// Whether anybody is in `room`.
    fn is_inhabited(&self, room: &str) -> bool;

    /// Sends an event to a group.
    fn deliver(&self, to: &Group<'_>, event: &str, args: &[&str], attachments: &[Bytes], volatile: bool);

    /// Changes a group.
    fn carry_out(&self, to: &Group<'_>, change: Change<'_>);

    /// Shows a group.
    fn show(&self, to: &Group<'_>) -> Vec<SocketView>;

    /// All rooms, ids of sockets among them.
    fn rooms(&self) -> Vec<String>;

    /// Asks each of a group: one future for each, that ends with the answer, or without one after `patience`.
    fn ask(
        &self,
        to: &Group<'_>,
        event: &str,
        args: &[&str],
        attachments: &[Bytes],
        patience: std::time::Duration,
    ) -> Vec<BoxFuture<'static, ClientAnswer>>;
}

/// Who this node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name, another one on each.
    pub node: String,
    /// What the nodes know each other by.
    pub secret: crate::setting::Secret,
}

/// This node's part of a cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The connections to Redis, and how they are.
    pub redis: Arc<Redis>,
    /// Broadcasts.
    pub bus: Arc<Bus>,
    /// The other nodes.
    pub nodes: Arc<Nodes>,
    /// The order of all commits.
    pub log: RedisLog,
    /// Requests from node to node.
    pub calls: Arc<Calls>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Cluster {
    /// Puts the parts together, within a runtime. Nothing is connected before [`Cluster::start`].
    ///
    /// # Errors
    ///
    /// When the address of Redis is none.
    pub fn new(config: &Config, identity: Identity) -> Result<Self, ::redis::RedisError> {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let redis = Arc::new(Redis::new(config, &identity.node)?);
        let calls = Calls::new(&identity.secret, &identity.node);
        let nodes = Nodes::new(config, identity, Arc::clone(&redis));
        let tasks = (tracker.clone(), stop.clone());
        Ok(Self {
            bus: Arc::new(Bus::new(&config.socketio_key, nodes.channel(), Arc::clone(&redis), tasks)),
            nodes: Arc::new(nodes),
            calls: Arc::new(calls),
            log: RedisLog::new(Arc::clone(&redis), &config.prefix, config.log_entries),
            redis,
            tracker,
            stop,
        })
    }

    /// Connects, and waits for the end of the first attempt. Namespaces may be attached before or after.
    ///
    /// # Errors
    ///
    /// When this Redis may not be used. That it cannot be reached is no error: the node goes on alone, and the attempts go on.
    pub async fn start(&self) -> Result<(), Unfit> {
        // Ends later than the rest: whoever goes wants to say so.
        let closing = CancellationToken::new();
        let (redis, closed) = (Arc::clone(&self.redis), closing.clone());
        self.tracker.spawn(async move { redis.run(closed).await });
        if let Err(unfit) = self.redis.first_attempt().await {
            closing.cancel();
            return Err(unfit);
        }
        let (log, stop) = (self.log.clone(), self.stop.clone());
        self.tracker.spawn(async move { log.run(stop).await });
        let (bus, stop) = (Arc::clone(&self.bus), self.stop.clone());
        self.tracker.spawn(async move { bus.run(stop).await });
        let (nodes, stop) = (Arc::clone(&self.nodes), self.stop.clone());
        self.tracker.spawn(async move {
            nodes.run(stop).await;
            closing.cancel();
        });
        let (redis, stop) = (Arc::clone(&self.redis), self.stop.clone());
        let (bus, nodes) = (Arc::clone(&self.bus), Arc::clone(&self.nodes));
        let subscriptions = bus.subscriptions();
        let deliver = move |channel: &str, message: &[u8]| {
            if channel == nodes.channel() {
                nodes.receive(message);
            } else {
                bus.receive(channel, message);
            }
        };
        self.tracker.spawn(async move { subscriber::run(&redis, subscriptions, deliver, stop).await });
        Ok(())
    }

    /// Says goodbye and ends all tasks. What is still to be written to the log has to be written before: a server that stops does this
    /// last.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
