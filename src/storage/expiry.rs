//! Sweeping: deleting rows that are past their time, a page at a time, so that traffic never waits for it, and not while the
//! wall clock is in doubt.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{batch::Batch, error::CommitError, key::Key, range::KeyRange, record::Record, store::Store, table::Table};
use crate::clock::{self, Instant, Timestamp};

/// A difference between the clocks that no correction of the time explains.
const JUMP: Duration = Duration::from_mins(1);
/// How long nothing is swept after a jump: time for whoever set the clock to see it, or to set it back.
const STEADY_AFTER: Duration = Duration::from_mins(5);

/// Says whether sweeping is safe: the wall clock can be trusted with deleting, and it is this node's turn. A jump of more than 60 s
/// against the monotonic clock is logged, and nothing may be swept for 5 minutes. Clones share it.
///
/// Spec: reliability, P28.
#[derive(Clone)]
pub struct SteadyClock {
    watch: Arc<Mutex<Watch>>,
    is_our_turn: Arc<dyn Fn() -> bool + Send + Sync>,
}

#[derive(Debug)]
struct Watch {
    wall: Timestamp,
    at: Instant,
    steady_from: Instant,
}

impl SteadyClock {
    /// A clock that is trusted from now on.
    #[must_use]
    pub fn new() -> Self {
        Self::with_turns(|| true)
    }

    /// The same for one of several nodes that share what is swept: only while `is_our_turn`.
    #[must_use]
    pub fn with_turns(is_our_turn: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let now = clock::now();
        Self::starting_at(Watch { wall: Timestamp::now(), at: now, steady_from: now }, is_our_turn)
    }

    fn starting_at(watch: Watch, is_our_turn: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { watch: Arc::new(Mutex::new(watch)), is_our_turn: Arc::new(is_our_turn) }
    }

    /// Whether sweeping is safe at this moment. To be asked before every sweep.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        // Looked at in any case: a jump counts from when it is seen.
        self.observe(Timestamp::now(), clock::now()) && (self.is_our_turn)()
    }

    /// Compares how far both clocks have come since the last look.
    fn observe(&self, wall: Timestamp, now: Instant) -> bool {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = watch.wall.after(now.saturating_duration_since(watch.at));
        let jump = Duration::from_millis(wall.as_millis().abs_diff(expected.as_millis()));
        if jump > JUMP {
            tracing::warn!(
                seconds = jump.as_secs(),
                forward = wall > expected,
                "the wall clock has jumped; nothing is swept for 5 minutes"
            );
            watch.steady_from = now + STEADY_AFTER;
        }
        watch.wall = wall;
        watch.at = now;
        now >= watch.steady_from
    }
}

impl std::fmt::Debug for SteadyClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteadyClock").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::new()
    }
}

/// What one call of [`sweep`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept<K> {
    /// Rows deleted.
    pub deleted: usize,
    /// Where to go on; `None` at the end of the table.
    pub cursor: Option<K>,
}

/// Looks at the next `page` rows of `table` after `cursor`, or its first ones, and deletes those that `is_expired`.
///
/// A row that changes in between is left alone: the change may have renewed it. Call again with the cursor that comes
/// back, with a pause between, until it is `None`. A page of a few hundred rows reads for about a millisecond.
///
/// # Errors
///
/// When the table cannot be read or the store does not take the deletions; some of the page may have been deleted.
pub async fn sweep<K: Key, V: Record>(
    store: &Store,
    table: &Table<K, V>,
    cursor: Option<&K>,
    page: usize,
    mut is_expired: impl FnMut(&K, &V) -> bool,
) -> Result<Swept<K>, CommitError> {
    let range = cursor.map_or_else(KeyRange::all, |cursor| KeyRange::all().after(cursor));
    let rows = store.read()?.scan_versioned(table, &range, page)?;
    let is_last_page = rows.len() < page;
    // A batch for each row: they are stored together anyway, and one that has changed does not hold back the others.
    let mut commits = Vec::new();
    let mut last = None;
    for (key, row) in rows {
        if is_expired(&key, &row.value) {
            let mut batch = Batch::new();
            batch.require_unchanged(table, &key, &row);
            batch.delete(table, &key);
            commits.push(store.commit(batch));
        }
        last = Some(key);
    }
    let mut deleted = 0;
    for commit in commits {
        match commit.await {
            Ok(_) => deleted += 1,
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Swept { deleted, cursor: last.filter(|_| !is_last_page) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_jump_of_the_wall_clock_nothing_is_swept_for_five_minutes() {
        let (wall, start) = (Timestamp::now(), clock::now());
        let clock = SteadyClock::starting_at(Watch { wall, at: start, steady_from: start }, || true);
        let minutes = |count: u64| Duration::from_mins(count);
        assert!(clock.observe(wall.after(minutes(60)), start + minutes(60)), "both have moved");
        let slewed = wall.after(minutes(61)).after(Duration::from_secs(30));
        assert!(clock.observe(slewed, start + minutes(61)), "a correction is no jump");

        let later = slewed.after(Duration::from_hours(1));
        assert!(!clock.observe(later, start + minutes(61)), "an hour ahead");
        assert!(!clock.observe(later.after(minutes(4)), start + minutes(65)));
        assert!(clock.observe(later.after(minutes(5)), start + minutes(66)));

        let back = later.after(minutes(5)).before(Duration::from_secs(61));
        assert!(!clock.observe(back, start + minutes(66)), "back is a jump, too");
        assert!(!clock.observe(back.after(minutes(4)).before(Duration::from_hours(2)), start + minutes(70)));
        assert!(
            !clock.observe(back.after(minutes(6)).before(Duration::from_hours(2)), start + minutes(72)),
            "a second jump begins the waiting anew"
        );
    }
}
