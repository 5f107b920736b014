//! `hobnob config`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{SettingsArgs, output};
use crate::{
    app::exit::ExitError,
    config::{self, Place},
};

/// Where the settings are looked at.
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Print every setting with its value
    Show(Show),
}

/// Reads the settings as `serve` does and prints every one, secrets as (secret).
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Also print where each value comes from
    #[arg(long)]
    origin: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Config {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Show(Show { settings, origin, json }) = self;
        let config = settings.load(None).map_err(ExitError::from)?;
        let text = if json { as_json(&config, origin)? } else { as_text(&config, origin)? };
        output::print(&text)
    }
}

/// `key = value` in the form of the configuration file, a line each.
fn as_text(config: &config::Config, with_origin: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for (key, value, place) in config.all() {
        match value {
            Some(value) => write!(text, "{key} = {value}")?,
            None => write!(text, "{key} is not set")?,
        }
        if with_origin {
            write!(text, "  # {}", origin(place))?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// One object, `{key: value}` or `{key: {value, origin}}`; `null` for what is not set.
fn as_json(config: &config::Config, with_origin: bool) -> anyhow::Result<String> {
    let mut settings = Map::new();
    for (key, value, place) in config.all() {
        let value = serde_json::to_value(value)?;
        let shown = if with_origin { json!({"value": value, "origin": origin(place)}) } else { value };
        settings.insert(key.to_owned(), shown);
    }
    Ok(format!("{:#}\n", Value::Object(settings)))
}

/// Where a value comes from, in words.
fn origin(place: Option<&Place>) -> String {
    place.map_or_else(|| "default".to_owned(), ToString::to_string)
}
