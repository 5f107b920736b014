//! The environment: the process's own, over the `.env` file in the working directory.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    dotenv,
    error::{ConfigError, Place},
    file,
    layers::{Layer, Layers},
    nearest::{distance, nearest},
    settings::{self, SETTINGS, Setting},
};

const OWN_PREFIX: &str = "HOBNOB_";

/// Prefixes of the feature document: a variable that begins like this and is almost a setting was meant as one.
const FEATURE_PREFIXES: &[&str] = &["SOCKET_", "CLIENT_", "JWT_", "RATE_LIMIT_", "REDIS_", "MESSAGE_QUEUE_", "LOCK_"];

/// What the variables say; an empty one counts as not set.
#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, (String, Place)>,
}

impl Environment {
    /// The variables `own` of the process, and below them those of `.env` in `dir`.
    pub(super) fn read(own: impl IntoIterator<Item = (OsString, OsString)>, dir: &Path) -> Result<Self, ConfigError> {
        let mut variables = BTreeMap::new();
        let path = dir.join(".env");
        // A directory of this name is somebody's Python environment.
        if path.exists() && !path.is_dir() {
            for dotenv::Variable { name, value, line } in dotenv::parse(&file::read_text(&path)?) {
                let place = Place::DotEnv { path: path.clone(), line, name: name.clone() };
                variables.insert(name, (value, place));
            }
        }
        for (name, value) in own {
            // A name that is no UTF-8 is none of ours, and a value that is none fits no setting.
            let (Ok(name), value) = (name.into_string(), value.to_string_lossy()) else { continue };
            if !value.trim().is_empty() {
                let place = Place::Variable(name.clone());
                variables.insert(name, (value.into_owned(), place));
            }
        }
        variables.retain(|_, (value, _)| !value.trim().is_empty());
        Ok(Self { variables })
    }

    /// Sets what the variables set: credentials, then the names of the feature document, then `HOBNOB_SECTION__KEY`.
    pub(super) fn apply(&self, layers: &mut Layers) -> Result<(), ConfigError> {
        for setting in SETTINGS {
            self.apply_credential(setting, layers)?;
            for name in setting.env {
                self.apply_variable(setting, name, Layer::Feature, layers)?;
            }
            self.apply_variable(setting, &setting.variable(), Layer::Own, layers)?;
        }
        self.refuse_unknown()?;
        layers.notes.extend(self.notes());
        Ok(())
    }

    fn apply_variable(
        &self,
        setting: &Setting,
        name: &str,
        layer: Layer,
        layers: &mut Layers,
    ) -> Result<(), ConfigError> {
        if let Some((value, place)) = self.variables.get(name) {
            layers.set_text(setting, value, layer, place.clone())?;
        }
        if setting.secret
            && let Some((path, place)) = self.variables.get(&format!("{name}_FILE"))
        {
            layers.set_secret_file(setting, path, layer, place.clone())?;
        }
        Ok(())
    }

    /// systemd's `LoadCredential=jwt_secret:...` puts the secret into a file that only this service can read.
    fn apply_credential(&self, setting: &Setting, layers: &mut Layers) -> Result<(), ConfigError> {
        let Some((dir, Place::Variable(_))) = self.variables.get("CREDENTIALS_DIRECTORY") else { return Ok(()) };
        let path = PathBuf::from(dir).join(setting.credential());
        if setting.secret && path.exists() {
            let place = Place::Credential(path.clone());
            layers.set_secret_file(setting, &path.to_string_lossy(), Layer::Credential, place)?;
        }
        Ok(())
    }

    fn refuse_unknown(&self) -> Result<(), ConfigError> {
        let known = own_names();
        for (name, (value, place)) in &self.variables {
            if name.starts_with(OWN_PREFIX) && !known.contains(name) && !is_foreign(name, value) {
                let nearest = nearest(name, known.iter().map(String::as_str)).to_owned();
                return Err(ConfigError::Unknown { place: place.clone().into(), what: "setting".to_owned(), nearest });
            }
        }
        Ok(())
    }

    /// What is set to no effect, though not wrong: one line each.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let known: Vec<&str> = feature_names().collect();
        for (name, (_, place)) in &self.variables {
            let nearest = nearest(name, known.iter().copied());
            let is_meant =
                FEATURE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && distance(name, nearest) <= 2;
            if is_meant && !known.contains(&name.as_str()) && name.strip_suffix("_FILE") != Some(nearest) {
                notes.push(format!("{place} is not a setting; did you mean {nearest}?"));
            }
        }
        notes
    }
}

/// All variables of the form `HOBNOB_SECTION__KEY`.
fn own_names() -> Vec<String> {
    let files = SETTINGS.iter().filter_map(Setting::file_key).map(|key| settings::variable(&key));
    SETTINGS.iter().map(Setting::variable).chain(files).collect()
}

fn feature_names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(|setting| setting.env).copied()
}

/// True for variables that begin like ours and are no settings: Kubernetes describes a service named `hobnob` in such, test
/// suites name the binary in one, and the operator's commands look for the server's socket in another.
fn is_foreign(name: &str, value: &str) -> bool {
    let rest = name.strip_prefix(OWN_PREFIX).unwrap_or(name);
    let is_service = rest.starts_with("SERVICE_HOST") || rest.starts_with("SERVICE_PORT");
    let is_link = rest.starts_with("PORT") && (value.contains("://") || rest.contains("_TCP") || rest.contains("_UDP"));
    rest == "BIN" || rest == "SOCKET" || is_service || is_link
}
