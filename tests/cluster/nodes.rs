//! The nodes and who is connected to them.

use std::sync::Arc;

use hobnob::{
    cluster::NodeEvent,
    storage::replicated::{Epoch, Peers as _, Place},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{RedisServer, TestNode, within};

/// What a node hears, in its order.
fn events(node: &TestNode) -> UnboundedReceiver<NodeEvent> {
    let (heard, events) = unbounded_channel();
    node.cluster.nodes.listen(move |event| heard.send(event.clone()).expect("the test goes on"));
    events
}

async fn next(events: &mut UnboundedReceiver<NodeEvent>) -> NodeEvent {
    within("an event", events.recv()).await.expect("a node that lives")
}

/// Waits for this event; others may come before.
async fn until(events: &mut UnboundedReceiver<NodeEvent>, wanted: &NodeEvent) {
    while next(events).await != *wanted {}
}

fn up(node: &str) -> NodeEvent {
    NodeEvent::NodeUp { node: node.to_owned() }
}

fn gone(node: &str) -> NodeEvent {
    NodeEvent::NodeGone { node: node.to_owned() }
}

fn here(user: &str) -> NodeEvent {
    NodeEvent::UserConnected { user: Arc::from(user) }
}

fn away(user: &str) -> NodeEvent {
    NodeEvent::UserDisconnected { user: Arc::from(user) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hear_of_each_other_and_of_their_users() {
    let redis = RedisServer::start(&[]).await;
    let a = TestNode::start(&redis, "a").await;
    let mut at_a = events(&a);
    a.cluster.nodes.connected("ann");
    a.connected().await;
    let b = TestNode::start(&redis, "b").await;
    let mut at_b = events(&b);
    until(&mut at_a, &up("b")).await;
    until(&mut at_b, &here("ann")).await;
    assert!(b.cluster.nodes.is_connected("ann") && !a.cluster.nodes.is_connected("ann"), "elsewhere, that is");
    assert_eq!(b.cluster.nodes.nodes_of("ann"), ["a"]);

    // Of two sockets of a user the last one counts.
    b.cluster.nodes.connected("ben");
    b.cluster.nodes.connected("ben");
    until(&mut at_a, &here("ben")).await;
    b.cluster.nodes.disconnected("ben");
    b.cluster.nodes.connected("bea");
    assert_eq!(next(&mut at_a).await, here("bea"));
    b.cluster.nodes.disconnected("ben");
    assert_eq!(next(&mut at_a).await, away("ben"));

    b.cluster.nodes.set_position(Epoch(1), Place { major: 5, minor: 6 });
    let told = async {
        while a.cluster.nodes.furthest(Epoch(1)).is_none() {
            tokio::task::yield_now().await;
        }
    };
    within("how far it is", told).await;
    assert_eq!(a.cluster.nodes.furthest(Epoch(1)), Some(Place { major: 5, minor: 6 }));
    assert_eq!(a.cluster.nodes.furthest(Epoch(2)), None);

    // Whoever stops says so: nobody waits for the lease.
    b.stop().await;
    assert_eq!(next(&mut at_a).await, gone("b"));
    assert_eq!(next(&mut at_a).await, away("bea"));
    assert_eq!(a.cluster.nodes.live().len(), 1);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_of_users_arrive_whole() {
    let redis = RedisServer::start(&[]).await;
    let a = TestNode::start(&redis, "a").await;
    for user in 0..5000 {
        a.cluster.nodes.connected(&format!("user-{user}"));
    }
    let b = TestNode::start(&redis, "b").await;
    let told = async {
        while b.cluster.nodes.users_elsewhere() < 5000 {
            tokio::task::yield_now().await;
        }
    };
    within("all users", told).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_the_others_count_as_gone_and_come_back_after() {
    let mut redis = RedisServer::start(&[]).await;
    let (a, b) = (TestNode::start(&redis, "a").await, TestNode::start(&redis, "b").await);
    let (mut at_a, mut at_b) = (events(&a), events(&b));
    b.cluster.nodes.connected("ben");
    until(&mut at_a, &here("ben")).await;
    let led = async {
        while !a.cluster.nodes.is_leader() {
            tokio::task::yield_now().await;
        }
    };
    within("the lowest name leads", led).await;
    assert!(!b.cluster.nodes.is_leader());
    redis.kill().await;
    until(&mut at_a, &gone("b")).await;
    assert_eq!(next(&mut at_a).await, away("ben"));
    until(&mut at_b, &NodeEvent::LeaseLost).await;
    assert!(b.cluster.nodes.is_leader(), "of all that it knows of");
    redis.restart().await;
    until(&mut at_a, &up("b")).await;
    until(&mut at_a, &here("ben")).await;
    until(&mut at_b, &up("a")).await;
    assert!(!b.cluster.nodes.is_leader());
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_secret_is_no_node() {
    let redis = RedisServer::start(&[]).await;
    let a = TestNode::start(&redis, "a").await;
    a.connected().await;
    let stranger = TestNode::start_with(redis.config(), "b", "a guess").await;
    let refused = async {
        while a.cluster.nodes.refused() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("a refusal", refused).await;
    assert_eq!(a.cluster.nodes.live().len(), 1);
    stranger.stop().await;
    a.stop().await;
}
