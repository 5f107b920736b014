//! Section `[log]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels per module (`info,hobnob::transport=debug`).
    pub filter: String,
    /// How lines look.
    pub format: Format,
    /// Whether each connection and each event in and out is logged, under the target `socket_events`.
    pub socket_events: bool,
    /// Directory for a file per day, beside standard error.
    pub dir: Option<PathBuf>,
    /// How many daily files are kept.
    pub keep_days: usize,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::Auto, socket_events: false, dir: None, keep_days: 14 }
    }
}
