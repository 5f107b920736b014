//! The settings: defaults, file, environment and flags become one checked [`Config`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{features, http, telemetry, transport};

/// All settings. Every section belongs to the module that uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The HTTP listener.
    pub server: http::Config,
    /// Engine.IO and Socket.IO sessions.
    pub socketio: transport::Config,
    /// Where the data is.
    pub storage: Storage,
    /// Tokens.
    pub auth: features::auth::Config,
    /// Messages.
    pub messages: features::messages::Config,
    /// Catching up.
    pub missed_messages: features::missed_messages::Config,
    /// The log.
    pub log: telemetry::Config,
    /// What only old clients need.
    pub compat: Compat,
}

/// Section `[storage]`: where the data is, and what it may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The data directory. It is made, for the owner alone, when it does not exist.
    pub dir: PathBuf,
    /// Most bytes of the database that are kept in memory.
    pub cache_bytes: usize,
}

impl Default for Storage {
    fn default() -> Self {
        Self { dir: PathBuf::from("./hobnob-data"), cache_bytes: 67_108_864 }
    }
}

/// Section `[compat]`: what only clients of the reference app need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compat {
    /// Whether events are also sent under their old names.
    pub legacy_events: bool,
}

impl Default for Compat {
    fn default() -> Self {
        Self { legacy_events: true }
    }
}
