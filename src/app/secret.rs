//! The keys that tokens are checked with, and the signing secret that the server makes for itself when none is configured.
//!
//! That secret is kept as text (48 random bytes in base64) in `<data_dir>/jwt_secret`, readable by the owner alone. The text itself is
//! the secret, as with `JWT_SECRET`: an app's backend can be given the same line.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::RngExt as _;
use thiserror::Error;

use super::exit::{ExitCode, ExitError};
use crate::{
    config::Config,
    features::auth::{Algorithm, Keys, KeysError},
};

/// The file's name in the data directory.
const FILE: &str = "jwt_secret";

/// Random bytes in a secret. In base64 they have no padding, and a secret that was cut or mixed has another length.
const RANDOM_BYTES: usize = 48;

/// Length of the secret in bytes.
const SECRET_BYTES: usize = RANDOM_BYTES / 3 * 4;

/// The settings that [`keys`] looks at.
pub const SETTINGS: &[&str] =
    &["auth.jwt_secret", "auth.previous_jwt_secrets", "auth.algorithm", "auth.public_keys", "auth.jwks_file"];

/// Where a secret in the data directory comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made just now, in this file.
    Created(PathBuf),
    /// Found in this file.
    Found {
        /// The file.
        path: PathBuf,
        /// Whether others than its owner can read it, which the operator should hear.
        exposed: bool,
    },
}

/// Why there is no secret in the data directory.
#[derive(Debug, Error)]
pub enum SecretError {
    /// There is none, and none was to be made.
    #[error("no JWT secret is configured and {} does not exist: start the server once, or name its settings with --config \
             or --data-dir", .0.display())]
    Missing(PathBuf),
    /// It cannot be written.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{} is damaged, so that tokens signed with it would be refused: restore it from a backup, or remove it to sign out \
             everybody", .0.display())]
    Damaged(PathBuf),
}

impl SecretError {
    /// The exit code of a process that cannot go on without.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Create { source, .. } | Self::Read { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                ExitCode::Permission
            }
            Self::Missing(_) => ExitCode::Config,
            Self::Create { .. } => ExitCode::CannotCreate,
            Self::Read { .. } => ExitCode::Io,
            Self::Damaged(_) => ExitCode::Data,
        }
    }
}

/// The keys that `config` names, now; and for a secret of the server's own, where it is. Call it again after the files have changed.
///
/// # Errors
///
/// When a file cannot be read or does not hold what it should.
pub fn keys(config: &Config) -> Result<(Keys, Option<Origin>), ExitError> {
    let (secret, origin) = match &config.auth.jwt_secret {
        // Whoever checks tokens with public keys has nothing to keep secret.
        _ if config.auth.algorithm != Algorithm::Hs256 => (Vec::new(), None),
        Some(secret) => (secret.as_bytes().to_vec(), None),
        None => {
            let (secret, origin) = load_or_create(&config.storage.dir)?;
            (secret, Some(origin))
        }
    };
    Ok((Keys::load(&config.auth, &secret)?, origin))
}

impl From<KeysError> for ExitError {
    fn from(error: KeysError) -> Self {
        let code = match &error {
            KeysError::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ExitCode::Permission
            }
            KeysError::Unreadable { .. } | KeysError::Unusable { .. } | KeysError::TooMany => ExitCode::Config,
        };
        Self::new(code, error.to_string())
    }
}

/// The secret in `data_dir`; it is made, with the directory, when it does not exist.
///
/// # Errors
///
/// When it is damaged, or cannot be read or made.
pub fn load_or_create(data_dir: &Path) -> Result<(Vec<u8>, Origin), SecretError> {
    match load(data_dir) {
        Err(SecretError::Missing(path)) => create(data_dir, path),
        other => other,
    }
}

/// The secret in `data_dir`.
///
/// # Errors
///
/// When there is none, or it is damaged or cannot be read.
pub fn load(data_dir: &Path) -> Result<(Vec<u8>, Origin), SecretError> {
    let path = data_dir.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(SecretError::Missing(path));
        }
        Err(source) => return Err(SecretError::Read { path, source }),
    };
    let mut text = Vec::new();
    let read = file.metadata().and_then(|metadata| {
        // One byte more than there may be, so that a longer file is noticed.
        file.take(SECRET_BYTES as u64 + 2).read_to_end(&mut text)?;
        Ok(metadata.permissions().mode())
    });
    match read {
        Ok(mode) => {
            let secret = text.strip_suffix(b"\n").unwrap_or(&text);
            let is_whole = STANDARD.decode(secret).is_ok_and(|bytes| bytes.len() == RANDOM_BYTES);
            if !is_whole {
                return Err(SecretError::Damaged(path));
            }
            Ok((secret.to_vec(), Origin::Found { path, exposed: mode & 0o077 != 0 }))
        }
        Err(source) => Err(SecretError::Read { path, source }),
    }
}

/// Writes a new secret so that a crash leaves all of it or nothing, and of two servers that start at the same time both use
/// the same one: it is complete and on disk before it gets its name, and a name that exists is not taken away.
fn create(data_dir: &Path, path: PathBuf) -> Result<(Vec<u8>, Origin), SecretError> {
    let mut random = [0; RANDOM_BYTES];
    rand::rng().fill(&mut random);
    let secret = STANDARD.encode(random).into_bytes();
    let unfinished = data_dir.join(format!(".{FILE}.{:016x}", rand::rng().random::<u64>()));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|source| SecretError::Create { path: data_dir.to_owned(), source })?;
    let named = write(&unfinished, &secret).and_then(|()| fs::hard_link(&unfinished, &path));
    let removed = fs::remove_file(&unfinished);
    match named {
        Ok(()) => {
            let synced = removed.and_then(|()| File::open(data_dir)).and_then(|dir| dir.sync_all());
            synced.map_err(|source| SecretError::Create { path: path.clone(), source })?;
            Ok((secret, Origin::Created(path)))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(data_dir),
        Err(source) => Err(SecretError::Create { path, source }),
    }
}

fn write(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(dir: &Path) -> PathBuf {
        dir.join("data").join(FILE)
    }

    #[test]
    fn a_secret_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let data_dir = dir.path().join("data");
        let (made, origin) = load_or_create(&data_dir).expect("made");
        assert_eq!(origin, Origin::Created(path(dir.path())));
        assert_eq!(made.len(), SECRET_BYTES);
        let (found, origin) = load_or_create(&data_dir).expect("found");
        assert_eq!(origin, Origin::Found { path: path(dir.path()), exposed: false });
        assert_eq!(made, found);
        let names: Vec<_> =
            fs::read_dir(&data_dir).expect("there").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn only_the_owner_can_read_what_was_made() {
        let dir = tempfile::tempdir().expect("a directory");
        load_or_create(&dir.path().join("data")).expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&dir.path().join("data")), mode(&path(dir.path()))), (0o700, 0o600));
        fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(0o644)).expect("ours");
        let (_, origin) = load(&dir.path().join("data")).expect("found");
        assert_eq!(origin, Origin::Found { path: path(dir.path()), exposed: true });
    }

    #[test]
    fn a_damaged_secret_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let data_dir = dir.path().join("data");
        let (whole, _) = load_or_create(&data_dir).expect("made");
        let mut changed = whole.clone();
        changed[7] = b'!';
        let longer = [whole.as_slice(), b"AAAA"].concat();
        for damaged in [&b""[..], b"\n", &whole[..63], &changed, &longer, b"short"] {
            fs::write(path(dir.path()), damaged).expect("ours");
            let error = load_or_create(&data_dir).expect_err("damaged");
            assert_eq!(error.exit_code(), ExitCode::Data, "{error}");
            assert_eq!(fs::read(path(dir.path())).expect("there"), damaged);
        }
    }

    #[test]
    fn servers_that_start_together_get_the_same_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        let data_dir = dir.path().join("data");
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_create(&data_dir).expect("one").0)).collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("data"), "a file").expect("written");
        let error = load_or_create(&dir.path().join("data")).expect_err("no directory");
        assert_eq!(error.exit_code(), ExitCode::CannotCreate, "{error}");
    }
}
