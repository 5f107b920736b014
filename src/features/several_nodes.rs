//! What the features promise when there are several nodes: each on a store of its own, with one log between them. The bus is not part of
//! it, so nothing that is shown here depends on what that carries.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Config, Features,
    auth::Keys,
    elsewhere::{Elsewhere, ElsewhereListener, Neighbors},
    message_locks::LockError,
    offline_queue::Background,
    rate_limits,
    status::SetStatus,
    testing::{Device, SECRET, id},
    users::Claimed,
};
use crate::{
    cluster::Single,
    codes::ErrorCode,
    http::Origins,
    ids::UserId,
    storage::{
        Store,
        replicated::{MemoryLog, NoPeers, ReplicaConfig},
    },
};

/// How often others have their turn before somebody stops waiting.
const PATIENCE: usize = 10_000_000;

/// Who is connected to which node, known to all of them at once.
#[derive(Default)]
struct Town {
    users: Mutex<HashMap<UserId, Vec<usize>>>,
    listeners: Mutex<Vec<(usize, Arc<dyn ElsewhereListener>)>>,
}

/// What one node sees of it.
struct Window {
    town: Arc<Town>,
    node: usize,
}

impl Town {
    fn tell(&self, before: &[usize], after: &[usize], tell: impl Fn(&dyn ElsewhereListener, bool)) {
        for (node, listener) in &*self.listeners.lock().expect("sound") {
            let [was, is] = [before, after].map(|nodes| nodes.iter().any(|other| other != node));
            if was != is {
                tell(&**listener, is);
            }
        }
    }

    fn change(&self, user: &UserId, change: impl FnOnce(&mut Vec<usize>)) {
        let (before, after) = {
            let mut users = self.users.lock().expect("sound");
            let nodes = users.entry(user.clone()).or_default();
            let before = nodes.clone();
            change(nodes);
            (before, nodes.clone())
        };
        self.tell(&before, &after, |listener, is| if is { listener.came(user) } else { listener.went(user) });
    }
}

impl Elsewhere for Window {
    fn is_connected(&self, user: &UserId) -> bool {
        let users = self.town.users.lock().expect("sound");
        users.get(user).is_some_and(|nodes| nodes.iter().any(|node| *node != self.node))
    }

    fn is_leader(&self) -> bool {
        self.node == 0
    }

    fn came(&self, user: &UserId) {
        self.town.change(user, |nodes| nodes.push(self.node));
    }

    fn went(&self, user: &UserId) {
        self.town.change(user, |nodes| {
            let place = nodes.iter().position(|node| *node == self.node);
            nodes.swap_remove(place.expect("it came"));
        });
    }

    fn listen(&self, listener: Arc<dyn ElsewhereListener>) {
        self.town.listeners.lock().expect("sound").push((self.node, listener));
    }
}

/// One node.
struct Node {
    features: Arc<Features>,
    link: Arc<MemoryLog>,
    _replica: JoinSet<()>,
}

/// Nodes over one log.
fn nodes(count: usize) -> Vec<Node> {
    let (town, log) = (Arc::<Town>::default(), MemoryLog::new());
    let make = |node| {
        let link = Arc::new(log.another());
        let config = ReplicaConfig::new(format!("node-{node}")).expect("a name");
        let (store, replica) =
            Store::replicated_in_memory(config, Arc::clone(&link) as _, Arc::new(NoPeers)).expect("memory");
        let neighbors =
            Neighbors { adapter: Arc::new(Single), elsewhere: Arc::new(Window { town: Arc::clone(&town), node }) };
        let rate_limits = rate_limits::Config { max: 0, ..rate_limits::Config::default() };
        let config = Config { rate_limits, ..Config::default() };
        let keys = Keys::hs256(&[SECRET]);
        let features = Features::new(config, &store, keys, Origins::Any, neighbors, Background::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(replica.run());
        Node { features: Arc::new(features.expect("readable")), link, _replica: tasks }
    };
    (0..count).map(make).collect()
}

/// A device of a user whom the node has met.
async fn device(features: &Features, user: &str) -> Device {
    features.users.sign_in(&id(user), Claimed::default()).await.expect("storable");
    features.device(user)
}

/// What a device hears up to the first event that `is_last` says so of.
async fn heard_until(device: &mut Device, is_last: impl Fn(&str, &Value) -> bool) -> Vec<(String, Value)> {
    let mut heard: Vec<(String, Value)> = Vec::new();
    for _ in 0..PATIENCE {
        if heard.iter().any(|(name, payload)| is_last(name, payload)) {
            return heard;
        }
        tokio::task::yield_now().await;
        heard.extend(device.heard());
    }
    panic!("it has not heard it: {heard:?}");
}

/// The texts that a device hears, up to this one.
async fn texts_until(device: &mut Device, last: &str) -> Vec<String> {
    let heard = heard_until(device, |name, payload| name == "message:new" && payload["content"] == last).await;
    let messages = heard.into_iter().filter(|(name, _)| name == "message:new");
    messages.map(|(_, message)| message["content"].as_str().expect("a text").to_owned()).collect()
}

/// Waits until `is_so`.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..PATIENCE {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it has not come about");
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_members_on_all_nodes_once_and_in_the_same_order() {
    let nodes = nodes(3);
    let [a, b, c] = [0, 1, 2].map(|node| &nodes[node].features);
    let group = a.group("ann", &["bob", "cat"]).await;
    let (mut ann, mut bob, mut cat) = (device(a, "ann").await, device(b, "bob").await, device(c, "cat").await);
    until(|| b.conversations.access(&id("bob"), group).is_ok() && c.conversations.access(&id("cat"), group).is_ok())
        .await;
    for text in ["1", "2"] {
        a.send("ann", group, text).await.expect("stored");
        b.send("bob", group, &format!("{text}b")).await.expect("stored");
    }
    let last = c.send("cat", group, "end").await.expect("stored");
    let expected = texts_until(&mut ann, "end").await;
    assert_eq!(expected.len(), 5);
    assert_eq!(last.seq, 5);
    for device in [&mut bob, &mut cat] {
        assert_eq!(texts_until(device, "end").await, expected);
    }
    a.messages.delete(&id("cat"), last.id).await.expect("hers");
    for device in [&mut ann, &mut bob, &mut cat] {
        heard_until(device, |name, payload| name == "message:deleted" && payload["messageId"] == json!(last.id)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_becomes_a_member_through_another_node_hears_what_comes_then_and_no_more_when_removed() {
    let nodes = nodes(2);
    let [a, b] = [0, 1].map(|node| &nodes[node].features);
    let (mut bob, group) = (device(b, "bob").await, a.group("ann", &["cat"]).await);
    a.send("ann", group, "before").await.expect("stored");
    a.conversations.add_members(&id("ann"), group, &[id("bob")]).await.expect("an admin");
    a.send("ann", group, "for him").await.expect("stored");
    a.conversations.remove_members(&id("ann"), group, &[id("bob")]).await.expect("an admin");
    a.send("ann", group, "behind his back").await.expect("stored");
    let direct = a.direct("ann", "bob").await;
    a.send("ann", direct, "to him alone").await.expect("stored");
    assert_eq!(texts_until(&mut bob, "to him alone").await, ["for him", "to him alone"]);
}

#[tokio::test(start_paused = true)]
async fn a_user_is_online_as_long_as_he_is_on_any_node() {
    let nodes = nodes(2);
    let [a, b] = [0, 1].map(|node| &nodes[node].features);
    a.direct("ann", "bob").await;
    until(|| b.conversations.of_user(&id("bob")).is_ok_and(|all| all.len() == 1)).await;
    let mut ann = device(a, "ann").await;
    let (here, there) = (device(a, "bob").await, device(b, "bob").await);
    let is = |status: &'static str| {
        move |name: &str, payload: &Value| {
            name == "user-status" && payload["userId"] == "bob" && payload["status"] == status
        }
    };
    heard_until(&mut ann, is("online")).await;
    here.close();
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    a.presence.sweep().await;
    b.presence.sweep().await;
    assert!(a.presence.is_online(&id("bob")) && ann.names().is_empty());
    there.close();
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    b.presence.sweep().await;
    a.presence.sweep().await;
    heard_until(&mut ann, is("offline")).await;
    assert!(!a.presence.is_online(&id("bob")) && !b.presence.is_online(&id("bob")));
    until(|| a.presence.last_seen(&id("bob")).is_ok_and(|at| at.is_some())).await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_chosen_on_one_node_is_told_on_all() {
    let nodes = nodes(2);
    let [a, b] = [0, 1].map(|node| &nodes[node].features);
    a.direct("ann", "bob").await;
    until(|| b.conversations.of_user(&id("bob")).is_ok_and(|all| all.len() == 1)).await;
    let (mut ann, _bob) = (device(a, "ann").await, device(b, "bob").await);
    let change: SetStatus = serde_json::from_value(json!({"status": "dnd"})).expect("a status");
    b.statuses.set(&id("bob"), &change).await.expect("stored");
    heard_until(&mut ann, |name, payload| name == "user-status" && payload["status"] == "dnd").await;
    assert!(a.statuses.is_dnd(&id("bob")), "and whoever is notified through this node is not disturbed");
}

#[tokio::test(start_paused = true)]
async fn p26_a_lock_keeps_editors_on_other_nodes_out_and_ends_when_its_holder_is_on_none_any_more() {
    let nodes = nodes(2);
    let [a, b] = [0, 1].map(|node| &nodes[node].features);
    let group = a.group("ann", &["bob"]).await;
    let message = a.send("ann", group, "text").await.expect("stored").id;
    let (ann, _bob) = (device(a, "ann").await, device(b, "bob").await);
    let first = a.locks.acquire(&id("ann"), message, false).await.expect("free");
    until(|| b.locks.held() == 1).await;
    assert!(matches!(b.locks.acquire(&id("bob"), message, false).await, Err(LockError::Held { .. })));
    ann.close();
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    let second = b.locks.acquire(&id("bob"), message, false).await.expect("its holder is gone");
    assert!(second.fence > first.fence);
    until(|| a.locks.show(message).is_some_and(|lock| lock.locked_by == id("bob"))).await;
    let stale = a.messages.edit(&id("ann"), message, "late", None, Some(first.fence)).await.expect_err("not hers");
    assert_eq!(stale.code, ErrorCode::Locked);
}

#[tokio::test(start_paused = true)]
async fn p30_who_is_blocked_or_revoked_through_one_node_has_to_leave_all() {
    let nodes = nodes(2);
    let [a, b] = [0, 1].map(|node| &nodes[node].features);
    let (mut bob, mut cat) = (device(b, "bob").await, device(b, "cat").await);
    a.auth.block(&id("bob")).await.expect("stored");
    a.auth.revoke_user(&id("cat")).await.expect("stored");
    for device in [&mut bob, &mut cat] {
        heard_until(device, |name, _| name == "auth:expired").await;
    }
    assert!(b.auth.is_blocked(&id("bob")));
    a.auth.unblock(&id("bob")).await.expect("stored");
    until(|| !b.auth.is_blocked(&id("bob"))).await;
    let key = a.auth.api_keys().create("backend").await.expect("stored");
    until(|| b.auth.api_keys().verify(&key).is_ok()).await;
}

#[tokio::test(start_paused = true)]
async fn p24_a_node_that_is_cut_off_serves_its_own_users_and_everybody_has_everything_afterwards() {
    let nodes = nodes(2);
    let [a, b] = [0, 1].map(|node| &nodes[node].features);
    let group = a.group("ann", &["bob", "cat"]).await;
    until(|| b.conversations.access(&id("bob"), group).is_ok()).await;
    let (mut ann, mut cat, mut bob) = (device(a, "ann").await, device(a, "cat").await, device(b, "bob").await);
    a.send("ann", group, "before").await.expect("stored");
    texts_until(&mut bob, "before").await;

    nodes[0].link.cut();
    a.send("ann", group, "alone").await.expect("acknowledged by this node");
    assert_eq!(texts_until(&mut cat, "alone").await, ["before", "alone"]);
    let refused = a.conversations.create_group(&id("ann"), &[id("cat")], None).await.expect_err("not alone");
    assert_eq!(refused.code, ErrorCode::Unavailable);
    b.send("bob", group, "elsewhere").await.expect("stored");
    assert!(bob.heard().iter().all(|(_, payload)| payload["content"] != "alone"));

    nodes[0].link.mend();
    assert_eq!(texts_until(&mut bob, "alone").await.last().map(String::as_str), Some("alone"));
    let log = |features: &Features, user: &str| {
        let history =
            features.messages.history(&id(user), group, crate::features::messages::HistoryRange::After(0), 10);
        let texts = history.expect("a member").into_iter().map(|message| (message.seq, message.content));
        texts.collect::<Vec<_>>()
    };
    let everything = [(1, "before"), (2, "elsewhere"), (3, "alone")].map(|(seq, text)| (seq, text.to_owned()));
    until(|| log(a, "ann").len() == 3).await;
    assert_eq!((log(a, "ann"), log(b, "bob")), (everything.to_vec(), everything.to_vec()));
    // Numbers have changed: whoever was connected to this node begins anew, and is told what was missed.
    until(|| ann.is_closed() && cat.is_closed()).await;
    let mut cat = device(a, "cat").await;
    assert_eq!(texts_until(&mut cat, "alone").await.last().map(String::as_str), Some("alone"));
    drop(ann.heard());
}
