//! `hobnob check-config`.

use std::fmt::Write as _;

use clap::Args;

use super::{SettingsArgs, output};
use crate::app::exit::ExitError;

/// Reads the settings as `serve` does and says what is wrong, or what differs from the defaults.
#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl CheckConfig {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(None).map_err(ExitError::from)?;
        let mut text = match config.sources.file() {
            Some(file) => format!("settings are fine: {}\n", file.display()),
            None => "settings are fine: no configuration file\n".to_owned(),
        };
        for (key, place) in config.sources.places() {
            writeln!(text, "{key} = {}  # {place}", config.shown(key).unwrap_or_default())?;
        }
        for note in config.sources.notes() {
            writeln!(text, "note: {note}")?;
        }
        output::print(&text)
    }
}
