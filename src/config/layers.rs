//! What has been set so far: later layers replace earlier ones, and every value remembers where it was written.

use std::collections::BTreeMap;

use toml::{Table, Value, de::DeValue};

use super::{
    error::{ConfigError, Place},
    secrets,
    settings::{self, Setting},
    value::Kind,
};
use crate::setting;

/// Longest part of a wrong value that a message repeats, in characters.
const SHOWN_CHARS: usize = 60;

/// The layers, low to high. Two values of the same layer for one thing contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// The configuration file.
    File,
    /// Credentials passed by systemd.
    Credential,
    /// Environment, names of the feature document.
    Feature,
    /// Environment, `HOBNOB_SECTION__KEY`.
    Own,
    /// The command line.
    Flag,
}

/// One value and where it comes from.
#[derive(Debug)]
struct Entry {
    value: Value,
    place: Place,
    layer: Layer,
}

/// The values set so far, by key.
#[derive(Debug, Default)]
pub(super) struct Layers {
    entries: BTreeMap<String, Entry>,
    pub(super) notes: Vec<String>,
}

impl Layers {
    /// Sets `setting` from a variable or a flag.
    pub(super) fn set_text(
        &mut self,
        setting: &Setting,
        text: &str,
        layer: Layer,
        place: Place,
    ) -> Result<(), ConfigError> {
        let value = setting.kind.read_text(text, self.current(setting).as_ref());
        let value = value.ok_or_else(|| bad_value(setting, &place, || format!("{:?}", shorten(text))))?;
        self.insert(setting.key.to_owned(), Entry { value, place, layer });
        Ok(())
    }

    /// Sets `setting` from the configuration file.
    pub(super) fn set_toml(&mut self, setting: &Setting, toml: &DeValue<'_>, place: Place) -> Result<(), ConfigError> {
        let value = setting.kind.read_toml(toml, self.current(setting).as_ref());
        let value = value.ok_or_else(|| bad_value(setting, &place, || describe(toml)))?;
        self.insert(setting.key.to_owned(), Entry { value, place, layer: Layer::File });
        Ok(())
    }

    /// Remembers the file that holds a secret. It is read when it turns out to be the one that counts.
    pub(super) fn set_secret_file(
        &mut self,
        setting: &Setting,
        path: &str,
        layer: Layer,
        place: Place,
    ) -> Result<(), ConfigError> {
        let Some(key) = setting.file_key() else { return Ok(()) };
        if path.is_empty() {
            return Err(ConfigError::BadValue {
                place: place.into(),
                key,
                found: "empty".into(),
                expected: "the name of a file".into(),
            });
        }
        self.insert(key, Entry { value: path.into(), place, layer });
        Ok(())
    }

    fn insert(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// The value that a new one would replace: what has been set, or else the default.
    fn current(&self, setting: &Setting) -> Option<Value> {
        match self.entries.get(setting.key) {
            Some(entry) => Some(entry.value.clone()),
            None => super::default_of(setting.key),
        }
    }

    /// Replaces names of secret files by what is in them, and refuses weak secrets.
    pub(super) fn resolve_secrets(&mut self) -> Result<(), ConfigError> {
        for setting in settings::SETTINGS.iter().filter(|setting| setting.secret) {
            let file = setting.file_key().and_then(|key| self.entries.remove(&key));
            if let Some(file) = file {
                self.resolve_file(setting, file)?;
            }
            if let Some(Entry { value, place, .. }) = self.entries.get(setting.key).filter(|_| setting.signs)
                && let Some(reason) = weakness(setting, value)
            {
                return Err(ConfigError::WeakSecret { place: place.clone().into(), key: setting.key, reason });
            }
        }
        Ok(())
    }

    fn resolve_file(&mut self, setting: &Setting, file: Entry) -> Result<(), ConfigError> {
        match self.entries.get(setting.key) {
            Some(text) if text.layer > file.layer => return Ok(()),
            Some(text) if text.layer == file.layer => {
                let conflict = format!("is given twice, here and by the file at {}: keep one of them", file.place);
                return Err(ConfigError::Contradiction {
                    place: Some(text.place.clone().into()),
                    key: setting.key,
                    conflict,
                });
            }
            Some(_) | None => {}
        }
        let path = file.value.as_str().unwrap_or_default().as_ref();
        let (secret, note) = secrets::read(path)?;
        self.notes.extend(note);
        // What is signed with is looked at below, where its reason has words of its own.
        if !setting.signs && setting.kind.read_text(&secret, None).is_none() {
            return Err(bad_value(setting, &file.place, String::new));
        }
        self.insert(setting.key.to_owned(), Entry { value: secret.into(), ..file });
        Ok(())
    }

    /// The values as one table by section, and where each comes from.
    pub(super) fn finish(self) -> (Table, BTreeMap<&'static str, Place>, Vec<String>) {
        let mut table = Table::new();
        let mut places = BTreeMap::new();
        for (key, Entry { value, place, .. }) in self.entries {
            let Some(setting) = settings::find(&key) else { continue };
            let section = table.entry(setting.section()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(setting.name().to_owned(), value);
            }
            places.insert(setting.key, place);
        }
        (table, places, self.notes)
    }
}

/// What makes a secret, or one of several, unfit to sign with.
fn weakness(setting: &Setting, value: &Value) -> Option<&'static str> {
    match (setting.kind, value) {
        (Kind::List { .. }, Value::String(text)) => {
            text.lines().flat_map(setting::split).find_map(|one| secrets::weakness(&one))
        }
        (_, Value::Array(list)) => list.iter().filter_map(Value::as_str).find_map(secrets::weakness),
        (_, value) => value.as_str().and_then(secrets::weakness),
    }
}

fn bad_value(setting: &Setting, place: &Place, found: impl FnOnce() -> String) -> ConfigError {
    ConfigError::BadValue {
        place: place.clone().into(),
        key: setting.key.to_owned(),
        found: if setting.secret { "not that".to_owned() } else { found() },
        expected: setting.kind.expected(setting.key),
    }
}

/// The beginning of a wrong value.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn describe(toml: &DeValue<'_>) -> String {
    match toml {
        DeValue::String(text) => format!("{:?}", shorten(text)),
        DeValue::Integer(number) => shorten(&number.to_string()),
        DeValue::Float(number) => shorten(number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => format!("a value of type {}", toml.type_str()),
    }
}
