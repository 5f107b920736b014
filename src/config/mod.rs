//! The settings: defaults, file, environment and flags become one checked [`Config`].
//!
//! Low to high: defaults; `config.toml` (named by `--config`, else in the working directory, else in `/etc/hobnob`); systemd
//! credentials; the variables of the feature document; `HOBNOB_SECTION__KEY`; flags. Variables come from the process's
//! environment and, below it, from `.env` in the working directory. Every module owns the struct of its section; the table in
//! `settings.rs` says what each key accepts and how it is called where.

mod check;
mod dotenv;
mod environment;
mod error;
mod example;
mod file;
mod layers;
mod memory;
mod nearest;
mod secrets;
mod settings;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use self::{environment::Environment, layers::Layers};
pub use self::{
    error::{ConfigError, Place},
    example::example,
    memory::WorstCase,
};
use crate::{cluster, features, http, setting::Secret, telemetry, transport};

/// How to replace a secret that is refused.
pub(crate) const SECRET_HINT: &str = "put the output of `openssl rand -base64 48` there instead, or remove it: the server then \
     makes its own in the data directory";

/// Where packages put the configuration.
const SYSTEM_FILE: &str = "/etc/hobnob/config.toml";

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
    /// Rate limits.
    pub rate_limits: features::rate_limits::Config,
    /// What waits for people who are away.
    pub queue: features::offline_queue::Config,
    /// When a message counts as delivered.
    pub delivery: features::offline_queue::Delivery,
    /// Locks on messages.
    pub locks: features::message_locks::Config,
    /// Notifications.
    pub notifications: features::notifications::Config,
    /// Who is online.
    pub presence: features::presence::Config,
    /// Who is writing.
    pub typing: features::typing::Config,
    /// Compatibility with older clients.
    pub compat: features::compat::Config,
    /// Several servers as one.
    pub cluster: cluster::Config,
    /// The log.
    pub log: telemetry::Config,
    /// Where the values come from.
    #[serde(skip)]
    pub sources: Sources,
}

/// Where the values come from, and what the operator should hear about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    file: Option<PathBuf>,
    places: BTreeMap<&'static str, Place>,
    notes: Vec<String>,
}

impl Sources {
    /// The configuration file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Where the setting `key` (`section.key`) was written; `None` for a default.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }

    /// The settings that are not left at their defaults, by key.
    pub fn places(&self) -> impl Iterator<Item = (&'static str, &Place)> {
        self.places.iter().map(|(key, place)| (*key, place))
    }

    /// Warnings, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`: the configuration file.
    pub config: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
}

impl Config {
    /// Reads all sources and checks what they say together.
    ///
    /// # Errors
    ///
    /// When a source cannot be read, a key does not exist, a value is out of range, a secret is weak, or two settings contradict
    /// each other.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::load_from(flags, std::env::vars_os(), Path::new(""), Path::new(SYSTEM_FILE))
    }

    /// As [`load`](Self::load), with this environment, working directory and configuration file of the system.
    pub(crate) fn load_from(
        flags: &Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        dir: &Path,
        system: &Path,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        let file = file::find(flags.config.as_deref(), dir, system);
        if let Some(file) = &file {
            file::apply(file, &mut layers)?;
        }
        Environment::read(environment, dir)?.apply(&mut layers)?;
        apply_flags(flags, &mut layers)?;
        layers.resolve_secrets()?;
        let (table, places, notes) = layers.finish();
        let mut config = from_table(table)?;
        config.sources = Sources { file, places, notes };
        // A limit that was not set follows the one that was.
        if config.sources.place("socketio.outbox_bytes").is_none() {
            config.socketio.outbox_bytes = config.socketio.outbox_bytes.max(config.socketio.max_http_buffer_bytes);
        }
        check::check(&config)?;
        Ok(config)
    }

    /// The sections of the features.
    #[must_use]
    pub fn features(&self) -> features::Config {
        features::Config {
            auth: self.auth.clone(),
            messages: self.messages.clone(),
            missed_messages: self.missed_messages.clone(),
            rate_limits: self.rate_limits.clone(),
            queue: self.queue.clone(),
            delivery: self.delivery.clone(),
            locks: self.locks.clone(),
            notifications: self.notifications.clone(),
            presence: self.presence.clone(),
            typing: self.typing.clone(),
            compat: self.compat.clone(),
        }
    }

    /// The settings that differ from `other`, by key, in the order of the table.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (Value::try_from(self).ok(), Value::try_from(other).ok());
        let differs = |setting: &&settings::Setting| {
            if setting.secret {
                return self.secrets(setting.key) != other.secrets(setting.key);
            }
            let of = |config: &Option<Value>| config.as_ref()?.get(setting.section())?.get(setting.name()).cloned();
            of(&ours) != of(&theirs)
        };
        settings::SETTINGS.iter().filter(differs).map(|setting| setting.key).collect()
    }

    /// The secrets under a key; the one thing that the sections do not serialize.
    fn secrets(&self, key: &str) -> &[Secret] {
        match key {
            "auth.jwt_secret" => self.auth.jwt_secret.as_slice(),
            "auth.previous_jwt_secrets" => &self.auth.previous_jwt_secrets,
            "cluster.url" => self.cluster.url.as_slice(),
            "cluster.password" => self.cluster.password.as_slice(),
            "cluster.secret" => self.cluster.secret.as_slice(),
            _ => &[],
        }
    }

    /// Every setting: its key, its value as TOML (`None` for what is not set, `(secret)` for a secret), and where it was written
    /// (`None` for a default).
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Option<Value>, Option<&Place>)> {
        let values = Value::try_from(self).ok();
        settings::SETTINGS.iter().map(move |setting| {
            let place = self.sources.place(setting.key);
            let value = if setting.secret {
                place.map(|_| Value::from("(secret)"))
            } else {
                values.as_ref().and_then(|values| values.get(setting.section())?.get(setting.name()).cloned())
            };
            (setting.key, value, place)
        })
    }

    /// The setting `key` (`section.key`) as TOML; `(secret)` for a secret, `None` for what is not set.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<String> {
        if settings::find(key).is_some_and(|setting| setting.secret) {
            return self.sources.place(key).map(|_| "(secret)".to_owned());
        }
        lookup(self, key).map(|value| value.to_string())
    }
}

fn apply_flags(flags: &Flags, layers: &mut Layers) -> Result<(), ConfigError> {
    for (key, flag, value) in
        [("server.listen", "--listen", &flags.listen), ("storage.dir", "--data-dir", &flags.data_dir)]
    {
        if let (Some(setting), Some(value)) = (settings::find(key), value) {
            layers.set_text(setting, value, layers::Layer::Flag, Place::Flag(flag))?;
        }
    }
    Ok(())
}

/// The settings of `table`, whose keys and values have been checked one by one.
fn from_table(table: Table) -> Result<Config, ConfigError> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| ConfigError::Contradiction {
        place: None,
        key: "config",
        conflict: format!("cannot be read at {}: {}", error.path(), error.inner().message()),
    })
}

/// The setting `key` as TOML.
fn lookup(config: &Config, key: &str) -> Option<Value> {
    let (section, name) = key.split_once('.')?;
    Value::try_from(config).ok()?.get(section)?.get(name).cloned()
}

/// The default of the setting `key`.
fn default_of(key: &str) -> Option<Value> {
    lookup(&Config::default(), key)
}

/// Section `[storage]`: where the data is, and what it may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The data directory. It is made, for the owner alone, when it does not exist.
    pub dir: PathBuf,
    /// Most bytes of the database that are kept in memory.
    pub cache_bytes: usize,
    /// Free bytes of the disk below which nothing is written.
    pub min_free_bytes: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self { dir: PathBuf::from("./hobnob-data"), cache_bytes: 67_108_864, min_free_bytes: 268_435_456 }
    }
}
