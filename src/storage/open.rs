//! Opening: where the database is, and why it may not be opened.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

/// Where the database is and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The data directory. It is made, for the owner alone, when it does not exist.
    pub dir: PathBuf,
    /// Most bytes of the file that are kept in memory.
    pub cache_bytes: usize,
    /// When rows move from the journal to their tables.
    pub filing: Filing,
}

/// When the rows of the journal are filed into their tables: the first limit that is reached counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filing {
    /// Rows that wait.
    pub rows: usize,
    /// Bytes of keys and values that wait.
    pub bytes: usize,
    /// Time without a commit.
    pub idle: Duration,
}

impl Config {
    /// The database in `dir` with a cache of 64 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let filing = Filing { rows: 65_536, bytes: 32 << 20, idle: Duration::from_secs(1) };
        Self { dir: dir.into(), cache_bytes: 64 << 20, filing }
    }
}

/// Why the database cannot be opened. The message is one line that says how to mend it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl OpenError {
    /// The exit code of the process that could not start: 65 data, 73 cannot create, 74 I/O, 75 in use, 77 permission.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Io { .. } => 74,
        }
    }
}
