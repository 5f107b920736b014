//! The writer: one thread that commits what has queued up while the last commit was synced.
//!
//! A commit writes one journal row and changes the snapshot; the tables get their rows later, sorted and in bulk:
//!
//! ```text
//! submitted -> group -> journal row, fsync -> top layers -> frozen layer -> tables, slice by slice -> journal rows go
//! ```
//!
//! Random keys would make each commit rewrite a page per key. This way a commit costs the same whatever it changes, and
//! a page of the tables is rewritten once for many changes. What is in the journal is also in the layers, which hide
//! the tables below them, so that no reader sees how far filing is. A crash at any moment leaves a journal that covers
//! all that may be missing from the tables; to apply it again to rows that are there already changes nothing.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    disk::{Changes, Disk, Replay},
    error::CommitError,
    group::{Group, Heads},
    inbox::{Ending, How, Inbox, Submitted, Work},
    layer::{self, Layer},
    open::Filing,
    publisher::{Job, Outcome, Outcomes},
    snapshot::{Current, Snapshot},
};
use crate::clock;

/// Who is told how long each commit took, once somebody wants to know.
pub(crate) type Observer = Arc<OnceLock<Box<dyn Fn(Duration) + Send + Sync>>>;

/// What became of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Open,
    /// A commit failed: what the last group did is not known until the next start.
    Failed,
    Closed,
}

/// Everything the writer thread owns.
pub(crate) struct Writer {
    disk: Disk,
    current: Arc<Current>,
    filing: Filing,
    heads: Heads,
    /// The number of the last journal row.
    journaled: u64,
    /// What is in the journal only, newest first.
    recent: Vec<Arc<Layer>>,
    frozen: Option<Frozen>,
    /// What readers see on top of what is stored, newest first.
    provisional: Vec<Arc<Layer>>,
    observer: Observer,
    /// There is no room on the disk: what waits to be filed stays in the journal.
    full: Arc<AtomicBool>,
}

/// Rows that are being filed.
struct Frozen {
    layer: Arc<Layer>,
    /// How many of them are in the tables.
    filed: usize,
    /// The last journal row that they come from.
    through: u64,
}

impl Writer {
    /// A writer that goes on where the journal ends.
    pub(crate) fn new(disk: Disk, replay: Replay, filing: Filing) -> Result<Self, redb::Error> {
        let recent = replay.groups.into_iter().fold(Vec::new(), |layers, group| layer::push(&layers, group));
        let snapshot = Snapshot { layers: recent.clone(), base: Some(disk.base()?), provisional: 0 };
        Ok(Self {
            disk,
            current: Arc::new(Current::new(snapshot)),
            filing,
            heads: Heads::default(),
            journaled: replay.last,
            recent,
            frozen: None,
            provisional: Vec::new(),
            observer: Observer::default(),
            full: Arc::default(),
        })
    }

    /// Where readers find what has been committed.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    /// Where to say who is told of commits.
    pub(crate) fn observer(&self) -> Observer {
        Arc::clone(&self.observer)
    }

    /// Where to say that there is no room on the disk.
    pub(crate) fn full(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.full)
    }

    /// Commits what arrives until the inbox ends, then closes the file. Tells `health` of a failure at once.
    pub(crate) fn run(mut self, inbox: &Inbox, outcomes: &Outcomes, health: &watch::Sender<Health>) {
        let failure = match catch_unwind(AssertUnwindSafe(|| self.work(inbox, outcomes))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the database library panicked".to_owned()),
        };
        if let Some(failure) = failure {
            tracing::error!(failure, "cannot write the database: no more is stored until it is opened again");
            health.send_replace(Health::Failed);
            inbox.fail();
        }
        self.current.publish(None);
        if !matches!(catch_unwind(AssertUnwindSafe(|| self.disk.close())), Ok(Ok(()))) {
            tracing::warn!("the database was not closed in order: the next start repairs it");
        }
    }

    fn work(&mut self, inbox: &Inbox, outcomes: &Outcomes) -> Result<(), redb::Error> {
        loop {
            match inbox.take(self.patience()) {
                Work::Group(group) => {
                    let told = self.commit(group)?;
                    // The publisher ends after the writer only.
                    drop(outcomes.send(told));
                }
                Work::Nothing if self.is_full() => {}
                Work::Nothing => self.file_slice()?,
                Work::End(Ending::Abandoned) => return Ok(()),
                // The next start files it, when there is room.
                Work::End(Ending::Clean) if self.is_full() => return Ok(()),
                Work::End(Ending::Clean) => {
                    // Nobody waits for a commit any more.
                    self.filing.slice = usize::MAX;
                    while !self.has_filed_all() {
                        self.file_slice()?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// How long to wait for batches before filing goes on.
    fn patience(&self) -> Duration {
        match (&self.frozen, self.recent.is_empty()) {
            (_, _) if self.is_full() => self.filing.idle.max(Duration::from_secs(1)),
            (Some(_), _) => Duration::ZERO,
            (None, false) => self.filing.idle,
            (None, true) => Duration::MAX,
        }
    }

    /// Commits the batches whose preconditions hold, all at once. After an error it is not known whether.
    pub(crate) fn commit(&mut self, submitted: Vec<Submitted>) -> Result<Vec<(Job, Outcome)>, redb::Error> {
        let how = submitted.first().map_or(How::Alone, |first| first.how);
        let below = self.current.load().map_err(|_| redb::Error::DatabaseClosed)?;
        let mut group = Group::new(&below, &mut self.heads);
        let mut told = Vec::with_capacity(submitted.len());
        for Submitted { batch, job, how } in submitted {
            let must_do = how == How::WithNext && batch.writes();
            let outcome = group.apply(batch);
            if let (true, Err(CommitError::Read(error))) = (must_do, &outcome) {
                return Err(redb::Error::Corrupted(format!("what other nodes have stored cannot be checked: {error}")));
            }
            told.push((job, outcome));
        }
        let layer = group.into_layer();
        if how == How::Settle {
            self.provisional.clear();
            // Numbers were given that nobody has.
            self.heads = Heads::default();
            self.show()?;
        } else if layer.rows().is_empty() {
            // Nothing changes.
        } else if how == How::Provisional {
            self.provisional = layer::push(&self.provisional, layer);
            self.show()?;
        } else {
            if self.recent_is_full() {
                self.freeze();
            }
            let started = clock::now();
            self.write(Some(layer))?;
            if let Some(observer) = self.observer.get() {
                observer(started.elapsed());
            }
        }
        Ok(told)
    }

    /// Files some rows, on its own.
    pub(crate) fn file_slice(&mut self) -> Result<(), redb::Error> {
        self.freeze();
        self.write(None)
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn has_filed_all(&self) -> bool {
        self.frozen.is_none() && self.recent.is_empty()
    }

    fn recent_is_full(&self) -> bool {
        let rows: usize = self.recent.iter().map(|layer| layer.rows().len()).sum();
        let bytes: usize = self.recent.iter().map(|layer| layer.bytes()).sum();
        rows >= self.filing.rows || bytes >= self.filing.bytes
    }

    /// Makes the recent layers the ones to be filed, unless some are at that.
    fn freeze(&mut self) {
        if self.frozen.is_some() {
            return;
        }
        let merged = mem::take(&mut self.recent).into_iter().reduce(|newer, older| Layer::merge(&newer, &older).into());
        self.frozen = merged.map(|layer| Frozen { layer, filed: 0, through: self.journaled });
    }

    /// One transaction: the rows of `group` into the journal, the next slice of the frozen ones into their tables.
    fn write(&mut self, group: Option<Layer>) -> Result<(), redb::Error> {
        let mut changes = Changes::default();
        if let Some(group) = &group {
            self.journaled += 1;
            changes.journal = Some((self.journaled, group));
        }
        let mut filed = 0;
        if let Some(frozen) = &self.frozen {
            // Twice as many as came in, so that filing ends before as many again have gathered.
            let slice = self.filing.slice.max(group.as_ref().map_or(0, |group| group.rows().len() * 2));
            let rest = frozen.layer.rows().get(frozen.filed..).unwrap_or_default();
            changes.filed = rest.get(..slice).unwrap_or(rest);
            changes.filed_through = (changes.filed.len() == rest.len()).then_some(frozen.through);
            filed = changes.filed.len();
        }
        self.disk.write(&changes)?;
        if changes.filed_through.is_some() {
            self.frozen = None;
        } else if let Some(frozen) = &mut self.frozen {
            frozen.filed += filed;
        }
        if let Some(group) = group {
            self.recent = layer::push(&self.recent, group);
        }
        self.show()
    }

    /// Lets readers see the present state.
    fn show(&self) -> Result<(), redb::Error> {
        let frozen = self.frozen.as_ref().map(|frozen| Arc::clone(&frozen.layer));
        let layers = self.provisional.iter().chain(&self.recent).cloned().chain(frozen).collect();
        let base = Some(self.disk.base()?);
        self.current.publish(Some(Snapshot { layers, base, provisional: self.provisional.len() }.into()));
        Ok(())
    }
}
