//! Which keys a scan covers.

use std::{
    marker::PhantomData,
    ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive},
};

use super::key::{Key, PrefixOf};

/// In which order a scan goes through its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// A range of keys of type `K`.
///
/// Made from a Rust range (`..`, `a..`, `a..b`, `a..=b`, `..b`), or from a leading part of a composite key and then
/// narrowed. A range whose start lies behind its end is empty.
///
/// ```
/// use hobnob::{ids::ConversationId, storage::KeyRange};
///
/// // The keys of one conversation that come after 41.
/// let conversation = ConversationId::fresh();
/// let newer: KeyRange<(ConversationId, u64)> = KeyRange::prefix(&conversation).after(&(conversation, 41));
/// ```
#[derive(Clone, Debug)]
pub struct KeyRange<K> {
    /// The first key's bytes.
    start: Vec<u8>,
    /// The bytes of the first key that is not covered; `None` covers everything from `start` on.
    end: Option<Vec<u8>>,
    keys: PhantomData<fn() -> K>,
}

impl<K: Key> KeyRange<K> {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None, keys: PhantomData }
    }

    /// The keys that begin with `prefix`: `prefix(&user)` covers all of `(user, *)`.
    #[must_use]
    pub fn prefix<P: PrefixOf<K>>(prefix: &P) -> Self {
        let start = bytes(prefix);
        Self { end: successor(&start), start, keys: PhantomData }
    }

    /// Narrowed to `key` and what comes after it.
    #[must_use]
    pub fn at_least(mut self, key: &K) -> Self {
        self.start = self.start.max(bytes(key));
        self
    }

    /// Narrowed to what comes after `key`.
    #[must_use]
    pub fn after(mut self, key: &K) -> Self {
        self.start = self.start.max(just_after(key));
        self
    }

    /// Narrowed to what comes before `key`.
    #[must_use]
    pub fn before(self, key: &K) -> Self {
        self.ending_at(bytes(key))
    }

    /// Narrowed to `key` and what comes before it.
    #[must_use]
    pub fn at_most(self, key: &K) -> Self {
        self.ending_at(just_after(key))
    }

    fn ending_at(mut self, end: Vec<u8>) -> Self {
        self.end = match self.end {
            Some(old) if old < end => Some(old),
            _ => Some(end),
        };
        self
    }

    /// First byte string covered, and first one after it that is not.
    pub(crate) fn bounds(&self) -> (&[u8], Option<&[u8]>) {
        (&self.start, self.end.as_deref())
    }
}

fn bytes(key: &impl Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

/// The lowest byte string above `key`.
fn just_after(key: &impl Key) -> Vec<u8> {
    let mut bytes = bytes(key);
    bytes.push(0);
    bytes
}

/// The lowest byte string above all that begin with `prefix`; `None` when there is none.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

impl<K: Key> From<RangeFull> for KeyRange<K> {
    fn from(_: RangeFull) -> Self {
        Self::all()
    }
}

impl<K: Key> From<Range<K>> for KeyRange<K> {
    fn from(range: Range<K>) -> Self {
        Self::all().at_least(&range.start).before(&range.end)
    }
}

impl<K: Key> From<RangeInclusive<K>> for KeyRange<K> {
    fn from(range: RangeInclusive<K>) -> Self {
        Self::all().at_least(range.start()).at_most(range.end())
    }
}

impl<K: Key> From<RangeFrom<K>> for KeyRange<K> {
    fn from(range: RangeFrom<K>) -> Self {
        Self::all().at_least(&range.start)
    }
}

impl<K: Key> From<RangeTo<K>> for KeyRange<K> {
    fn from(range: RangeTo<K>) -> Self {
        Self::all().before(&range.end)
    }
}

impl<K: Key> From<RangeToInclusive<K>> for KeyRange<K> {
    fn from(range: RangeToInclusive<K>) -> Self {
        Self::all().at_most(&range.end)
    }
}
