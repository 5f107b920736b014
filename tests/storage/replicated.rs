//! Nodes on one log: each promise under the fault that endangers it.

use std::sync::{Arc, Mutex};

use hobnob::storage::{
    Batch, CommitError,
    replicated::{Carried, Epoch, Halt, ImportError, Peers, Place, ReplicaState, SharedLog, import},
};

use crate::{
    cluster::{LOG, Node, ROWS, putting, sending},
    support::message,
};

#[tokio::test]
async fn what_one_node_commits_is_on_every_node_and_told_there_once() {
    let one = Node::first("one");
    let two = one.another("two");
    assert_eq!(one.send(1, "first").await.expect("stored"), 1);
    two.catch_up().await;
    assert_eq!(two.send(2, "second").await.expect("stored"), 2);
    one.commit(putting(7, "row")).await.expect("stored");
    let mut batch = Batch::new();
    batch.delete(&ROWS, &7);
    one.commit(batch).await.expect("stored");
    one.catch_up().await;
    two.catch_up().await;
    assert_eq!(one.texts(), ["first", "second"]);
    assert_eq!(two.texts(), one.texts());
    assert_eq!(two.rows(), one.rows());
    assert_eq!(two.told(), ["a#1 first", "1 first", "7 row", "7 gone"]);
    assert_eq!(one.told(), ["a#2 second", "2 second"]);
}

#[tokio::test]
async fn of_two_batches_with_one_precondition_the_same_wins_on_every_node() {
    let one = Node::first("one");
    let two = one.another("two");
    one.until_connected().await;
    two.until_connected().await;
    for key in 0..20 {
        let both = tokio::join!(one.send(key, "of one"), two.send(key, "of two"));
        let conflict = |outcome: &Result<u64, CommitError>| matches!(outcome, Err(CommitError::Conflict));
        assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
        assert!(conflict(&both.0) != conflict(&both.1));
    }
    one.catch_up().await;
    two.catch_up().await;
    assert_eq!(one.rows(), two.rows());
    assert_eq!(one.texts().len(), 20);
    assert_eq!(one.texts(), two.texts());
}

#[tokio::test]
async fn what_follows_a_commit_keeps_the_order_of_the_calls_also_for_what_only_reads() {
    let one = Node::first("one");
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut last = None;
    for n in 0..50_u64 {
        let tell = Arc::clone(&told);
        let (batch, appended) = sending(n, "x");
        let sent = one.store().commit_then(batch, move |committed| {
            tell.lock().expect("whole").push(committed.seq(appended));
        });
        let tell = Arc::clone(&told);
        let mut batch = Batch::new();
        let end = batch.observe(&LOG, &"a".to_owned());
        last = Some(one.store().commit_then(batch, move |committed| {
            let mut told = tell.lock().expect("whole");
            assert_eq!(told.last(), Some(&committed.seq(end)), "told by then is exactly what is there");
            told.push(committed.seq(end));
        }));
        drop(sent);
    }
    last.expect("some").await.expect("nothing to refuse");
    let expected: Vec<_> = (1..=50).flat_map(|seq| [seq, seq]).collect();
    assert_eq!(*told.lock().expect("whole"), expected);
    one.store().commit(Batch::new()).await.expect("an empty batch waits for those before");
}

#[tokio::test]
async fn a_lost_answer_is_no_second_entry_and_a_lost_entry_comes_later() {
    let one = Node::first("one");
    let two = one.another("two");
    one.until_connected().await;
    one.log.lose_answers(1);
    assert_eq!(one.send(1, "answer lost").await.expect("found in the log"), 1);
    one.log.lose_appends(1);
    assert_eq!(one.send(2, "entry lost").await.expect("appended again"), 2);
    // The first of several is lost, so those behind it do not count before it does.
    one.log.lose_appends(1);
    let sent: Vec<_> = (3..30).map(|key| one.store().commit(sending(key, &key.to_string()).0)).collect();
    for commit in sent {
        commit.await.expect("stored");
    }
    // Held back on the way, appended again meanwhile, and then there twice.
    one.log.delay_appends(2);
    let commit = one.store().commit(sending(30, "30").0);
    one.until("joining again", |status| status.state != ReplicaState::Connected).await;
    one.log.release();
    commit.await.expect("stored");
    one.send(31, "31").await.expect("stored");
    two.catch_up().await;
    let expected: Vec<_> = (3..=31).map(|key| key.to_string()).collect();
    assert_eq!(one.texts()[2..], expected);
    assert_eq!(two.texts(), one.texts());
}

#[tokio::test]
async fn an_entry_that_a_crash_has_left_in_the_log_is_applied_and_told_at_the_next_start() {
    let mut one = Node::first("one");
    one.send(1, "before").await.expect("stored");
    // Nobody reads what comes into the log from here on, as the answer's loss ends the process.
    let link = one.log.another();
    let epoch = link.bounds().await.expect("up").expect("made").epoch;
    one.log.delay_appends(usize::MAX);
    drop(one.store().commit(sending(2, "between").0));
    one.until("joining again", |status| status.state != ReplicaState::Connected).await;
    one.crash().await;
    one.log.release();
    assert!(link.read(epoch, Place::START, usize::MAX).await.expect("up").len() >= 2);
    one.start();
    one.catch_up().await;
    assert_eq!(one.texts(), ["before", "between"]);
    assert_eq!(one.told(), ["a#2 between", "2 between"]);
    one.send(3, "after").await.expect("stored");
    one.restart().await;
    one.catch_up().await;
    assert_eq!(one.texts(), ["before", "between", "after"]);
    assert_eq!(one.told(), [""; 0]);
}

#[tokio::test]
async fn alone_a_node_takes_what_may_wait_and_puts_it_in_order_later() {
    let one = Node::first("one");
    let two = one.another("two");
    one.send(1, "together").await.expect("stored");
    two.catch_up().await;
    one.log.cut();
    one.until_alone().await;
    assert_eq!(one.send(2, "alone").await.expect("spooled"), 2);
    assert!(matches!(one.send(2, "again").await, Err(CommitError::Conflict)), "checked against what is shown");
    assert!(matches!(one.commit(putting(9, "now")).await, Err(CommitError::Degraded)));
    assert_eq!(one.send(3, "alone, too").await.expect("spooled"), 3);
    assert_eq!(one.texts(), ["together", "alone", "alone, too"]);
    assert_eq!(one.rows().len(), 3);
    let status = one.status().borrow().clone();
    assert!(status.spooled_entries >= 2 && status.spooled_bytes > 0, "{status:?}");
    assert!(one.store().export().is_err(), "what is only shown is not copied");

    assert_eq!(two.send(4, "meanwhile").await.expect("stored"), 2);
    one.log.mend();
    one.catch_up().await;
    two.catch_up().await;
    assert_eq!(one.texts(), ["together", "meanwhile", "alone", "alone, too"]);
    assert_eq!(two.texts(), one.texts());
    assert_eq!(two.rows(), one.rows());
    one.store().commit(Batch::new()).await.expect("all told");
    assert_eq!(one.told(), ["a#2 meanwhile", "4 meanwhile", "resync"]);
    one.commit(putting(9, "now")).await.expect("stored");
}

#[tokio::test]
async fn the_spool_survives_a_restart_and_a_crash_and_is_shown_again() {
    let mut one = Node::first("one");
    let two = one.another("two");
    one.send(1, "together").await.expect("stored");
    one.log.cut();
    one.until_alone().await;
    one.send(2, "first").await.expect("spooled");
    one.restart().await;
    one.until_alone().await;
    one.send(3, "second").await.expect("spooled");
    assert_eq!(one.texts(), ["together", "first", "second"]);
    one.crash().await;
    one.start();
    one.until_alone().await;
    one.store().commit(Batch::new()).await.expect("shown by then");
    assert_eq!(one.texts(), ["together", "first", "second"]);
    one.log.mend();
    one.catch_up().await;
    two.catch_up().await;
    assert_eq!(two.texts(), ["together", "first", "second"]);
    one.store().commit(Batch::new()).await.expect("all told");
    assert_eq!(one.told(), ["resync"]);
}

#[tokio::test]
async fn an_entry_of_unknown_fate_counts_once_also_by_way_of_the_spool() {
    for arrives in [false, true] {
        let mut one = Node::first("one");
        let two = one.another("two");
        one.send(1, "together").await.expect("stored");
        one.log.delay_appends(usize::MAX);
        let (waits, does_not) = (one.store().commit(sending(2, "unknown").0), one.store().commit(putting(9, "x")));
        one.until("joining again", |status| status.state != ReplicaState::Connected).await;
        one.log.cut();
        waits.await.expect("spooled");
        assert!(matches!(does_not.await, Err(CommitError::Unavailable)), "its fate is unknown");
        one.crash().await;
        one.log.delay_appends(0);
        one.log.mend();
        if arrives {
            one.log.release();
        }
        one.start();
        one.catch_up().await;
        one.log.release();
        one.send(3, "later").await.expect("stored");
        two.catch_up().await;
        assert_eq!(two.texts(), ["together", "unknown", "later"], "arrives: {arrives}");
        assert_eq!(one.rows(), two.rows());
    }
}

#[tokio::test]
async fn a_full_spool_refuses_and_keeps_what_it_has() {
    let mut one = Node::new("one", hobnob::storage::replicated::MemoryLog::new());
    one.spool_max_bytes = 2_000;
    one.start();
    one.send(0, "together").await.expect("stored");
    one.log.cut();
    one.until_alone().await;
    let mut taken = 0;
    let refused = loop {
        match one.send(taken + 1, &"x".repeat(500)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CommitError::Degraded) && (2..5).contains(&taken), "{taken} {refused}");
    one.log.mend();
    one.catch_up().await;
    assert_eq!(one.texts().len() as u64, taken + 1);
}

#[tokio::test]
async fn a_log_that_answers_and_takes_nothing_leaves_nobody_waiting() {
    let one = Node::first("one");
    let two = one.another("two");
    one.send(1, "together").await.expect("stored");
    one.log.refuse_appends(true);
    let (waits, does_not) = tokio::join!(one.send(2, "not taken"), one.commit(putting(9, "x")));
    waits.expect("spooled");
    assert!(matches!(does_not, Err(CommitError::Unavailable | CommitError::Degraded)), "{does_not:?}");
    two.send(3, "meanwhile").await.expect("stored");
    one.log.refuse_appends(false);
    one.catch_up().await;
    two.catch_up().await;
    assert_eq!(one.texts(), ["together", "meanwhile", "not taken"]);
    assert_eq!(two.texts(), one.texts());
    assert_eq!(two.rows(), one.rows());
}

#[tokio::test]
async fn a_lost_end_of_the_log_is_put_back_by_a_node_that_has_it() {
    let one = Node::first("one");
    let two = one.another("two");
    for key in 0..10 {
        one.send(key, &key.to_string()).await.expect("stored");
    }
    two.catch_up().await;
    let before = one.log.entries();
    for lose in [3, 10] {
        one.log.cut();
        two.log.cut();
        one.until_alone().await;
        two.until_alone().await;
        one.log.lose_end(lose);
        one.log.mend();
        one.until_connected().await;
        assert_eq!(one.log.entries(), before);
        two.log.mend();
        two.until_connected().await;
    }
    one.log.cut();
    two.log.cut();
    one.until_alone().await;
    two.until_alone().await;
    one.log.wipe();
    two.log.mend();
    two.until_connected().await;
    assert_eq!(one.log.entries(), before, "also when all was lost");
    one.log.mend();
    one.until_connected().await;
    one.send(10, "10").await.expect("stored");
    two.catch_up().await;
    assert_eq!(one.texts(), two.texts());
    assert_eq!(one.texts().len(), 11);
}

/// Says that some other node is at a place.
#[derive(Default)]
struct Told(Mutex<Option<Place>>);

impl Peers for Told {
    fn furthest(&self, _: Epoch) -> Option<Place> {
        *self.0.lock().expect("whole")
    }
}

#[tokio::test]
async fn a_node_that_is_behind_leaves_it_to_a_better_one_to_put_the_end_back() {
    let one = Node::first("one");
    let peers = Arc::new(Told::default());
    let mut two = Node::new("two", one.log.another());
    two.peers = Arc::clone(&peers) as _;
    two.start();
    one.send(1, "1").await.expect("stored");
    two.catch_up().await;
    two.log.cut();
    two.until_alone().await;
    one.send(2, "2").await.expect("stored");
    one.log.cut();
    one.until_alone().await;
    *peers.0.lock().expect("whole") = Some(one.status().borrow().applied);
    one.log.wipe();
    two.log.mend();
    assert!(one.log.another().bounds().await.expect("up").is_none());
    tokio::task::yield_now().await;
    one.log.mend();
    one.until_connected().await;
    two.catch_up().await;
    assert_eq!(two.texts(), ["1", "2"]);
}

/// `one` has applied an entry of its own and one of `two` that are gone from the log, which has gone on with another.
async fn diverged() -> (Node, Node) {
    let one = Node::first("one");
    let two = one.another("two");
    one.send(1, "both").await.expect("stored");
    two.catch_up().await;
    two.log.cut();
    two.until_alone().await;
    one.send(2, "lost").await.expect("stored");
    one.send(3, "lost, too").await.expect("stored");
    one.log.cut();
    one.until_alone().await;
    one.send(4, "spooled").await.expect("spooled");
    one.log.lose_end(2);
    two.log.mend();
    two.until_connected().await;
    two.send(5, "instead").await.expect("stored");
    two.send(6, "instead, too").await.expect("stored");
    two.send(7, "and one more").await.expect("stored");
    one.log.mend();
    one.until("halted", |status| status.state == ReplicaState::Halted(Halt::Diverged)).await;
    (one, two)
}

/// The whole stream of a copy.
fn copy_of(node: &Node) -> Vec<u8> {
    let mut export = node.store().export().expect("in the log");
    let mut copy = Vec::new();
    while let Some(chunk) = export.next_chunk().expect("readable") {
        copy.extend(chunk);
    }
    copy
}

#[tokio::test]
async fn a_node_whose_history_is_not_that_of_the_log_copies_another_and_appends_what_only_it_had() {
    let (mut one, two) = diverged().await;
    assert!(matches!(one.commit(putting(9, "x")).await, Err(CommitError::Degraded)));
    assert_eq!(one.texts(), ["both", "lost", "lost, too", "spooled"], "still readable");
    let copy = copy_of(&two);
    one.stop().await;
    let carried = Carried::of(&one.config(), "one").expect("closed in order");
    import(&one.config(), &mut copy.as_slice(), &carried).expect("whole");
    one.start();
    one.catch_up().await;
    two.catch_up().await;
    let expected = ["both", "instead", "instead, too", "and one more", "lost", "lost, too", "spooled"];
    assert_eq!(one.texts(), expected);
    assert_eq!(two.texts(), expected);
    assert_eq!(one.rows(), two.rows());
    one.send(8, "on").await.expect("stored");
}

#[tokio::test]
async fn a_node_behind_the_trimmed_part_copies_another_and_goes_on_from_there() {
    let one = Node::first("one");
    for key in 0..600 {
        drop(one.store().commit(sending(key, &"x".repeat(1000)).0));
    }
    one.send(1000, "last").await.expect("stored");
    one.log.trim(1);
    let mut two = one.another("two");
    two.until("halted", |status| status.state == ReplicaState::Halted(Halt::Behind)).await;
    two.stop().await;
    let copy = copy_of(&one);
    one.send(1001, "after the copy").await.expect("stored");
    let imported = import(&two.config(), &mut copy.as_slice(), &Carried::none()).expect("whole");
    assert!(imported.rows > 1200, "{imported:?}");
    two.start();
    two.catch_up().await;
    assert_eq!(two.texts(), one.texts());
    assert_eq!(two.rows(), one.rows());
    two.send(1002, "of the new one").await.expect("stored");
}

#[tokio::test]
async fn a_copy_that_is_cut_short_or_changed_is_never_opened() {
    let one = Node::first("one");
    for key in 0..40 {
        one.send(key, &"text ".repeat(100)).await.expect("stored");
    }
    let copy = copy_of(&one);
    let two = Node::new("two", one.log.another());
    let mut places: Vec<_> = (0..copy.len()).step_by(copy.len() / 50).collect();
    places.extend([1, 4, 12, copy.len() - 1]);
    for place in places {
        let short = import(&two.config(), &mut &copy[..place], &Carried::none());
        assert!(matches!(short, Err(ImportError::Io(_))), "{place}: {short:?}");
        let mut changed = copy.clone();
        changed[place] ^= 0x10;
        import(&two.config(), &mut changed.as_slice(), &Carried::none()).expect_err("changed");
        assert!(!two.config().database().exists());
    }
    let longer = [copy.as_slice(), b"x"].concat();
    import(&two.config(), &mut longer.as_slice(), &Carried::none()).expect_err("longer");
    import(&two.config(), &mut copy.as_slice(), &Carried::none()).expect("whole");
    // One that is there is left alone by what fails.
    import(&two.config(), &mut &copy[..copy.len() / 2], &Carried::none()).expect_err("cut short");
    let store = hobnob::storage::Store::open(&two.config()).expect("whole");
    assert_eq!(store.scan_log(&LOG, &"a".to_owned(), 0, 100).expect("readable").len(), 40);
    store.close().await;
}

#[tokio::test]
async fn the_first_node_brings_its_rows_and_another_one_with_rows_is_not_let_in() {
    let mut one = Node::new("one", hobnob::storage::replicated::MemoryLog::new());
    let mut two = Node::new("two", one.log.another());
    for node in [&one, &two] {
        let store = hobnob::storage::Store::open(&node.config()).expect("a fresh directory");
        let mut batch = Batch::new();
        batch.put(&ROWS, &1, &message(node.name));
        store.commit(batch).await.expect("stored");
        store.close().await;
    }
    one.start();
    one.send(2, "on").await.expect("stored");
    assert_eq!(one.rows().len(), 2);
    two.start();
    two.until("halted", |status| status.state == ReplicaState::Halted(Halt::Foreign)).await;
    let three = one.another("three");
    three.until("halted", |status| status.state == ReplicaState::Halted(Halt::Behind)).await;
}

#[tokio::test]
async fn a_node_that_leaves_its_cluster_keeps_all_and_is_a_stranger_when_it_comes_back() {
    let mut one = Node::first("one");
    let two = one.another("two");
    one.send(1, "together").await.expect("stored");
    one.log.cut();
    one.until_alone().await;
    one.send(2, "spooled").await.expect("spooled");
    one.send(3, "spooled, too").await.expect("spooled");
    one.crash().await;
    let store = hobnob::storage::Store::open(&one.config()).expect("whole");
    let (batch, appended) = sending(4, "on its own");
    assert_eq!(store.commit(batch).await.expect("stored").seq(appended), 4);
    store.close().await;
    one.log.mend();
    one.start();
    one.until("halted", |status| status.state == ReplicaState::Halted(Halt::Foreign)).await;
    assert_eq!(one.texts(), ["together", "spooled", "spooled, too", "on its own"]);
    assert_eq!(two.texts(), ["together"]);
}

#[tokio::test]
async fn two_processes_under_one_name_disturb_each_other_and_lose_nothing() {
    let one = Node::first("one");
    let double = one.another("one");
    one.until_connected().await;
    double.until_connected().await;
    for key in 0..10 {
        let (a, b) = tokio::join!(one.send(key * 2, "x"), double.send(key * 2 + 1, "y"));
        a.expect("stored");
        b.expect("stored");
    }
    one.catch_up().await;
    double.catch_up().await;
    assert_eq!(one.texts().len(), 20);
    assert_eq!(one.texts(), double.texts());
}

#[tokio::test]
async fn bytes_that_are_no_entry_are_passed_over_by_all() {
    let one = Node::first("one");
    let two = one.another("two");
    one.send(1, "before").await.expect("stored");
    let epoch = one.log.bounds().await.expect("up").expect("made").epoch;
    for garbage in [&b""[..], b"x", &[1; 100], &[255; 3000]] {
        one.log.append(epoch, garbage.to_vec().into()).await.expect("appended");
    }
    two.send(2, "after").await.expect("stored");
    one.catch_up().await;
    assert_eq!(one.texts(), ["before", "after"]);
    assert_eq!(one.rows(), two.rows());
}

#[tokio::test]
async fn a_store_in_memory_is_replicated_too() {
    use hobnob::storage::{
        Store,
        replicated::{MemoryLog, NoPeers, ReplicaConfig},
    };
    let log = MemoryLog::new();
    let mut tasks = tokio::task::JoinSet::new();
    let mut store = |name: &str, log: MemoryLog| {
        let config = ReplicaConfig::new(name).expect("a name");
        let made = Store::replicated_in_memory(config, Arc::new(log), Arc::new(NoPeers));
        let (store, replica) = made.expect("memory");
        tasks.spawn(replica.run());
        store
    };
    let (one, two) = (store("one", log.another()), store("two", log));
    for key in 0..10 {
        one.commit(sending(key * 2, "of one").0).await.expect("stored");
        two.commit(sending(key * 2 + 1, "of two").0).await.expect("stored");
    }
    one.close().await;
    assert_eq!(two.scan_log(&LOG, &"a".to_owned(), 0, 100).expect("readable").len(), 20);
    two.close().await;
    tasks.join_all().await;
}
