//! Where servers are started: a fresh process on fresh data, each time.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    measure::Windows,
    peers::{Peer, Role, Settings},
    server::{self, Server},
};

/// What tokens are signed with; for nobody but the servers of one run on loopback.
pub(crate) const SECRET: &str = "benchmark-secret-of-no-other-use-whatsoever";

/// What all scenarios of a run have in common.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The repository: what is built is looked for below it.
    pub(crate) root: PathBuf,
    /// The core for the servers.
    pub(crate) core: usize,
    /// How long a measurement takes.
    pub(crate) windows: Windows,
    /// Clients that do nothing, of each server.
    pub(crate) idle_clients: usize,
    /// Messages that are there when a server starts again.
    pub(crate) stored_messages: u64,
}

impl Stage {
    /// Starts a server, or nothing if it has no such role.
    pub(crate) fn start(&self, peer: Peer, role: Role, ping_interval: Duration) -> Result<Option<Server>> {
        let data = self.scratch().join(peer.name());
        clear(&data)?;
        let address = server::free_address()?;
        let settings = Settings { address, ping_interval, data: &data, secret: SECRET };
        let Some(command) = peer.command(role, &self.root, &settings) else { return Ok(None) };
        Server::start(&command, address, self.core, &self.log(peer)).map(Some)
    }

    /// Where the output of a server is.
    pub(crate) fn log(&self, peer: Peer) -> PathBuf {
        self.scratch().join(format!("{}.log", peer.name()))
    }

    fn scratch(&self) -> PathBuf {
        self.root.join("benches/target/scratch")
    }
}

fn clear(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())
}
