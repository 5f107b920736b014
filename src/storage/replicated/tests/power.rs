//! Power cuts of a node while it follows the log, and while it is alone.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{LOG, ROWS, Text};
use crate::storage::{
    Batch, Store,
    replicated::{MemoryLog, NoPeers, ReplicaConfig, ReplicaState},
    tests::{CutDisk, fresh, open},
};

fn start(disk: &CutDisk, log: &Arc<MemoryLog>) -> Option<(Store, JoinSet<()>)> {
    let mut config = ReplicaConfig::new("one").expect("a name");
    config.settling = std::time::Duration::ZERO;
    let cluster = (Arc::clone(log) as _, Arc::new(NoPeers) as _);
    let (store, replica) = Store::replicated_on(open(disk)?, None, config, cluster).ok()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(replica.run());
    Some((store, tasks))
}

async fn send(store: &Store, key: u64) -> bool {
    let text = Text(key.to_string());
    let mut batch = Batch::new();
    batch.require_absent(&ROWS, &key);
    batch.put(&ROWS, &key, &text);
    batch.append(&LOG, &"a".to_owned(), &text);
    batch.may_wait();
    store.commit(batch).await.is_ok()
}

async fn until(store: &Store, is_so: impl FnMut(&crate::storage::replicated::ReplicaStatus) -> bool) {
    let mut status = store.replica_status().expect("replicated");
    let found = tokio::time::timeout(std::time::Duration::from_secs(20), status.wait_for(is_so)).await;
    found.expect("in time").expect("the replica runs");
}

fn texts(store: &Store) -> Vec<u64> {
    let log = store.scan_log(&LOG, &"a".to_owned(), 0, usize::MAX).expect("readable");
    assert!(log.iter().map(|(seq, _)| *seq).eq(1..=log.len() as u64), "a gap in the log");
    log.into_iter().map(|(_, text)| text.0.parse().expect("a number")).collect()
}

/// What is acknowledged counts exactly once: together with others when `alone` is 0, otherwise alone from that batch on.
async fn cut(power: usize, alone: u64) {
    let (mut disk, log) = (fresh(), Arc::new(MemoryLog::new()));
    let config = ReplicaConfig::new("two").expect("a name");
    let other = Arc::new(log.another());
    let (two, replica) = Store::replicated_in_memory(config, other, Arc::new(NoPeers)).expect("memory");
    let mut others = JoinSet::new();
    others.spawn(replica.run());

    let mut acknowledged = Vec::new();
    let (store, mut tasks) = start(&disk, &log).expect("with power");
    assert!(send(&store, 0).await);
    disk.power(power);
    for key in 1..40 {
        if key == alone {
            log.cut();
        }
        if !send(&store, key).await {
            break;
        }
        acknowledged.push(key);
    }
    tasks.shutdown().await;
    drop(store);
    let mut seed = power as u64 ^ 0x9e37_79b9_7f4a_7c15;
    disk = disk.after_cut(|| {
        seed = seed.rotate_left(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        seed >> 63 == 1
    });

    log.mend();
    let (store, tasks) = start(&disk, &log).expect("with power");
    until(&store, |status| status.state == ReplicaState::Connected && status.spooled_entries == 0).await;
    assert!(send(&store, 100).await);
    assert!(send(&two, 101).await);
    let end = log.entries().last().expect("some").0;
    until(&store, |status| status.applied >= end).await;
    let found = texts(&store);
    assert_eq!(texts(&two), found, "power {power}, alone {alone}");
    for key in acknowledged.iter().chain(&[0, 100, 101]) {
        let times = found.iter().filter(|text| *text == key).count();
        assert_eq!(times, 1, "{key} of {found:?}, power {power}, alone {alone}");
    }
    store.close().await;
    two.close().await;
    tasks.join_all().await;
    others.join_all().await;
}

#[tokio::test]
async fn a_power_cut_makes_no_entry_count_twice_or_never() {
    for power in (0..120).step_by(5) {
        cut(power, 0).await;
    }
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_spooled() {
    for power in (0..120).step_by(5) {
        cut(power, 5).await;
    }
}
