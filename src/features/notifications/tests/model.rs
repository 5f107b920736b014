//! Any sequence of changes, compared with the same rules over a plain list.

use std::time::Duration;

use proptest::prelude::*;

use super::{all, assert_consistent, features_with_max};
use crate::{
    clock::Timestamp,
    features::{
        Features,
        notifications::{Draft, Kind, NotificationId, Status},
        testing::id,
    },
};

/// What a user, the app and the time do.
#[derive(Clone, Debug)]
enum Step {
    Put { key: Option<u8>, ends: bool, kind: usize },
    Read(usize),
    Archive(usize),
    Delete(usize),
    MarkAll,
    Clear(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (proptest::option::of(0_u8..3), any::<bool>(), 0..Kind::ALL.len());
    let step = prop_oneof![
        6 => put.prop_map(|(key, ends, kind)| Step::Put { key, ends, kind }),
        4 => (0_usize..20).prop_map(Step::Read),
        2 => (0_usize..20).prop_map(Step::Archive),
        2 => (0_usize..20).prop_map(Step::Delete),
        1 => Just(Step::MarkAll),
        1 => any::<bool>().prop_map(Step::Clear),
        2 => (1_u64..200).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The same rules over a plain list, oldest first.
#[derive(Clone, Debug)]
struct Entry {
    id: NotificationId,
    key: Option<u8>,
    status: Status,
    read_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

const MODEL_MAX: usize = 12;

async fn apply(features: &Features, model: &mut Vec<Entry>, known: &mut Vec<NotificationId>, step: Step) {
    let (ann, notifications) = (id("ann"), &features.notifications);
    let pick = |index: usize| known.get(index % known.len().max(1)).copied();
    match step {
        Step::Put { key, ends, kind } => known.push(put(features, model, key, ends, Kind::ALL[kind]).await),
        Step::Read(index) => change(features, model, pick(index), false).await,
        Step::Archive(index) => change(features, model, pick(index), true).await,
        Step::Delete(index) => {
            let Some(wanted) = pick(index) else { return };
            let was_there = model.iter().any(|entry| entry.id == wanted);
            let done = notifications.delete(&ann, wanted).await;
            assert!(done.is_ok() || !was_there);
            model.retain(|entry| entry.id != wanted);
        }
        Step::MarkAll => {
            let count = notifications.mark_all_read(&ann).await.expect("stored");
            let mut unread: Vec<_> = model.iter_mut().filter(|entry| entry.status == Status::Unread).collect();
            for entry in &mut unread {
                entry.status = Status::Read;
                entry.read_at = notifications.get(&ann, entry.id).expect("there").read_at;
            }
            assert_eq!(count, unread.len());
        }
        Step::Clear(read_only) => {
            let before = model.len();
            let count = notifications.clear(&ann, read_only).await.expect("stored");
            model.retain(|entry| read_only && entry.status != Status::Read);
            assert_eq!(count, before - model.len());
        }
        Step::Wait(hours) => {
            tokio::time::advance(Duration::from_hours(hours)).await;
            sweep(features, model).await;
        }
    }
}

async fn put(features: &Features, model: &mut Vec<Entry>, key: Option<u8>, ends: bool, kind: Kind) -> NotificationId {
    let expires_at = ends.then(|| Timestamp::now().after(Duration::from_hours(100)));
    let draft = Draft { collapse_key: key.map(|key| key.to_string()), expires_at, ..Draft::new(kind, "t", "") };
    let made = features.notifications.put(&id("ann"), draft).await.expect("stored");
    let same = |entry: &Entry| entry.status == Status::Unread && key.is_some() && entry.key == key;
    if let Some(place) = model.iter().position(same) {
        assert_eq!(made.id, model.remove(place).id);
    } else if model.len() == MODEL_MAX {
        let place = model.iter().position(|entry| entry.status == Status::Read).unwrap_or(0);
        model.remove(place);
    }
    model.push(Entry { id: made.id, key, status: Status::Unread, read_at: None, expires_at });
    made.id
}

async fn change(features: &Features, model: &mut [Entry], wanted: Option<NotificationId>, archives: bool) {
    let Some(wanted) = wanted else { return };
    let (ann, notifications) = (id("ann"), &features.notifications);
    let done =
        if archives { notifications.archive(&ann, wanted).await } else { notifications.read(&ann, wanted).await };
    let entry = model.iter_mut().find(|entry| entry.id == wanted);
    assert_eq!(done.is_ok(), entry.is_some());
    let (Some(entry), Ok(done)) = (entry, done) else { return };
    match (archives, entry.status) {
        (true, _) => entry.status = Status::Archived,
        (false, Status::Unread) => entry.status = Status::Read,
        (false, Status::Read | Status::Archived) => {}
    }
    entry.read_at = entry.read_at.or(done.read_at);
    assert_eq!((done.status, done.read_at), (entry.status, entry.read_at));
}

async fn sweep(features: &Features, model: &mut Vec<Entry>) {
    let now = Timestamp::now();
    features.notifications.sweep_ends().await.expect("swept");
    features.notifications.sweep_read().await.expect("swept");
    let read_until = now.before(features.notifications.config.read_retention());
    model.retain(|entry| {
        let is_over = entry.expires_at.is_some_and(|at| at <= now);
        let is_old = entry.status == Status::Read && entry.read_at.is_some_and(|at| at <= read_until);
        !is_over && !is_old
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_and_lists_are_those_of_a_plain_list_after_any_sequence(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let features = features_with_max(MODEL_MAX);
            let (mut model, mut known) = (Vec::new(), Vec::new());
            for step in steps {
                apply(&features, &mut model, &mut known, step).await;
                let shown: Vec<_> = all(&features, "ann").await.into_iter().map(|shown| (shown.id, shown.status)).collect();
                let expected: Vec<_> = model.iter().rev().map(|entry| (entry.id, entry.status)).collect();
                assert_eq!(shown, expected);
                let unread = model.iter().filter(|entry| entry.status == Status::Unread).count();
                assert_eq!(features.notifications.unread_count(&id("ann")).await, Ok(unread));
                assert_consistent(&features.notifications.store, &id("ann"));
            }
        });
    }
}
