//! Where the operator's door is, and what stands behind it: the running server, or the database alone.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Router;

use super::{
    exit::{ExitCode, ExitError},
    open, storage_config,
};
use crate::{
    admin::door::{self, DoorError, Operator, SocketFile},
    config::Config,
    features::{Features, auth::Keys, elsewhere::Neighbors, offline_queue::Background},
    http::{Origins, Stopper},
    storage::{StorageError, Store},
    telemetry::Levels,
};

/// The socket's name in its directory.
const FILE: &str = "hobnob.sock";
/// In a directory that is made for it, whose group is the operators'.
const SHARED_MODE: u32 = 0o660;
/// In the data directory.
const PRIVATE_MODE: u32 = 0o600;
/// Where the packaged service has its socket.
pub const SYSTEM_SOCKET: &str = "/run/hobnob/hobnob.sock";

impl From<DoorError> for ExitError {
    fn from(error: DoorError) -> Self {
        let code = match &error {
            DoorError::TooLong { .. } => ExitCode::Config,
            DoorError::InUse { .. } => ExitCode::Unavailable,
            DoorError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => ExitCode::Permission,
            DoorError::Io { .. } | DoorError::InTheWay { .. } => ExitCode::CannotCreate,
        };
        Self::new(code, error.to_string())
    }
}

/// The socket of a server that systemd has not given a runtime directory.
#[must_use]
pub fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// The socket's path and permissions; `runtime_dir` is systemd's list of directories.
fn place(data_dir: &Path, runtime_dir: Option<OsString>) -> (PathBuf, u32) {
    let runtime_dir = runtime_dir.and_then(|dirs| std::env::split_paths(&dirs).next());
    match runtime_dir.filter(|dir| dir.is_absolute()) {
        Some(dir) => (dir.join(FILE), SHARED_MODE),
        None => (socket_in(data_dir), PRIVATE_MODE),
    }
}

/// Opens the door of a running server.
pub(super) async fn serve(
    config: &Config,
    features: &Arc<Features>,
    levels: Levels,
    stopper: &Stopper,
) -> Result<SocketFile, ExitError> {
    let (path, mode) = place(&config.storage.dir, std::env::var_os("RUNTIME_DIRECTORY"));
    let (listener, file) = door::listen(&path, mode).await?;
    let router = door::routes(Operator::of_server(Arc::clone(features), levels));
    stopper.tracker.spawn(door::serve(listener, router, stopper.clone()));
    Ok(file)
}

/// The database without a server, and the routes of the door on it.
pub struct Database {
    /// To be closed at the end.
    pub store: Store,
    /// The routes.
    pub router: Router,
}

/// Opens the database of these settings. It is never made: a wrong directory must not look like an empty server.
///
/// # Errors
///
/// When there is none, another process has it open (exit code 75), or it cannot be opened.
pub fn open_database(config: &Config) -> Result<Database, ExitError> {
    let file = storage_config(config).database();
    match file.try_exists() {
        Ok(true) => {}
        Ok(false) => {
            let message = format!("there is no database in {}", config.storage.dir.display());
            return Err(ExitError::new(ExitCode::Unavailable, message));
        }
        Err(error) => {
            return Err(ExitError::from_io(ExitCode::Io, &format!("cannot look for {}", file.display()), &error));
        }
    }
    if config.cluster.enabled {
        // What is changed here alone would be in no other node's database.
        let message =
            "this is a node of a cluster, whose database is changed through the cluster alone: start the server";
        return Err(ExitError::new(ExitCode::Unavailable, message));
    }
    let (store, _) = open(config, None)?;
    // Nobody signs in here, so there are no keys; and no background, since nothing is told to anybody.
    let (keys, background) = (Keys::hs256(&[]), Background::default());
    let features = Features::new(config.features(), &store, keys, Origins::Any, Neighbors::none(), background);
    let features = features.map_err(|error| {
        let code = match &error {
            StorageError::Damaged { .. } | StorageError::UnknownVersion { .. } => ExitCode::Data,
            StorageError::Unavailable | StorageError::Io(_) => ExitCode::Io,
        };
        ExitError::new(code, error.to_string())
    })?;
    Ok(Database { store, router: door::routes(Operator::of_database(Arc::new(features))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_in_systemds_directory_or_beside_the_data() {
        let data = Path::new("data");
        assert_eq!(place(data, None), (PathBuf::from("data/hobnob.sock"), 0o600));
        assert_eq!(place(data, Some("/run/hobnob:/run/x".into())), (PathBuf::from(SYSTEM_SOCKET), 0o660));
        for other in ["", "relative"] {
            assert_eq!(place(data, Some(other.into())).1, 0o600, "{other}");
        }
    }
}
