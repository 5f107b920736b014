//! Typed tables and the one way to write them: all or nothing, and on disk before the answer.
//!
//! Owns the encoding of keys and records, the order of commits, the files and their care. Must not know what is stored:
//! tables and records are declared by the features, beside the rules that use them.
//!
//! ```
//! use hobnob::{
//!     ids::UserId,
//!     storage::{Batch, Record, Store, Table},
//! };
//! use serde::{Deserialize, Serialize};
//!
//! /// What a user wants to be called.
//! const NICKNAMES: Table<UserId, Nickname> = Table::new("nicknames");
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Nickname(String);
//!
//! impl Record for Nickname {
//!     const VERSION: u8 = 1;
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::memory();
//! let ann = UserId::new("ann")?;
//! let mut batch = Batch::new();
//! batch.require_absent(&NICKNAMES, &ann);
//! batch.put(&NICKNAMES, &ann, &Nickname("Annie".to_owned()));
//! store.commit(batch).await?;
//! assert_eq!(store.get(&NICKNAMES, &ann)?.map(|nickname| nickname.0), Some("Annie".to_owned()));
//! # Ok(())
//! # }
//! ```

mod batch;
mod disk;
mod error;
pub mod expiry;
mod group;
mod inbox;
mod journal;
mod key;
mod layer;
mod memory;
mod open;
mod open_error;
mod publisher;
mod range;
mod reader;
mod record;
pub mod replicated;
mod row;
mod snapshot;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod threads;
mod trial;
mod writer;

pub use self::{
    batch::{Appended, Batch, Committed, MAX_BATCH_BYTES, Versioned},
    error::{CommitError, StorageError},
    inbox::MAX_QUEUED_BYTES,
    key::{Key, PrefixOf},
    open::{Config, Filing},
    open_error::OpenError,
    range::{Direction, KeyRange},
    reader::Reader,
    record::{MAX_RECORD_BYTES, Old, Record, RecordError},
    store::Store,
    table::{Log, Table},
};
