//! Composition root: what starts, in which order; what stops, in reverse.

pub mod exit;
pub mod secret;

use self::exit::{ExitCode, ExitError};
use crate::config::Config;

/// Runs the server until it is told to stop.
///
/// # Errors
///
/// When it cannot start, or did not stop cleanly.
pub fn run(config: Config) -> anyhow::Result<()> {
    let Config { server, .. } = config;
    let message = format!("this build has no server to listen on {}", server.listen);
    Err(ExitError::new(ExitCode::Software, message).into())
}
