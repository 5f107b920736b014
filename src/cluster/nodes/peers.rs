//! What is known of the other nodes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Node, NodeEvent,
    beat::{Beat, Listed},
};
use crate::clock::Instant;

/// Most nodes that are looked after.
const MAX_NODES: usize = 256;
/// Most users of one node; more are passed over.
const MAX_USERS: usize = 1_000_000;

/// The other nodes and their users.
#[derive(Default)]
pub(super) struct Table {
    peers: BTreeMap<String, Peer>,
    /// How many of the others each user is connected to.
    users: HashMap<Arc<str>, usize>,
}

struct Peer {
    node: Node,
    heard: Instant,
    seq: u64,
    users: HashSet<Arc<str>>,
    /// The parts of a full list so far.
    coming: Option<(u32, HashSet<Arc<str>>)>,
}

impl Table {
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node> {
        self.peers.values().map(|peer| peer.node.clone())
    }

    pub(super) fn has_user(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    pub(super) fn nodes_of(&self, user: &str) -> Vec<String> {
        let having = self.peers.values().filter(|peer| peer.users.contains(user));
        having.map(|peer| peer.node.id.clone()).collect()
    }

    /// Takes a beat. One that is repeated or of an earlier start of its node says nothing.
    pub(super) fn receive(&mut self, beat: Beat, now: Instant, events: &mut Vec<NodeEvent>) {
        if let Some(peer) = self.peers.get(&beat.node) {
            let known = (peer.node.incarnation, peer.seq);
            if (beat.incarnation, beat.seq) <= known {
                return;
            }
            if beat.bye || beat.incarnation > peer.node.incarnation {
                self.remove(&beat.node, events);
            }
        }
        if beat.bye {
            return;
        }
        let Beat { node: id, incarnation, seq, url, position, users, .. } = beat;
        if !self.peers.contains_key(&id) {
            if self.peers.len() >= MAX_NODES {
                return;
            }
            events.push(NodeEvent::NodeUp { node: id.clone() });
        }
        let node = Node { id: id.clone(), incarnation, url, position };
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            node: node.clone(),
            heard: now,
            seq,
            users: HashSet::new(),
            coming: None,
        });
        if seq > peer.seq.saturating_add(1) {
            peer.coming = None;
        }
        (peer.node, peer.heard, peer.seq) = (node, now, seq);
        let (came, went) = peer.take(users);
        self.count(came, went, events);
    }

    /// Removes those who were silent for a lease.
    pub(super) fn expire(&mut self, now: Instant, lease: Duration, events: &mut Vec<NodeEvent>) {
        let silent = self.peers.iter().filter(|(_, peer)| now.saturating_duration_since(peer.heard) >= lease);
        let silent: Vec<String> = silent.map(|(id, _)| id.clone()).collect();
        for id in silent {
            self.remove(&id, events);
        }
    }

    fn remove(&mut self, id: &str, events: &mut Vec<NodeEvent>) {
        if let Some(peer) = self.peers.remove(id) {
            events.push(NodeEvent::NodeGone { node: id.to_owned() });
            self.count(Vec::new(), peer.users.into_iter().collect(), events);
        }
    }

    fn count(&mut self, came: Vec<Arc<str>>, went: Vec<Arc<str>>, events: &mut Vec<NodeEvent>) {
        for user in came {
            let nodes = self.users.entry(Arc::clone(&user)).or_default();
            *nodes = nodes.saturating_add(1);
            if *nodes == 1 {
                events.push(NodeEvent::UserConnected { user });
            }
        }
        for user in went {
            let Some(nodes) = self.users.get_mut(&user) else { continue };
            *nodes = nodes.saturating_sub(1);
            if *nodes == 0 {
                self.users.remove(&user);
                events.push(NodeEvent::UserDisconnected { user });
            }
        }
    }
}

impl Peer {
    /// Takes what the node says of its users; gives who has come and who has gone.
    fn take(&mut self, listed: Listed) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        match listed {
            Listed::Same => (Vec::new(), Vec::new()),
            // Somebody who has come is there, whatever was missed before; who has gone may be in what was missed.
            Listed::Changes { on, off } => {
                let room = MAX_USERS.saturating_sub(self.users.len());
                let came: Vec<_> =
                    on.into_iter().take(room).filter(|user| self.users.insert(Arc::clone(user))).collect();
                let went = off.into_iter().filter(|user| self.users.remove(user)).collect();
                (came, went)
            }
            Listed::All { part, parts, users } => {
                let (next, mut all) = match self.coming.take() {
                    Some(coming) if part > 0 => coming,
                    _ => (0, HashSet::new()),
                };
                if part != next {
                    return (Vec::new(), Vec::new());
                }
                let room = MAX_USERS.saturating_sub(all.len());
                all.extend(users.into_iter().take(room));
                if part.saturating_add(1) < parts {
                    self.coming = Some((part.saturating_add(1), all));
                    return (Vec::new(), Vec::new());
                }
                let came = all.difference(&self.users).cloned().collect();
                let went = self.users.difference(&all).cloned().collect();
                self.users = all;
                (came, went)
            }
        }
    }
}
