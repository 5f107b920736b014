//! Why a database cannot be opened, in words for the person who starts the server.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::open::FORMAT;

/// Why the database cannot be opened. The message is one line and says how to mend it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The data directory does not exist and cannot be made.
    #[error("cannot create the data directory {path}: {source}; create it, or choose another one", path = path.display())]
    CreateDir {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refuses access.
    #[error("no permission to use {path}: {source}; make it writable for the user that runs the server", path = path.display())]
    Permission {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk or the file system failed.
    #[error("cannot read or write {path}: {source}; check the disk and its free space", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has the database open, or this one has already.
    #[error("the data directory {dir} is in use by another process; stop that one, or choose another directory", dir = dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The file was written by something else.
    #[error("{path} is not a Hobnob database; move it away, or choose another data directory", path = path.display())]
    NotADatabase {
        /// The database file.
        path: PathBuf,
    },
    /// There was a database and there is none now.
    #[error("{path} is missing, but FORMAT beside it says that there was one; restore a backup, or delete FORMAT to start empty", path = path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The file has no bytes at all. The server never leaves such a one behind.
    #[error("{path} is empty; restore a backup, or delete it and FORMAT beside it to start empty", path = path.display())]
    Empty {
        /// The database file.
        path: PathBuf,
    },
    /// The file fails its checksums or cannot be understood. It has not been changed.
    #[error("{path} is damaged: {detail}; it was left as it is, restore a backup", path = path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by a later version of the server.
    #[error("{path} has format {found} and this version knows up to {FORMAT}; start the version that wrote it", path = path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

impl OpenError {
    /// The exit code of a process that could not start: 65 data, 73 cannot create, 74 I/O, 75 in use, 77 permission.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotADatabase { .. }
            | Self::Missing { .. }
            | Self::Empty { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. } => 65,
            Self::CreateDir { .. } => 73,
            Self::Io { .. } => 74,
            Self::InUse { .. } => 75,
            Self::Permission { .. } => 77,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permission { path, source },
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn redb(path: &Path, error: redb::Error) -> Self {
        match error {
            // A file that ends too early is damage, not a fault of the disk.
            redb::Error::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => Self::io(path, source),
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Self::InUse { dir: path.parent().unwrap_or(path).to_owned() }
            }
            error => Self::Damaged { path: path.to_owned(), detail: error.to_string() },
        }
    }
}
