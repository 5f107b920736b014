//! Why the settings cannot be used: one line that names the place, the key, and what would be right.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use super::SECRET_HINT;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the process's environment.
    Variable(String),
    /// A variable of the `.env` file.
    DotEnv {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The variable.
        name: String,
    },
    /// A credential that systemd passed.
    Credential(PathBuf),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::DotEnv { path, line, name } => write!(f, "{}:{line}: {name}", path.display()),
            Self::Credential(path) => write!(f, "credential {}", path.display()),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file that was named, or that exists, cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is larger than any configuration is.
    #[error("{} has more than {max_bytes} bytes: this is no configuration", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_bytes: u64,
    },
    /// The file is no TOML, or no UTF-8.
    #[error("{place}: {message}")]
    Syntax {
        /// Where reading stopped.
        place: Box<Place>,
        /// What is wrong there.
        message: String,
    },
    /// A key, or a variable of the name `HOBNOB_...`, that does not exist.
    #[error("{place}: unknown {what}; did you mean `{nearest}`?")]
    Unknown {
        /// Where it is written.
        place: Box<Place>,
        /// What kind of thing, and how it is written.
        what: String,
        /// The valid one that is spelled most like it.
        nearest: String,
    },
    /// A value of the wrong type or out of range.
    #[error("{place}: `{key}` is {found}, expected {expected}")]
    BadValue {
        /// Where it is written.
        place: Box<Place>,
        /// The setting.
        key: String,
        /// The value, or for secrets its kind.
        found: String,
        /// Type and range.
        expected: String,
    },
    /// A secret that somebody else may know, or guess.
    #[error("{place}: `{key}` {reason}, so that others could sign tokens; {SECRET_HINT}")]
    WeakSecret {
        /// Where it is written.
        place: Box<Place>,
        /// The setting.
        key: &'static str,
        /// What makes it weak.
        reason: &'static str,
    },
    /// Two settings that cannot both hold.
    #[error("{}`{key}` {conflict}", prefix(place.as_deref()))]
    Contradiction {
        /// Where the first one is written, unless it is a default.
        place: Option<Box<Place>>,
        /// The first one.
        key: &'static str,
        /// What is wrong, and how to mend it.
        conflict: String,
    },
}

fn prefix(place: Option<&Place>) -> String {
    place.map(|place| format!("{place}: ")).unwrap_or_default()
}

impl ConfigError {
    /// The exit code of the process that could not start: 64 usage, 77 permission, 78 configuration.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 77,
            Self::BadValue { place, .. } if matches!(**place, Place::Flag(_)) => 64,
            Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::Syntax { .. }
            | Self::Unknown { .. }
            | Self::BadValue { .. }
            | Self::WeakSecret { .. }
            | Self::Contradiction { .. } => 78,
        }
    }
}
