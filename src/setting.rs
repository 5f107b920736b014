//! What the modules' `Config` structs are made of, beside numbers and texts: secrets, and lists with commas.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A secret from the configuration. It is not shown by `Debug` and cannot be serialized.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` out of logs.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Reads a list of secrets, or one text with a secret per line or between commas.
///
/// # Errors
///
/// When it is neither.
pub fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    let listed = list(deserializer)?;
    Ok(listed
        .iter()
        .flat_map(|text| text.lines())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(Secret::new)
        .collect())
}

/// Reads a list of texts, or one text with commas, as environment variables and old configurations have it.
///
/// # Errors
///
/// When it is neither.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list of texts, or one text with commas")]
    enum Written {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Text(text) => split(&text),
        Written::List(list) => list,
    })
}

/// The parts of a comma-separated text, trimmed; empty parts are left out.
pub(crate) fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_contain_the_secret() {
        let secret = Secret::new("correct horse battery staple");
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert_eq!(secret.as_bytes(), b"correct horse battery staple");
    }

    #[test]
    fn a_text_with_commas_is_a_list() {
        assert_eq!(split(" http://a ,,http://b,"), ["http://a", "http://b"]);
        assert_eq!(split(""), [""; 0]);
    }
}
