//! Asking before something is taken away from somebody.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;

use crate::app::exit::{ExitCode, ExitError};

/// The end of a command whose question was answered with no.
const DECLINED: u8 = 1;

/// Whether to ask, and whether to do it at all.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Consent {
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl Consent {
    /// Whether nothing is to be done.
    pub(super) fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// Makes sure that somebody has agreed or can be asked. The first thing a command does: a script must not find out on the day
    /// on which there is something to delete.
    ///
    /// # Errors
    ///
    /// Exit code 64 when neither is so.
    pub(super) fn check(self) -> Result<(), ExitError> {
        if self.yes || self.dry_run || io::stdin().is_terminal() {
            return Ok(());
        }
        let message = "nobody can be asked here: say --yes to do it, or --dry-run to see what would be done";
        Err(ExitError::new(ExitCode::Usage, message))
    }

    /// Asks unless that was answered on the command line. `what` is what will happen: `kick 3 connections of bob`.
    ///
    /// # Errors
    ///
    /// When the answer is no.
    pub(super) fn ask(self, what: &str) -> Result<(), ExitError> {
        self.check()?;
        if self.yes {
            return Ok(());
        }
        let mut answer = String::new();
        let asked = write!(io::stderr(), "About to {what}. Go on? [y/N] ").and_then(|()| io::stderr().flush());
        asked
            .and_then(|()| io::stdin().read_line(&mut answer))
            .map_err(|error| ExitError::from_io(ExitCode::Io, "cannot ask", &error))?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(ExitError { code: DECLINED, message: "nothing was done".to_owned() })
    }
}
