//! Sweeping old rows.

use hobnob::{
    ids::MessageId,
    storage::{Batch, Direction, Store, expiry::sweep},
};

use crate::support::{Dir, MESSAGES, message};

#[tokio::test]
async fn a_sweep_deletes_what_is_expired_page_by_page() {
    let dir = Dir::new();
    for store in [Store::memory(), dir.open().expect("a fresh directory")] {
        for n in 0..25 {
            let mut batch = Batch::new();
            let text = if n % 5 == 0 { "old" } else { "new" };
            batch.put(&MESSAGES, &MessageId::from_bytes([n; 12]), &message(text));
            store.commit(batch).await.expect("stored");
        }
        let (mut cursor, mut deleted, mut pages) = (None, 0, 0);
        loop {
            let swept = sweep(&store, &MESSAGES, cursor.as_ref(), 10, |_, row| row.text == "old").await;
            let swept = swept.expect("readable");
            (deleted, pages) = (deleted + swept.deleted, pages + 1);
            cursor = swept.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((deleted, pages), (5, 3));
        let left = store.scan(&MESSAGES, .., 100, Direction::Forward).expect("readable");
        assert_eq!(left.len(), 20);
        assert!(left.iter().all(|(_, row)| row.text == "new"));
    }
}

#[tokio::test]
async fn a_row_that_is_renewed_during_the_sweep_stays() {
    let store = Store::memory();
    let put = |n: u8, text: &str| {
        let mut batch = Batch::new();
        batch.put(&MESSAGES, &MessageId::from_bytes([n; 12]), &message(text));
        drop(store.commit(batch));
    };
    put(1, "old");
    put(2, "old");
    let swept = sweep(&store, &MESSAGES, None, 10, |key, _| {
        if *key == MessageId::from_bytes([2; 12]) {
            put(2, "renewed");
        }
        true
    });
    assert_eq!(swept.await.expect("readable").deleted, 1);
    let left = store.scan(&MESSAGES, .., 10, Direction::Forward).expect("readable");
    assert_eq!(left.into_iter().map(|(_, row)| row.text).collect::<Vec<_>>(), ["renewed"]);
}
