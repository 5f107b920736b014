//! Standard output. A reader that has gone away (`hobnob default-config | head`) is no failure.

use std::io::{self, Write as _};

use crate::app::exit::{ExitCode, ExitError};

/// Writes `text` as it is.
///
/// # Errors
///
/// When writing fails for another reason than a closed pipe.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ExitError::from_io(ExitCode::Io, "cannot write to standard output", &error).into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
