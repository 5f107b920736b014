//! What a batch promises, with and without a disk.

use std::sync::{Arc, Mutex};

use hobnob::{
    ids::{ConversationId, MessageId},
    storage::{Batch, CommitError, Direction, KeyRange, MAX_BATCH_BYTES, MAX_RECORD_BYTES, Store},
};

use crate::support::{CHANGES, Dir, MEMBERS, MESSAGES, Message, message, user};

/// Every backend, and a directory to be kept for as long as the second is used.
fn backends() -> (Dir, [Store; 2]) {
    let dir = Dir::new();
    let stores = [Store::memory(), dir.open().expect("a fresh directory")];
    (dir, stores)
}

#[tokio::test]
async fn a_stamped_value_knows_the_number_its_log_entry_got() {
    let (_dir, stores) = backends();
    for store in stores {
        let conversation = ConversationId::fresh();
        for expected in 1..=3 {
            let id = MessageId::fresh();
            let mut batch = Batch::new();
            let appended = batch.append(&CHANGES, &conversation, &message("new"));
            batch.put_stamped(&MESSAGES, &id, &message("hello"), appended);
            let committed = store.commit(batch).await.expect("free");
            assert_eq!(committed.seq(appended), expected);
            assert_eq!(store.get(&MESSAGES, &id).expect("readable").map(|message| message.seq), Some(expected));
        }
        assert_eq!(store.head(&CHANGES, &conversation).expect("readable"), 3);
        assert_eq!(store.head(&CHANGES, &ConversationId::fresh()).expect("readable"), 0);
        let newer = store.scan_log(&CHANGES, &conversation, 1, 10).expect("readable");
        assert_eq!(newer.iter().map(|(seq, entry)| (*seq, entry.seq)).collect::<Vec<_>>(), [(2, 2), (3, 3)]);
        let older = store.scan_log_back(&CHANGES, &conversation, Some(3), 10).expect("readable");
        assert_eq!(older.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 1]);
        assert!(store.scan_log(&CHANGES, &conversation, u64::MAX, 10).expect("readable").is_empty());
    }
}

#[tokio::test]
async fn the_oldest_entries_of_a_log_can_go_and_the_numbers_go_on_after_a_restart() {
    let dir = Dir::new();
    let store = dir.open().expect("a fresh directory");
    let (conversation, other) = (ConversationId::fresh(), ConversationId::fresh());
    for _ in 0..4 {
        let mut batch = Batch::new();
        batch.append(&CHANGES, &conversation, &message("entry"));
        batch.append(&CHANGES, &other, &message("entry"));
        store.commit(batch).await.expect("free");
    }
    let mut batch = Batch::new();
    (0..=3).for_each(|seq| batch.delete_entry(&CHANGES, &conversation, seq));
    store.commit(batch).await.expect("free");
    store.close().await;
    let store = dir.open().expect("closed in order");
    let seqs = |of, after| {
        let entries = store.scan_log(&CHANGES, of, after, 10).expect("readable");
        entries.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>()
    };
    assert_eq!((seqs(&conversation, 0), seqs(&other, 0)), (vec![4], vec![1, 2, 3, 4]));
    let mut batch = Batch::new();
    let appended = batch.append(&CHANGES, &conversation, &message("entry"));
    assert_eq!(store.commit(batch).await.expect("free").seq(appended), 5);
    assert_eq!(seqs(&conversation, 2), [4, 5]);
}

#[tokio::test]
async fn a_precondition_that_does_not_hold_leaves_no_trace() {
    let (_dir, stores) = backends();
    for store in stores {
        let id = MessageId::fresh();
        let mut batch = Batch::new();
        batch.require_absent(&MESSAGES, &id);
        batch.put(&MESSAGES, &id, &message("first"));
        store.commit(batch).await.expect("absent");
        let read = store.get_versioned(&MESSAGES, &id).expect("readable").expect("stored");

        let mut batch = Batch::new();
        batch.require_unchanged(&MESSAGES, &id, &read);
        batch.put(&MESSAGES, &id, &message("second"));
        store.commit(batch).await.expect("unchanged");

        let conversation = ConversationId::fresh();
        let mut batch = Batch::new();
        batch.put(&MESSAGES, &MessageId::fresh(), &message("beside"));
        batch.append(&CHANGES, &conversation, &message("beside"));
        batch.require_unchanged(&MESSAGES, &id, &read);
        assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict)));
        assert_eq!(store.scan(&MESSAGES, .., 10, Direction::Forward).expect("readable").len(), 1);
        assert_eq!(store.head(&CHANGES, &conversation).expect("readable"), 0);
    }
}

#[tokio::test]
async fn of_two_that_create_the_same_row_at_once_the_first_submitted_wins() {
    let (_dir, stores) = backends();
    for store in stores {
        let id = MessageId::fresh();
        let create = |text: &str| {
            let mut batch = Batch::new();
            batch.require_absent(&MESSAGES, &id);
            batch.put(&MESSAGES, &id, &message(text));
            store.commit(batch)
        };
        let (first, second) = (create("first"), create("second"));
        assert!(matches!(second.await, Err(CommitError::Conflict)));
        first.await.expect("absent");
        assert_eq!(store.get(&MESSAGES, &id).expect("readable"), Some(message("first")));
    }
}

#[tokio::test]
async fn a_prefix_covers_its_keys_and_no_others() {
    let (_dir, stores) = backends();
    for store in stores {
        let (first, second) = (ConversationId::from_bytes([1; 12]), ConversationId::from_bytes([2; 12]));
        let mut batch = Batch::new();
        for name in ["ann", "anna", "bob"] {
            batch.put(&MEMBERS, &(first, user(name)), &message(name));
        }
        batch.put(&MEMBERS, &(second, user("carl")), &message("carl"));
        store.commit(batch).await.expect("free");

        let names = |rows: Vec<(_, Message)>| rows.into_iter().map(|(_, row)| row.text).collect::<Vec<_>>();
        let reader = store.read().expect("open");
        let scan = |range, direction| reader.scan(&MEMBERS, range, 10, direction).expect("readable");
        let all = reader.scan_prefix(&MEMBERS, &first, 10, Direction::Forward).expect("readable");
        assert_eq!(names(all), ["ann", "anna", "bob"]);
        let last = reader.scan_prefix(&MEMBERS, &first, 2, Direction::Backward).expect("readable");
        assert_eq!(names(last), ["bob", "anna"]);
        let ann = (first, user("ann"));
        assert_eq!(names(scan(KeyRange::prefix(&first).after(&ann), Direction::Forward)), ["anna", "bob"]);
        assert_eq!(names(scan(KeyRange::prefix(&first).at_most(&ann), Direction::Forward)), ["ann"]);
        let before = KeyRange::prefix(&first).before(&(first, user("bob")));
        assert_eq!(names(scan(before, Direction::Backward)), ["anna", "ann"]);
        assert!(scan(KeyRange::prefix(&second).before(&ann), Direction::Backward).is_empty());
    }
}

#[tokio::test]
async fn a_reader_sees_one_state_whatever_is_committed_meanwhile() {
    let (_dir, stores) = backends();
    for store in stores {
        let put = |text: &str| {
            let mut batch = Batch::new();
            batch.put(&MESSAGES, &MessageId::from_bytes([1; 12]), &message(text));
            store.commit(batch)
        };
        put("old").await.expect("stored");
        let other = store.clone();
        let (before, after) = (tokio::sync::oneshot::channel(), tokio::sync::oneshot::channel::<()>());
        let reading = tokio::task::spawn_blocking(move || {
            let reader = other.read().expect("open");
            before.0.send(()).expect("awaited");
            after.1.blocking_recv().expect("sent");
            reader.get(&MESSAGES, &MessageId::from_bytes([1; 12])).expect("readable")
        });
        before.1.await.expect("sent");
        put("new").await.expect("stored");
        after.0.send(()).expect("awaited");
        assert_eq!(reading.await.expect("no panic"), Some(message("old")));
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_rest_of_the_batch_with_it() {
    let (_dir, stores) = backends();
    let text = "x".repeat(MAX_RECORD_BYTES - 16);
    for store in stores {
        let mut batch = Batch::new();
        batch.put(&MESSAGES, &MessageId::fresh(), &message(&text));
        store.commit(batch).await.expect("just small enough");

        let mut batch = Batch::new();
        batch.put(&MESSAGES, &MessageId::fresh(), &message("small"));
        batch.put(&MESSAGES, &MessageId::fresh(), &message(&format!("{text}{}", "x".repeat(16))));
        assert!(matches!(store.commit(batch).await, Err(CommitError::TooLarge { table: "messages" })));

        let mut batch = Batch::new();
        for _ in 0..=MAX_BATCH_BYTES / MAX_RECORD_BYTES {
            batch.put(&MESSAGES, &MessageId::fresh(), &message(&text));
        }
        assert!(matches!(store.commit(batch).await, Err(CommitError::TooLarge { .. })));
        assert_eq!(store.scan(&MESSAGES, .., 10, Direction::Forward).expect("readable").len(), 1);
    }
}

#[tokio::test]
async fn a_call_after_a_commit_may_commit_and_panic() {
    let (_dir, stores) = backends();
    for store in stores {
        let order = Arc::new(Mutex::new(Vec::new()));
        let panics = store.commit_then(Batch::new(), |_| panic!("on purpose"));
        let (inner, seen) = (store.clone(), Arc::clone(&order));
        let outer = store.commit_then(Batch::new(), move |_| {
            let later = Arc::clone(&seen);
            drop(inner.commit_then(Batch::new(), move |_| later.lock().expect("whole").push(2)));
            seen.lock().expect("whole").push(1);
        });
        outer.await.expect("stored");
        assert!(matches!(panics.await, Err(CommitError::Unavailable)));
        assert_eq!(store.panics(), 1);
        store.close().await;
        assert_eq!(*order.lock().expect("whole"), [1, 2]);
        assert!(matches!(store.commit(Batch::new()).await, Err(CommitError::Unavailable)));
        assert!(store.read().is_err());
        store.close().await;
    }
}

#[tokio::test]
async fn the_last_handle_may_be_dropped_by_a_call_after_a_commit() {
    let (_dir, stores) = backends();
    for store in stores {
        let last = store.clone();
        let (done, waiting) = tokio::sync::oneshot::channel();
        drop(store.commit_then(Batch::new(), move |_| {
            drop(last);
            done.send(()).expect("awaited");
        }));
        drop(store);
        waiting.await.expect("called");
    }
}
