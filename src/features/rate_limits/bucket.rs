//! Token buckets, counted in whole numbers on the monotonic clock: a full one that is emptied in a burst fills again evenly within its
//! window.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Limit;
use crate::clock::Instant;

/// Parts of the map, each with a lock of its own.
const SHARDS: usize = 64;
/// Buckets in use at a time, at most. Who comes when there are so many is let through uncounted.
const MAX_BUCKETS: usize = 1_000_000;

/// One bucket. One event costs `window` (in microseconds), and each microsecond gives back `max`, so nothing is ever rounded.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    limit: Limit,
    /// Taken and not given back yet, at `counted`.
    spent: u64,
    counted: Instant,
}

/// What a bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the event may pass.
    pub(super) allowed: bool,
    /// The limit it was held against.
    pub(super) limit: Limit,
    /// How many more may pass at once.
    pub(super) remaining: u32,
    /// When the next one may pass; zero while `remaining` is not.
    pub(super) retry_after: Duration,
    /// When the bucket is full again.
    pub(super) reset: Duration,
}

impl Bucket {
    const fn full(limit: Limit, now: Instant) -> Self {
        Self { limit, spent: 0, counted: now }
    }

    /// What is spent at `now`, after what time has given back.
    fn spent_at(&self, now: Instant) -> u64 {
        let elapsed = micros(now.saturating_duration_since(self.counted));
        self.spent.saturating_sub(elapsed.saturating_mul(u64::from(self.limit.max)))
    }

    /// Counts on with another limit: what was taken stays taken.
    fn change(&mut self, limit: Limit, now: Instant) {
        if self.limit != limit {
            let taken = self.spent_at(now).div_ceil(cost(self.limit));
            *self = Self { limit, spent: taken.saturating_mul(cost(limit)).min(capacity(limit)), counted: now };
        }
    }

    fn take(&mut self, limit: Limit, now: Instant) -> Verdict {
        self.change(limit, now);
        let (mut spent, cost, capacity) = (self.spent_at(now), cost(limit), capacity(limit));
        let allowed = spent.saturating_add(cost) <= capacity;
        if allowed {
            spent += cost;
            // A refusal changes nothing: whoever goes on trying is not kept out for longer.
            (self.spent, self.counted) = (spent, now);
        }
        let per_micro = u64::from(limit.max).max(1);
        let missing = spent.saturating_add(cost).saturating_sub(capacity);
        Verdict {
            allowed,
            limit,
            remaining: u32::try_from(capacity.saturating_sub(spent) / cost).unwrap_or(u32::MAX),
            retry_after: Duration::from_micros(missing.div_ceil(per_micro)),
            reset: Duration::from_micros(spent.div_ceil(per_micro)),
        }
    }
}

/// The price of one event.
fn cost(limit: Limit) -> u64 {
    limit.window_ms.saturating_mul(1000).max(1)
}

/// What a full bucket holds.
fn capacity(limit: Limit) -> u64 {
    cost(limit).saturating_mul(u64::from(limit.max))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Buckets by key. A key without a bucket has a full one, so whoever does nothing costs nothing.
pub(super) struct Buckets<K> {
    shards: Box<[Mutex<HashMap<K, Bucket>>]>,
    hasher: RandomState,
    max_per_shard: usize,
}

impl<K: Eq + Hash> Buckets<K> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::with_max(MAX_BUCKETS)
    }

    pub(super) fn with_max(max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), max_per_shard: max.div_ceil(SHARDS) }
    }

    /// Takes one from the bucket of `key`, if there is one left.
    pub(super) fn take(&self, key: K, limit: Limit, now: Instant) -> Verdict {
        let Some(mut shard) = self.shard(&key) else { return Bucket::full(limit, now).take(limit, now) };
        if let Some(bucket) = shard.get_mut(&key) {
            return bucket.take(limit, now);
        }
        if shard.len() >= self.max_per_shard {
            forget_full(&mut shard, now);
        }
        let mut bucket = Bucket::full(limit, now);
        let verdict = bucket.take(limit, now);
        if shard.len() < self.max_per_shard {
            shard.insert(key, bucket);
        }
        verdict
    }

    /// Gives back what was taken from the bucket of `key`.
    pub(super) fn give_back(&self, key: &K, now: Instant) {
        if let Some(mut shard) = self.shard(key)
            && let Some(bucket) = shard.get_mut(key)
        {
            let spent = bucket.spent_at(now).saturating_sub(cost(bucket.limit));
            (bucket.spent, bucket.counted) = (spent, now);
        }
    }

    /// Forgets the buckets that are full again, a part of the map at a time.
    pub(super) fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            forget_full(&mut shard, now);
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &K) -> Option<MutexGuard<'_, HashMap<K, Bucket>>> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards.get(index).map(lock)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held; should it ever, each bucket is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget_full<K: Eq + Hash>(buckets: &mut HashMap<K, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.spent_at(now) > 0);
}

/// How many of something there are by key, within a limit.
#[derive(Debug)]
pub(super) struct Counts<K: Eq + Hash> {
    counts: dashmap::DashMap<K, u32>,
}

impl<K: Eq + Hash> Default for Counts<K> {
    fn default() -> Self {
        Self { counts: dashmap::DashMap::new() }
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// One more; false when there are `max` already. Without a limit (0) it is counted all the same, for a limit that is set later.
    pub(super) fn enter(&self, key: K, max: u32) -> bool {
        let mut count = self.counts.entry(key).or_insert(0);
        if max > 0 && *count >= max {
            return false;
        }
        *count = count.saturating_add(1);
        true
    }

    /// One less.
    pub(super) fn leave(&self, key: &K) {
        self.counts.remove_if_mut(key, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const LIMIT: Limit = Limit { max: 3, window_ms: 3000 };

    fn allowed(buckets: &Buckets<u8>, key: u8, times: usize, now: Instant) -> usize {
        (0..times).filter(|_| buckets.take(key, LIMIT, now).allowed).count()
    }

    #[test]
    fn a_bucket_empties_at_once_and_fills_evenly() {
        let (buckets, start) = (Buckets::new(), clock::now());
        assert_eq!(allowed(&buckets, 1, 9, start), 3);
        let refused = buckets.take(1, LIMIT, start + Duration::from_millis(400));
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        assert_eq!((refused.retry_after, refused.reset), (Duration::from_millis(600), Duration::from_millis(2600)));
        let passed = buckets.take(1, LIMIT, start + Duration::from_secs(1));
        assert_eq!((passed.allowed, passed.remaining, passed.retry_after), (true, 0, Duration::from_secs(1)));
        assert_eq!(allowed(&buckets, 1, 9, start + Duration::from_mins(1)), 3, "never more than a full one");
        assert_eq!(allowed(&buckets, 2, 9, start), 3, "another key has its own");
    }

    #[test]
    fn exactly_the_limit_passes_whatever_the_numbers() {
        for (max, window_ms) in [(30, 10_000), (7, 1), (1_000_000, 1), (1, 86_400_000), (1_000_000, 86_400_000)] {
            let (mut bucket, limit, now) = (None, Limit { max, window_ms }, clock::now());
            let bucket = bucket.get_or_insert(Bucket::full(limit, now));
            let passed = (0..max).take(5000).all(|_| bucket.take(limit, now).allowed);
            assert!(passed, "{limit:?}");
            bucket.spent = capacity(limit);
            assert!(!bucket.take(limit, now).allowed, "{limit:?}");
        }
    }

    #[test]
    fn another_limit_keeps_what_was_taken() {
        let (buckets, now) = (Buckets::new(), clock::now());
        buckets.take(1, LIMIT, now);
        buckets.take(1, LIMIT, now);
        let wider = Limit { max: 10, window_ms: 500 };
        assert_eq!(buckets.take(1, wider, now).remaining, 7);
        assert!(!buckets.take(1, LIMIT, now).allowed);
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let (buckets, now) = (Buckets::new(), clock::now());
        assert_eq!(allowed(&buckets, 1, 3, now), 3);
        buckets.give_back(&1, now);
        buckets.give_back(&2, now);
        assert_eq!(allowed(&buckets, 1, 3, now), 1);
    }

    #[test]
    fn full_buckets_are_forgotten_and_there_are_never_more_than_allowed() {
        let (buckets, now) = (Buckets::with_max(SHARDS), clock::now());
        for key in 0..=u8::MAX {
            assert!(buckets.take(key, LIMIT, now).allowed, "at the bound nobody is kept out");
        }
        assert!(buckets.len() <= SHARDS);
        buckets.sweep(now + Duration::from_millis(999));
        assert!(buckets.len() > 0);
        buckets.sweep(now + Duration::from_secs(1));
        assert_eq!(buckets.len(), 0);
    }

    #[test]
    fn counts_end_where_they_began() {
        let counts = Counts::default();
        assert!(counts.enter(1, 2) && counts.enter(1, 2) && !counts.enter(1, 2));
        counts.leave(&1);
        assert!(counts.enter(1, 2));
        counts.leave(&1);
        counts.leave(&1);
        assert!(counts.counts.is_empty());
    }
}
