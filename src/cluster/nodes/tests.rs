//! Who is there, beat by beat.

use std::{sync::Arc, time::Duration};

use super::{
    NodeEvent, NodeKey,
    beat::{Beat, Listed, VERSION},
    peers::Table,
};
use crate::{
    clock::{self, Instant},
    setting::Secret,
    storage::replicated::{Epoch, Place},
};

fn users(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn all(names: &[&str]) -> Listed {
    Listed::All { part: 0, parts: 1, users: users(names) }
}

fn changes(on: &[&str], off: &[&str]) -> Listed {
    Listed::Changes { on: users(on), off: users(off) }
}

fn beat(node: &str, seq: u64, users: Listed) -> Beat {
    let position = Some((Epoch(1), Place { major: seq, minor: 0 }));
    Beat { version: VERSION, node: node.to_owned(), incarnation: 1, seq, url: None, position, bye: false, users }
}

fn up(node: &str) -> NodeEvent {
    NodeEvent::NodeUp { node: node.to_owned() }
}

fn gone(node: &str) -> NodeEvent {
    NodeEvent::NodeGone { node: node.to_owned() }
}

fn here(user: &str) -> NodeEvent {
    NodeEvent::UserConnected { user: user.into() }
}

fn away(user: &str) -> NodeEvent {
    NodeEvent::UserDisconnected { user: user.into() }
}

/// A table with what it has told.
struct Told {
    table: Table,
    now: Instant,
}

impl Told {
    fn new() -> Self {
        Self { table: Table::default(), now: clock::now() }
    }

    fn receive(&mut self, beat: Beat) -> Vec<NodeEvent> {
        let mut events = Vec::new();
        self.table.receive(beat, self.now, &mut events);
        events
    }

    fn expire(&mut self) -> Vec<NodeEvent> {
        let mut events = Vec::new();
        self.table.expire(self.now, Duration::from_secs(10), &mut events);
        events
    }
}

#[tokio::test]
async fn users_are_told_once_however_many_nodes_have_them() {
    let mut told = Told::new();
    assert_eq!(told.receive(beat("a", 1, all(&["ann"]))), [up("a"), here("ann")]);
    assert_eq!(told.receive(beat("b", 1, all(&["ann"]))), [up("b")]);
    assert_eq!(told.table.nodes_of("ann"), ["a", "b"]);
    assert_eq!(told.receive(beat("a", 2, changes(&["ben"], &["ann"]))), [here("ben")]);
    assert_eq!(told.receive(beat("b", 2, all(&[]))), [away("ann")]);
    assert!(told.table.has_user("ben") && !told.table.has_user("ann"));
    assert_eq!(told.table.users(), 1);
}

#[tokio::test]
async fn beats_that_are_repeated_or_of_an_earlier_start_say_nothing() {
    let mut told = Told::new();
    told.receive(beat("a", 5, all(&["ann"])));
    for (incarnation, seq) in [(1, 5), (1, 4), (0, 99)] {
        assert_eq!(told.receive(Beat { incarnation, ..beat("a", seq, all(&[])) }), [], "{incarnation} {seq}");
    }
    assert!(told.table.has_user("ann"));
    // Another start of the same node: whoever was connected before is not any more.
    assert_eq!(told.receive(Beat { incarnation: 2, ..beat("a", 1, Listed::Same) }), [gone("a"), away("ann"), up("a")]);
}

#[tokio::test]
async fn a_full_list_mends_what_was_missed() {
    let mut told = Told::new();
    told.receive(beat("a", 1, all(&["ann", "ben"])));
    // That ann went and cem came was lost.
    assert_eq!(told.receive(beat("a", 3, changes(&["dot"], &[]))), [here("dot")]);
    let mut mended = told.receive(beat("a", 4, all(&["ben", "cem", "dot"])));
    mended.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(mended, [here("cem"), away("ann")]);
}

#[tokio::test]
async fn a_list_in_parts_counts_once_it_is_whole() {
    let part = |part, names: &[&str]| Listed::All { part, parts: 3, users: users(names) };
    let mut told = Told::new();
    told.receive(beat("a", 1, all(&["old"])));
    assert_eq!(told.receive(beat("a", 2, part(0, &["one"]))), []);
    // The second part was lost, so the third is not enough.
    assert_eq!(told.receive(beat("a", 4, part(2, &["three"]))), []);
    assert!(told.table.has_user("old"));
    assert_eq!(told.receive(beat("a", 5, part(0, &["one"]))), []);
    assert_eq!(told.receive(beat("a", 6, part(1, &["two"]))), []);
    assert_eq!(told.receive(beat("a", 7, part(2, &["three"]))).len(), 4);
    assert!(["one", "two", "three"].iter().all(|user| told.table.has_user(user)) && !told.table.has_user("old"));
}

#[tokio::test]
async fn a_node_that_is_silent_for_a_lease_is_gone_with_its_users() {
    let mut told = Told::new();
    told.receive(beat("a", 1, all(&["ann"])));
    told.receive(beat("b", 1, all(&[])));
    told.now += Duration::from_secs(9);
    told.receive(beat("b", 2, Listed::Same));
    assert_eq!(told.expire(), []);
    told.now += Duration::from_secs(1);
    assert_eq!(told.expire(), [gone("a"), away("ann")]);
    assert_eq!(told.table.nodes().map(|node| node.id).collect::<Vec<_>>(), ["b"]);
    // It is back with the next beat, and with its users once it has named them.
    assert_eq!(told.receive(beat("a", 2, Listed::Same)), [up("a")]);
    assert_eq!(told.receive(beat("a", 3, all(&["ann"]))), [here("ann")]);
}

#[tokio::test]
async fn a_node_that_says_goodbye_is_gone_at_once() {
    let mut told = Told::new();
    told.receive(beat("a", 1, all(&["ann"])));
    assert_eq!(told.receive(Beat { bye: true, ..beat("a", 2, Listed::Same) }), [gone("a"), away("ann")]);
    assert_eq!(told.receive(Beat { bye: true, ..beat("b", 1, Listed::Same) }), []);
}

#[test]
fn only_what_is_sealed_with_the_secret_is_opened() {
    let key = NodeKey::new(&Secret::new("one"), "nodes");
    let sent = beat("a", 1, changes(&["ann"], &["ben"]));
    let sealed = key.seal(&sent);
    assert_eq!(key.open(&sealed), Some(sent));
    for other in [NodeKey::new(&Secret::new("two"), "nodes"), NodeKey::new(&Secret::new("one"), "http")] {
        assert_eq!(other.open::<Beat>(&sealed), None);
    }
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert_eq!(key.open::<Beat>(&changed), None, "{index}");
    }
    for length in 0..sealed.len() {
        assert_eq!(key.open::<Beat>(&sealed[..length]), None, "{length}");
    }
}

/// A newer node may say more: older ones pass over it.
#[test]
fn a_beat_with_more_in_it_is_read() {
    #[derive(serde::Serialize)]
    struct Newer {
        v: u8,
        node: &'static str,
        inc: u64,
        seq: u64,
        load: [u64; 2],
        users: Listed,
    }
    let key = NodeKey::new(&Secret::new("one"), "nodes");
    let sealed = key.seal(&Newer { v: VERSION, node: "a", inc: 1, seq: 2, load: [1, 2], users: Listed::Same });
    let read: Beat = key.open(&sealed).expect("a beat");
    assert_eq!((&*read.node, read.seq, read.position), ("a", 2, None));
}
