//! Many tasks at once: one order, which is that of the numbers, and what follows a commit keeps it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use hobnob::{
    ids::{ConversationId, MessageId},
    storage::{Batch, Config, Store},
};
use tokio::task::JoinSet;

use crate::{
    cluster::Node,
    support::{BUSY_FILING, CHANGES, Dir, MESSAGES, message},
};

const TASKS: u8 = 16;
const EACH: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_follows_a_commit_is_called_in_the_order_of_the_numbers() {
    let dir = Dir::new();
    let on_disk = Store::open(&Config { filing: BUSY_FILING, ..dir.config() }).expect("a fresh directory");
    let node = Node::first("one");
    let other = node.another("two");
    for store in [Store::memory(), on_disk, node.store().clone()] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tasks: JoinSet<()> = (0..TASKS).map(|task| send(store.clone(), task, Arc::clone(&told))).collect();
        tasks.join_all().await;
        store.close().await;

        let told = told.lock().expect("whole");
        assert_eq!(told.len(), usize::from(TASKS) * EACH, "also for futures that were dropped");
        let mut heads = HashMap::new();
        for (conversation, seq) in &*told {
            let head = heads.entry(*conversation).or_insert(0);
            *head += 1;
            assert_eq!(seq, head, "a gap or a change of order in what was told");
        }
    }
    other.catch_up().await;
    let conversation = ConversationId::from_bytes([0; 12]);
    let copied = other.store().scan_log(&CHANGES, &conversation, 0, usize::MAX).expect("readable");
    assert_eq!(copied.len(), usize::from(TASKS) * EACH.div_ceil(3), "on another node");
}

async fn send(store: Store, task: u8, told: Arc<Mutex<Vec<(ConversationId, u64)>>>) {
    let mut own = HashMap::new();
    for n in 0..EACH {
        let conversation = ConversationId::from_bytes([(n % 3).try_into().expect("small"); 12]);
        let mut batch = Batch::new();
        let appended = batch.append(&CHANGES, &conversation, &message(&format!("{n} of {task}")));
        batch.put_stamped(&MESSAGES, &MessageId::fresh(), &message("x"), appended);
        let told = Arc::clone(&told);
        let commit = store.commit_then(batch, move |committed| {
            let seq = committed.seq(appended);
            told.lock().expect("whole").push((conversation, seq));
            seq
        });
        if n % 10 == 9 {
            drop(commit);
        } else {
            let seq = commit.await.expect("stored");
            let previous = own.insert(conversation, seq);
            assert!(previous < Some(seq), "the sender's own order");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_observed_end_is_exactly_what_has_been_told_by_then() {
    let dir = Dir::new();
    let on_disk = Store::open(&Config { filing: BUSY_FILING, ..dir.config() }).expect("a fresh directory");
    let node = Node::first("one");
    for store in [Store::memory(), on_disk, node.store().clone()] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut tasks: JoinSet<()> = (0..TASKS).map(|task| send(store.clone(), task, Arc::clone(&told))).collect();
        for _ in 0..TASKS {
            tasks.spawn(observe(store.clone(), Arc::clone(&told)));
        }
        tasks.join_all().await;
        store.close().await;
    }
}

async fn observe(store: Store, told: Arc<Mutex<Vec<(ConversationId, u64)>>>) {
    for n in 0..EACH {
        let conversation = ConversationId::from_bytes([(n % 4).try_into().expect("small"); 12]);
        let mut batch = Batch::new();
        let end = batch.observe(&CHANGES, &conversation);
        let told = Arc::clone(&told);
        let commit = store.commit_then(batch, move |committed| {
            let told = told.lock().expect("whole");
            let of_this = told.iter().filter(|(other, _)| *other == conversation).count();
            (committed.seq(end), of_this)
        });
        let (end, told) = commit.await.expect("nothing to refuse");
        assert_eq!(usize::try_from(end), Ok(told));
    }
}
