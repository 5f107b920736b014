//! How the process ends when it cannot do what it was told: one line, and an exit code that says what kind of thing is wrong.

use std::io;

use thiserror::Error;

use super::secret::SecretError;
use crate::config::ConfigError;

/// Exit codes by kind, as `sysexits.h` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The command line is wrong.
    Usage = 64,
    /// A file of the data directory is damaged or of a foreign kind.
    Data = 65,
    /// Something that is needed is taken or away: a port in use, a server that does not answer.
    Unavailable = 69,
    /// A mistake in this program.
    Software = 70,
    /// A file or directory cannot be made.
    CannotCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// The database is in use by another process.
    InUse = 75,
    /// The operating system does not permit it.
    Permission = 77,
    /// The configuration is wrong.
    Config = 78,
}

/// The end of the process: `message` is one line that says what is wrong and how to mend it.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct ExitError {
    /// The exit code.
    pub code: u8,
    /// The line.
    pub message: String,
}

impl ExitError {
    /// An end with this code and message.
    #[must_use]
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code: code as u8, message: message.into() }
    }

    /// An end because the operating system refused something: 77 when it does not permit it, else `code`.
    #[must_use]
    pub fn from_io(code: ExitCode, what: &str, source: &io::Error) -> Self {
        let code = if source.kind() == io::ErrorKind::PermissionDenied { ExitCode::Permission } else { code };
        Self::new(code, format!("{what}: {source}"))
    }
}

impl From<ConfigError> for ExitError {
    fn from(error: ConfigError) -> Self {
        Self { code: error.exit_code(), message: error.to_string() }
    }
}

impl From<SecretError> for ExitError {
    fn from(error: SecretError) -> Self {
        Self { code: error.exit_code() as u8, message: error.to_string() }
    }
}
