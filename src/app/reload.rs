//! SIGHUP: the settings are read again, and what can change while the server runs does.

use std::collections::BTreeMap;

use crate::config::{Config, ConfigError};

/// What to do with new settings.
type Take = Box<dyn FnMut(&Config) + Send>;
/// Reads all sources of settings.
type Load = Box<dyn FnMut() -> Result<Config, ConfigError> + Send>;

/// Reads the settings again and hands them to those who can change while the server runs.
pub struct Reload {
    load: Load,
    /// The settings of the start: those that nobody takes later stay in force.
    started: Config,
    /// The settings that were read last.
    taken: Config,
    parts: Vec<Part>,
    always: Vec<Take>,
}

struct Part {
    keys: &'static [&'static str],
    take: Take,
}

impl Reload {
    /// The server runs with `config`; `load` reads the settings again.
    pub fn new(config: Config, load: impl FnMut() -> Result<Config, ConfigError> + Send + 'static) -> Self {
        Self { load: Box::new(load), taken: config.clone(), started: config, parts: Vec::new(), always: Vec::new() }
    }

    /// Calls `take` when one of the settings `keys` has changed: a key (`server.client_origin`) or a section (`typing.`).
    pub fn on(&mut self, keys: &'static [&'static str], take: impl FnMut(&Config) + Send + 'static) {
        self.parts.push(Part { keys, take: Box::new(take) });
    }

    /// Calls `take` at every reload, whether something has changed or not. The settings `keys` count as taken.
    pub fn always(&mut self, keys: &'static [&'static str], take: impl FnMut(&Config) + Send + 'static) {
        self.parts.push(Part { keys, take: Box::new(|_| ()) });
        self.always.push(Box::new(take));
    }

    /// Forgets those who take settings, for the next server of this process, which runs with the settings of the start.
    pub fn restart(&mut self) {
        self.parts.clear();
        self.always.clear();
        self.taken = self.started.clone();
    }

    /// Reads the settings again and tells in the log what has changed, and what waits for a restart. When they cannot be used the
    /// old ones stay in force.
    pub fn reload(&mut self) {
        let config = match (self.load)() {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the settings were not reloaded: the old ones stay in force"
                );
                return;
            }
        };
        for take in &mut self.always {
            take(&config);
        }
        let changed = config.differences(&self.taken);
        for Part { keys, take } in &mut self.parts {
            if changed.iter().any(|key| covers(keys, key)) {
                take(&config);
            }
        }
        let (taken, waiting): (Vec<_>, Vec<_>) =
            self.outcome(&config, &changed).into_iter().partition(|(_, is_taken)| *is_taken);
        if !taken.is_empty() {
            tracing::info!("settings changed: {}", list(&config, &taken));
        }
        if !waiting.is_empty() {
            tracing::warn!("settings changed that need a restart: {}", list(&config, &waiting));
        }
        for note in config.sources.notes() {
            tracing::warn!("{note}");
        }
        tracing::info!("settings reloaded");
        self.taken = config;
    }

    /// The settings to tell of, and whether they are in force.
    fn outcome(&self, config: &Config, changed: &[&'static str]) -> BTreeMap<&'static str, bool> {
        let is_taken = |key: &str| self.parts.iter().any(|part| covers(part.keys, key));
        let taken = changed.iter().filter(|key| is_taken(key)).map(|key| (*key, true));
        let waiting =
            config.differences(&self.started).into_iter().filter(|key| !is_taken(key)).map(|key| (key, false));
        taken.chain(waiting).collect()
    }
}

/// The settings with their values.
fn list(config: &Config, settings: &[(&str, bool)]) -> String {
    let shown = |key| config.shown(key).unwrap_or_else(|| "(not set)".to_owned());
    settings.iter().map(|(key, _)| format!("{key} = {}", shown(key))).collect::<Vec<_>>().join(", ")
}

fn covers(keys: &[&str], key: &str) -> bool {
    keys.iter().any(|known| known == &key || (known.ends_with('.') && key.starts_with(known)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A reload that reads what is in the cell, and what its parts were called with.
    fn reload(next: &Arc<Mutex<Option<Config>>>) -> (Reload, Arc<Mutex<Vec<String>>>) {
        let (next, calls) = (Arc::clone(next), Arc::<Mutex<Vec<String>>>::default());
        let bad = || ConfigError::Contradiction { place: None, key: "x", conflict: "is bad".to_owned() };
        let mut reload = Reload::new(Config::default(), move || next.lock().expect("no panic").clone().ok_or_else(bad));
        let told = Arc::clone(&calls);
        reload.on(&["typing."], move |config| {
            told.lock().expect("no panic").push(format!("typing {}", config.typing.expire_ms));
        });
        let told = Arc::clone(&calls);
        reload.always(&["log.filter"], move |config| told.lock().expect("no panic").push(config.log.filter.clone()));
        (reload, calls)
    }

    #[test]
    fn parts_are_called_when_their_settings_change_and_bad_settings_change_nothing() {
        let next = Arc::new(Mutex::new(None));
        let (mut reload, calls) = reload(&next);
        let take = || std::mem::take(&mut *calls.lock().expect("no panic"));
        reload.reload();
        assert_eq!(take(), [""; 0], "bad settings");
        let mut config = Config::default();
        config.log.filter = "debug".to_owned();
        *next.lock().expect("no panic") = Some(config.clone());
        reload.reload();
        assert_eq!(take(), ["debug"]);
        config.typing.expire_ms = 9000;
        *next.lock().expect("no panic") = Some(config);
        reload.reload();
        reload.reload();
        assert_eq!(take(), ["debug", "typing 9000", "debug"]);
    }

    #[test]
    fn what_nobody_takes_is_told_until_the_restart() {
        let (mut reload, _) = reload(&Arc::default());
        let mut config = Config::default();
        config.typing.expire_ms = 9000;
        config.auth.jwt_secret = Some(crate::setting::Secret::new("x"));
        config.socketio.ping_interval_ms = 1000;
        let expected = BTreeMap::from([
            ("auth.jwt_secret", false),
            ("socketio.ping_interval_ms", false),
            ("typing.expire_ms", true),
        ]);
        let changed = config.differences(&reload.taken);
        assert_eq!(reload.outcome(&config, &changed), expected);
        reload.taken = config.clone();
        let again = config.differences(&reload.taken);
        assert_eq!(reload.outcome(&config, &again).into_values().collect::<Vec<_>>(), [false, false]);
        assert_eq!(Config::default().differences(&Config::default()), [""; 0]);
    }
}
