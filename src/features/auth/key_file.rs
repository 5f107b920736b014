//! The file of keys while the server runs: read again when a token names a key that is not there, and the file has changed.

use std::{
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Auth, Keys};
use crate::clock::{self, Instant};

/// The file is looked at once in this time at most, however many tokens name unknown keys.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The last look at the file.
#[derive(Debug, Default)]
pub(super) struct LastLook {
    at: Option<Instant>,
    /// Its time of change and its length then.
    seen: Option<(SystemTime, u64)>,
}

impl Auth {
    /// Puts other keys in place of the present ones, as after SIGHUP. Sockets that are in stay in until their tokens end.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(keys);
    }

    /// Reads the file of keys again, if it has changed since the last look. Whoever comes meanwhile waits for the outcome.
    pub(super) async fn look_for_keys(&self) {
        let mut look = self.last_look.lock().await;
        let now = clock::now();
        if look.at.is_some_and(|at| now < at + LOOK_EVERY) {
            return;
        }
        look.at = Some(now);
        let (keys, seen) = (self.keys(), look.seen);
        // A disk may be slow; nobody else has to wait for it.
        let read = tokio::task::spawn_blocking(move || {
            let metadata =
                fs::metadata(keys.jwks_file()?).and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
            let found = metadata.ok().filter(|found| Some(*found) != seen)?;
            Some((found, keys.read_again()))
        });
        match read.await {
            Ok(Some((found, Ok(keys)))) => {
                look.seen = Some(found);
                tracing::info!(?keys, "the file of keys was read again: a token named a key that was not there");
                self.replace_keys(keys);
            }
            Ok(Some((_, Err(error)))) => tracing::warn!(%error, "the keys stay as they are"),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the file of keys could not be looked at"),
        }
    }
}
