//! The names of what is stored, with the types of keys and values.

use std::{fmt, marker::PhantomData};

/// One fact per key. Declared as a `const`, with its meaning in the doc.
pub struct Table<K, V> {
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

/// Append-only streams: `(K, seq) -> V`, where the store assigns `seq` from 1 upwards without gaps.
pub struct Log<K, V> {
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

/// Names that the store uses itself.
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const META: &str = "meta";

impl<K, V> Table<K, V> {
    /// The table called `name`. Where nodes replicate a store, each has tables of its own whose names begin with `node_`: a batch
    /// changes tables of either kind.
    ///
    /// A name has 1 to 64 bytes of `a-z`, `0-9` and `_`, neither `journal` nor `meta`, unique among tables
    /// and logs, never changed.
    ///
    /// # Panics
    ///
    /// When the name breaks these rules; in a `const`, compilation fails.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(is_valid(name), "not a table name");
        Self { name, types: PhantomData }
    }

    /// The name on disk.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<K, V> Log<K, V> {
    /// The log called `name`, under the rules of [`Table::new`].
    ///
    /// # Panics
    ///
    /// When the name breaks these rules; in a `const`, compilation fails.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(is_valid(name), "not a log name");
        Self { name, types: PhantomData }
    }

    /// The name on disk.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.name).finish()
    }
}

impl<K, V> fmt::Debug for Log<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.name).finish()
    }
}

/// Whether every node has a table of this name for itself.
pub(crate) fn is_of_node(name: &[u8]) -> bool {
    name.starts_with(b"node_")
}

/// A zero byte ends the name in a row's key, so names hold none.
pub(crate) const fn is_valid(name: &str) -> bool {
    let mut rest = name.as_bytes();
    if rest.is_empty() || rest.len() > 64 || is(name, JOURNAL) || is(name, META) {
        return false;
    }
    while let [first, tail @ ..] = rest {
        if !matches!(first, b'a'..=b'z' | b'0'..=b'9' | b'_') {
            return false;
        }
        rest = tail;
    }
    true
}

/// `==` on texts, which a `const fn` cannot call.
const fn is(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let ([x, a_tail @ ..], [y, b_tail @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (a_tail, b_tail);
    }
    a.is_empty() && b.is_empty()
}
