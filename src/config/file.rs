//! The configuration file.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Place},
    layers::{Layer, Layers},
    nearest::{distance, nearest},
    settings::{self, SETTINGS, Setting},
};

/// Largest configuration file or `.env` in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The configuration file: the named one, else `config.toml` in `dir`, else the one of the `system`, if they exist.
pub(super) fn find(named: Option<&Path>, dir: &Path, system: &Path) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_owned()),
        None => [dir.join("config.toml"), system.to_owned()].into_iter().find(|path| path.exists()),
    }
}

/// Reads a text file of limited size; a byte order mark is dropped.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source: io::Error| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(ConfigError::TooLarge { path: path.to_owned(), max_bytes: MAX_BYTES });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        ConfigError::Syntax { place: place(path, before).into(), message: "not UTF-8".to_owned() }
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads the file into the lowest layer.
pub(super) fn apply(path: &Path, layers: &mut Layers) -> Result<(), ConfigError> {
    let text = read_text(path)?;
    let file = Source { path, text: &text };
    let table = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
        place: file.place(error.span().map_or(0, |span| span.start)).into(),
        message: error.message().to_owned(),
    })?;
    for (name, value) in table.get_ref() {
        file.apply_section(name, value, layers)?;
    }
    Ok(())
}

/// The line that follows on the text `before` it.
fn place(path: &Path, before: &[u8]) -> Place {
    Place::File { path: path.to_owned(), line: before.split(|byte| *byte == b'\n').count() }
}

struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;

impl Source<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        place(self.path, before)
    }

    fn apply_section(
        &self,
        name: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
        layers: &mut Layers,
    ) -> Result<(), ConfigError> {
        let place = self.place(name.span().start);
        let section = name.get_ref().as_ref();
        let is_known = settings::sections().any(|known| known == section);
        match value.get_ref() {
            DeValue::Table(keys) if is_known => {
                keys.iter().try_for_each(|(key, value)| self.apply_key(section, key, value, layers))
            }
            DeValue::Table(_) => Err(ConfigError::Unknown {
                place: place.into(),
                what: format!("section `{section}`"),
                nearest: nearest(section, settings::sections()).to_owned(),
            }),
            _ if is_known => Err(ConfigError::BadValue {
                place: place.into(),
                key: section.to_owned(),
                found: "a value".to_owned(),
                expected: format!("a section [{section}]"),
            }),
            _ => Err(unknown_key(place, section)),
        }
    }

    fn apply_key(
        &self,
        section: &str,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
        layers: &mut Layers,
    ) -> Result<(), ConfigError> {
        let place = self.place(key.span().start);
        let key = format!("{section}.{}", key.get_ref());
        if let Some(setting) = settings::find(&key) {
            layers.set_toml(setting, value.get_ref(), place)
        } else if let Some(secret) = settings::find_by_file_key(&key) {
            layers.set_secret_file(secret, value.get_ref().as_str().unwrap_or_default(), Layer::File, place)
        } else {
            Err(unknown_key(place, &key))
        }
    }
}

fn unknown_key(place: Place, name: &str) -> ConfigError {
    let nearest = nearest_key(name);
    ConfigError::Unknown { place: place.into(), what: format!("key `{name}`"), nearest }
}

/// The valid key that is spelled most like `written`. A right name in a wrong section is almost right.
fn nearest_key(written: &str) -> String {
    let name = written.rsplit('.').next().unwrap_or(written);
    let cost = |key: &String| {
        let known = key.rsplit('.').next().unwrap_or(key);
        distance(written, key).min(distance(name, known) + 1)
    };
    let keys = SETTINGS.iter().map(|setting| setting.key.to_owned());
    keys.chain(SETTINGS.iter().filter_map(Setting::file_key)).min_by_key(cost).unwrap_or_default()
}
