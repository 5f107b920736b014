//! `hobnob serve`.

use clap::Args;

use super::SettingsArgs;
use crate::{
    app::{
        self,
        exit::{ExitCode, ExitError},
    },
    telemetry,
};

/// Runs the server until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Address and port to listen on, or a port [default: 127.0.0.1:4000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(self.listen).map_err(ExitError::from)?;
        telemetry::init(&config.log).map_err(|error| ExitError::new(ExitCode::Software, error.to_string()))?;
        for note in config.sources.notes() {
            tracing::warn!("{note}");
        }
        app::run(config)
    }
}
