//! The parts of a cluster on a real Redis: the log, the connections, the nodes. How servers of other kinds take part is in
//! `tests/interop`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report, in its helpers, too"
)]

mod log;
mod nodes;
mod redis_server;
mod sentinel;

use std::{sync::Arc, time::Duration};

use hobnob::{
    cluster::{Cluster, Config, Identity, State},
    setting::Secret,
};
use redis_server::RedisServer;
use tokio::time::timeout;

/// Longest wait for something that is to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// One node of a cluster without a server around it.
struct TestNode {
    cluster: Arc<Cluster>,
}

impl TestNode {
    async fn start(redis: &RedisServer, id: &str) -> Self {
        Self::start_with(redis.config(), id, "correct horse battery staple, and more").await
    }

    async fn start_with(config: Config, id: &str, secret: &str) -> Self {
        let identity = Identity { node: id.to_owned(), secret: Secret::new(secret) };
        let cluster = Cluster::new(&config, identity).expect("an address");
        let cluster = Arc::new(cluster);
        cluster.start().await.expect("a Redis that keeps what it is told");
        Self { cluster }
    }

    /// Waits until everything is connected.
    async fn connected(&self) {
        let mut state = self.cluster.redis.state();
        within("connected", state.wait_for(State::is_connected)).await.expect("it lives");
    }

    /// Waits until something is missing; gives the cause.
    async fn degraded(&self) -> Arc<str> {
        let mut state = self.cluster.redis.state();
        let state = within("degraded", state.wait_for(|state| !state.is_connected())).await.expect("it lives").clone();
        match state {
            State::Degraded { cause, .. } => cause,
            State::Connected => unreachable!("waited for the other"),
        }
    }

    async fn stop(self) {
        within("all tasks end", self.cluster.close()).await;
    }
}

async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_made_again_when_redis_comes_back() {
    let mut redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    node.connected().await;
    redis.kill().await;
    assert!(!node.degraded().await.is_empty());
    redis.restart().await;
    node.connected().await;
    node.stop().await;
}

/// It answers and takes nothing: that is as good as away, and shows although nobody writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full_or_read_only_or_wants_a_password_counts_as_away() {
    for (change, undo, cause) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "OOM"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "READONLY"),
    ] {
        let redis = RedisServer::start(&[]).await;
        let node = TestNode::start(&redis, "a").await;
        node.connected().await;
        redis.command(change).await;
        let told = node.degraded().await;
        assert!(told.to_uppercase().contains(cause), "{cause}: {told}");
        redis.command(undo).await;
        node.connected().await;
        node.stop().await;
    }
}

/// No answer is not the same as a connection that breaks: nothing says so but time.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_counts_as_away() {
    let redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    node.connected().await;
    redis.signal("STOP").await;
    node.degraded().await;
    redis.signal("CONT").await;
    node.connected().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_cut_off_comes_back() {
    let redis = RedisServer::start(&[]).await;
    let node = TestNode::start(&redis, "a").await;
    node.connected().await;
    redis.command("CLIENT KILL TYPE pubsub").await;
    node.degraded().await;
    node.connected().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_redis_and_finds_it_later() {
    let mut redis = RedisServer::start(&[]).await;
    redis.kill().await;
    let node = TestNode::start(&redis, "a").await;
    node.degraded().await;
    redis.restart().await;
    node.connected().await;
    node.stop().await;
}
