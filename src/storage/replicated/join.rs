//! Finding this node's place in the log, and giving back to the log what it has lost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::random;

use super::{
    ledger::{POSITION, Position, Recent, digest, recent_after},
    local::Local,
    shared_log::{Bounds, Connection, Epoch, LogAway, Peers, Place, SharedLog},
    status::Halt,
};
use crate::{
    clock::{self, Instant},
    storage::{batch::Batch, error::StorageError, snapshot::Current},
};

/// How long after a failed attempt the next one is made.
pub(crate) const RETRY: Duration = Duration::from_millis(250);
/// How long a node waits for another one that has more of the log than the log itself.
const PEER_PATIENCE: Duration = Duration::from_secs(15);

/// One attempt after the other to find the place of a node that has applied the log up to `position`.
pub(crate) struct Joiner {
    pub(crate) log: Arc<dyn SharedLog>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) local: Arc<Local>,
    pub(crate) current: Arc<Current>,
    pub(crate) position: Option<Position>,
    /// Whether the database has rows of features.
    pub(crate) has_rows: bool,
    /// How long it takes, after the log's server has changed, until the nodes have told each other how far they are.
    pub(crate) settling: Duration,
    /// The server that answered last.
    pub(crate) server: Arc<Mutex<Option<u64>>>,
    /// It is another one than before.
    pub(crate) is_another_server: bool,
    /// Nodes had the time to tell each other how far they are.
    pub(crate) is_settled: bool,
    /// Since when this node waits for others.
    pub(crate) waits_since: Option<Instant>,
}

/// The log as this node goes on with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    pub(crate) position: Position,
    pub(crate) end: Place,
}

/// Why an attempt did not succeed.
enum Trouble {
    /// Try again.
    Away,
    Halt(Halt),
    /// The database cannot be read or written; its health tells.
    Local,
}

impl From<LogAway> for Trouble {
    fn from(LogAway(reason): LogAway) -> Self {
        tracing::debug!(reason, "the shared log does not answer");
        Self::Away
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "cannot read the last entries of the shared log");
        Self::Local
    }
}

impl Joiner {
    /// Tries until it succeeds or cannot, after a pause.
    pub(crate) async fn run(mut self, pause: Duration) -> Result<Joined, Halt> {
        tokio::time::sleep(pause).await;
        loop {
            match self.attempt().await {
                Ok(Some(joined)) => return Ok(joined),
                Ok(None) => {}
                Err(Trouble::Halt(halt)) => return Err(halt),
                Err(Trouble::Away | Trouble::Local) => {
                    // At once when it is back, if that is told.
                    let mut connection = self.log.connection();
                    let was_away = *connection.borrow() == Connection::Away;
                    let back = connection.wait_for(|connection| was_away && *connection == Connection::Up);
                    drop(tokio::time::timeout(RETRY, back).await);
                }
            }
        }
    }

    /// `None`: something has changed or was waited for, look again.
    async fn attempt(&mut self) -> Result<Option<Joined>, Trouble> {
        let Some(bounds) = self.log.bounds().await? else { return self.without_log().await };
        let before = self.server.lock().unwrap_or_else(PoisonError::into_inner).replace(bounds.server);
        self.is_another_server |= before.is_some_and(|before| before != bounds.server);
        // A log that this node wanted to make and another one has made.
        let position = self.position.filter(|position| position.epoch == bounds.epoch || !position.is_first());
        let Some(position) = position else { return self.newcomer(bounds).map(Some) };
        if position.epoch != bounds.epoch {
            return Err(Trouble::Halt(Halt::Diverged));
        }
        if position.place < bounds.kept_after {
            return Err(Trouble::Halt(Halt::Behind));
        }
        if position.place > bounds.end {
            return self.restore(bounds, position).await;
        }
        if position.place > bounds.kept_after {
            let known = self.log.entry(bounds.epoch, position.place).await?;
            if known.is_none_or(|entry| digest(&entry) != position.digest) {
                return Err(Trouble::Halt(Halt::Diverged));
            }
        }
        if self.is_another_server && self.settles().await || self.waits_for_peers(bounds.epoch, bounds.end).await {
            return Ok(None);
        }
        Ok(Some(Joined { position, end: bounds.end }))
    }

    /// This node has never been in a log, and finds one.
    fn newcomer(&self, bounds: Bounds) -> Result<Joined, Trouble> {
        if self.has_rows {
            return Err(Trouble::Halt(Halt::Foreign));
        }
        if bounds.kept_after > Place::START {
            return Err(Trouble::Halt(Halt::Behind));
        }
        let position = Position { epoch: bounds.epoch, place: Place::START, digest: 0 };
        Ok(Joined { position, end: bounds.end })
    }

    /// There is no log: this node makes one, which begins with what it has.
    async fn without_log(&mut self) -> Result<Option<Joined>, Trouble> {
        let (position, begin) = if let Some(position) = self.position {
            let waits = !position.is_first() && self.settles().await;
            if waits || self.waits_for_peers(position.epoch, position.place).await {
                return Ok(None);
            }
            let snapshot = self.current.load()?;
            let oldest = recent_after(&snapshot, None)?.into_iter().next();
            (position, oldest.map_or(position.place, |oldest| oldest.previous))
        } else {
            let place = if self.has_rows { Place::FOUNDED } else { Place::START };
            (Position { epoch: Epoch(random::<u64>().max(1)), place, digest: 0 }, place)
        };
        if self.position.is_none() {
            // Before the log, so that a node which crashes in between knows its own log again.
            self.position = Some(position);
            let mut batch = Batch::new();
            batch.put(&POSITION, &0, &position);
            self.local.store(batch, Box::new(|_| ()));
            if !self.local.flush().await {
                return Err(Trouble::Local);
            }
        }
        if self.log.create(position.epoch, begin).await? {
            tracing::info!(place = %begin, "made the shared log");
        }
        Ok(None)
    }

    /// The log ends before this node's place: the entries it has lost are put back, by the node that has most of them.
    async fn restore(&mut self, bounds: Bounds, position: Position) -> Result<Option<Joined>, Trouble> {
        if self.settles().await || self.waits_for_peers(bounds.epoch, position.place).await {
            return Ok(None);
        }
        let (known_end, lost) = {
            let snapshot = self.current.load()?;
            let all = recent_after(&snapshot, None)?;
            let end = all.iter().find(|recent| recent.place == bounds.end).map(|recent| digest(&recent.entry));
            (end, all.into_iter().filter(|recent| recent.place > bounds.end).collect::<Vec<Recent>>())
        };
        if bounds.end > bounds.kept_after {
            let end = self.log.entry(bounds.epoch, bounds.end).await?;
            if end.map(|entry| digest(&entry)) != known_end {
                return Err(Trouble::Halt(Halt::Diverged));
            }
        }
        if lost.first().is_none_or(|first| first.previous != bounds.end) {
            return Err(Trouble::Halt(Halt::Diverged));
        }
        tracing::warn!(entries = lost.len(), after = %bounds.end, "the shared log has lost entries: putting them back");
        for Recent { previous, place, entry } in lost {
            if !self.log.restore(bounds.epoch, previous, place, entry).await? {
                break;
            }
        }
        Ok(None)
    }

    /// True when it was waited for nodes to tell how far they are, once.
    async fn settles(&mut self) -> bool {
        if !self.is_settled {
            self.is_settled = true;
            tokio::time::sleep(self.settling).await;
            return true;
        }
        false
    }

    /// True when it was waited for a node that is further than `place`. It restores what is missing, unless it is about to go.
    async fn waits_for_peers(&mut self, epoch: Epoch, place: Place) -> bool {
        let since = *self.waits_since.get_or_insert_with(clock::now);
        let is_ahead = self.peers.furthest(epoch).is_some_and(|furthest| furthest > place);
        if is_ahead && since.elapsed() < PEER_PATIENCE {
            tokio::time::sleep(RETRY).await;
            return true;
        }
        false
    }
}
