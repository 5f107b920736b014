//! `hobnob serve`.

use clap::Args;

use super::SettingsArgs;
use crate::{
    app::{
        self,
        exit::{ExitCode, ExitError},
    },
    config::Config,
    telemetry::{self, InitError},
};

/// What fails when no log file can be made.
const LOG_DIR: &str = "cannot write a log file in the directory that `log.dir` names";

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
        let flags = self.settings.flags(self.listen);
        let config = Config::load(&flags).map_err(ExitError::from)?;
        let logging = telemetry::init(&config.log).map_err(|error| match &error {
            InitError::Twice(_) => ExitError::new(ExitCode::Software, error.to_string()),
            InitError::File(source) => ExitError::from_io(ExitCode::CannotCreate, LOG_DIR, source),
        })?;
        for note in config.sources.notes() {
            tracing::warn!("{note}");
        }
        let result = app::run(config, logging.clone(), move || Config::load(&flags));
        logging.flush();
        result
    }
}
