//! Secrets: read from files, and refused when somebody could know or guess them.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::error::ConfigError;

/// Shortest secret in bytes: the output size of the hash, below which HS256 is weaker than it looks (RFC 7518, 3.2).
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// Largest file that is looked at for a secret, in bytes.
const MAX_FILE_BYTES: u64 = 65_536;

/// Fewest different bytes. 48 random bytes in base64 have about 40; `abcabcabc...` has 3.
const MIN_DIFFERENT_BYTES: usize = 8;

/// Parts of secrets that documentation uses, in lower case without separators. None of them comes about by chance.
const WELL_KNOWN: &[&str] = &[
    "changeme",
    "changethis",
    "changeit",
    "yoursecret",
    "yourjwt",
    "yoursuper",
    "your256bit",
    "your384bit",
    "your512bit",
    "supersecret",
    "mysecret",
    "myjwtsecret",
    "devsecret",
    "testsecret",
    "jwtsecretkey",
    "secretkey",
    "stringsecret",
    "replaceme",
    "replacethis",
    "placeholder",
    "keyboardcat",
    "insertsecret",
    "examplesecret",
    "atleast32",
    "atleast256",
    "atleast512",
    "0123456789",
    "1234567890",
    "abcdefghij",
    "qwertyuiop",
    "password",
];

/// What makes `secret` unfit to sign with, if anything does.
pub(super) fn weakness(secret: &str) -> Option<&'static str> {
    let plain: String = secret.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if secret.is_empty() {
        Some("is empty")
    } else if matches!(plain.as_str(), "secret" | "dev" | "test" | "jwtsecret")
        || WELL_KNOWN.iter().any(|known| plain.contains(known))
    {
        Some("is a well-known example, or contains one")
    } else if secret.contains("-----BEGIN") {
        // A public key as HMAC secret is the classic way to let everybody sign.
        Some("is a PEM file")
    } else if secret.len() < MIN_SECRET_BYTES {
        Some("is shorter than 32 bytes")
    } else if different_bytes(secret) < MIN_DIFFERENT_BYTES {
        Some("repeats the same few letters")
    } else {
        None
    }
}

fn different_bytes(text: &str) -> usize {
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len()
}

/// Reads a secret from a file, without the line end after it, and a note if everybody on the machine can read it, too.
pub(super) fn read(path: &Path) -> Result<(String, Option<String>), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = String::new();
    let length = file.by_ref().take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "too large for a secret")));
    }
    let note =
        (mode & 0o004 != 0).then(|| format!("every user of this machine can read {0}: chmod 600 {0}", path.display()));
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    Ok((secret.to_owned(), note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_short_and_monotonous_secrets_are_weak() {
        for secret in [
            "",
            "secret",
            "devsecret",
            "your_secret_key",
            "CHANGE-ME",
            "change_me_to_something_that_is_really_long_please",
            "a-string-secret-at-least-256-bits-long",
            "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
            "your-256-bit-secret",
            "0123456789abcdef0123456789abcdef",
            "short but random: Zx8",
            "Zx8kQ1vR5tY7uN3mB6pL9sD2fG4hJ0w",
            " -----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----",
            "abcabcabcabcabcabcabcabcabcabcabcabcabc",
        ] {
            assert!(weakness(secret).is_some(), "{secret}");
        }
    }

    #[test]
    fn secrets_as_openssl_makes_them_are_strong() {
        for secret in [
            "Kf0V3v4eZqUu0n9x1v8G6mJm2kq7Yw3RrT5sLcXbHdPzAoNi",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            assert_eq!(weakness(secret), None, "{secret}");
        }
    }
}
