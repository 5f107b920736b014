//! What the settings allow to be in memory at the same time.

use super::Config;
use crate::storage;

/// The largest use of memory that the settings allow, whatever clients do, slow readers among those signed in left out: those are cut
/// off as memory gets scarce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// The sum.
    pub bytes: u64,
    /// The sum with its parts, in words.
    pub sum: String,
}

impl Config {
    /// What the caches and queues of the store take when full, and connections that have not shown who they are.
    #[must_use]
    pub fn worst_case(&self) -> WorstCase {
        let number = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let cache = number(self.storage.cache_bytes);
        let store = number(storage::MAX_QUEUED_BYTES);
        let (connections, each) = (number(self.server.max_connections), number(self.socketio.unauthenticated_bytes));
        let strangers = connections.saturating_mul(each);
        let bytes = cache.saturating_add(store).saturating_add(strangers);
        let sum = format!(
            "{cache} (`storage.cache_bytes`) + {store} (what waits to be written) + {strangers} (`server.max_connections` = \
             {connections}, `socketio.unauthenticated_bytes` = {each} each) = {bytes} bytes"
        );
        WorstCase { bytes, sum }
    }
}
