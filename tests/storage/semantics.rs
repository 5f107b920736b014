//! What a batch promises.

use std::sync::{Arc, Mutex};

use hobnob::{
    ids::{ConversationId, MessageId, UserId},
    storage::{Batch, CommitError, Direction, KeyRange, Log, Record, Store, Table},
};
use serde::{Deserialize, Serialize};

const MESSAGES: Table<MessageId, Message> = Table::new("messages");
const MEMBERS: Table<(ConversationId, UserId), Message> = Table::new("members");
const CHANGES: Log<ConversationId, Message> = Log::new("changes");

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    text: String,
    seq: u64,
}

impl Record for Message {
    const VERSION: u8 = 1;

    fn stamp(&mut self, seq: u64) {
        self.seq = seq;
    }
}

fn message(text: &str) -> Message {
    Message { text: text.to_owned(), seq: 0 }
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a valid name")
}

#[tokio::test]
async fn a_stamped_value_knows_the_number_its_log_entry_got() {
    let store = Store::memory();
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
}

#[tokio::test]
async fn a_precondition_that_does_not_hold_leaves_no_trace() {
    let store = Store::memory();
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

    let mut batch = Batch::new();
    batch.put(&MESSAGES, &MessageId::fresh(), &message("beside"));
    batch.require_unchanged(&MESSAGES, &id, &read);
    assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict)));
    assert_eq!(store.scan(&MESSAGES, .., 10, Direction::Forward).expect("readable").len(), 1);
}

#[tokio::test]
async fn a_prefix_covers_its_keys_and_no_others() {
    let store = Store::memory();
    let (first, second) = (ConversationId::from_bytes([1; 12]), ConversationId::from_bytes([2; 12]));
    let mut batch = Batch::new();
    for name in ["ann", "anna", "bob"] {
        batch.put(&MEMBERS, &(first, user(name)), &message(name));
    }
    batch.put(&MEMBERS, &(second, user("carl")), &message("carl"));
    store.commit(batch).await.expect("free");

    let names = |rows: Vec<((ConversationId, UserId), Message)>| {
        rows.into_iter().map(|(_, member)| member.text).collect::<Vec<_>>()
    };
    let reader = store.read().expect("open");
    let all = reader.scan_prefix(&MEMBERS, &first, 10, Direction::Forward).expect("readable");
    assert_eq!(names(all), ["ann", "anna", "bob"]);
    let last = reader.scan_prefix(&MEMBERS, &first, 2, Direction::Backward).expect("readable");
    assert_eq!(names(last), ["bob", "anna"]);
    let after = KeyRange::prefix(&first).after(&(first, user("ann")));
    assert_eq!(names(reader.scan(&MEMBERS, after, 10, Direction::Forward).expect("readable")), ["anna", "bob"]);
}

#[tokio::test]
async fn a_call_after_a_commit_may_commit_and_panic() {
    let store = Store::memory();
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
    assert_eq!(*order.lock().expect("whole"), [1, 2]);
    assert_eq!(store.panics(), 1);
    store.close().await;
    assert!(matches!(store.commit(Batch::new()).await, Err(CommitError::Unavailable)));
    assert!(store.read().is_err());
}
