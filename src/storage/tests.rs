//! Power cuts and failing disks, on a disk that loses what has not been synced.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use redb::{Builder, StorageBackend};
use serde::{Deserialize, Serialize};

use super::{
    Batch, CommitError, Direction, Filing, Log, Reader, Record, Store, Table,
    disk::Disk,
    inbox::{How, Inbox, Submitted, Work},
    open::initialize,
    writer::Writer,
};

const ROWS: Table<u64, Entry> = Table::new("rows");
const LOG: Log<u64, Entry> = Log::new("log");

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry(u64);

impl Record for Entry {
    const VERSION: u8 = 1;
}

/// Filing goes on all the time, in slices that end in the middle of what is to be filed.
const FILING: Filing = Filing { rows: 6, bytes: 1 << 20, idle: Duration::from_hours(1), slice: 3 };

/// A disk whose power can be cut.
#[derive(Clone, Debug, Default)]
pub(super) struct CutDisk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    /// What survives for certain.
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    /// Writes and syncs until the power goes; `None`: it stays.
    left: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Platter {
    fn tick(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What a reader sees: everything written.
    fn image(&self) -> Vec<u8> {
        let mut image = self.synced.clone();
        self.unsynced.iter().for_each(|change| apply(&mut image, change));
        image
    }
}

fn apply(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let end = offset + data.len();
            image.resize(image.len().max(end), 0);
            image[*offset..end].copy_from_slice(data);
        }
        Change::SetLen(len) => image.resize(*len, 0),
    }
}

impl CutDisk {
    /// How many writes and syncs are left until the power goes.
    pub(super) fn power(&self, left: usize) {
        self.lock().left = Some(left);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holding(synced: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Platter { synced, ..Platter::default() })))
    }

    /// What is left after the power has gone: of what was not synced, those sectors that `survives` picks.
    pub(super) fn after_cut(&self, mut survives: impl FnMut() -> bool) -> Self {
        let platter = self.lock();
        let mut image = platter.synced.clone();
        for change in &platter.unsynced {
            match change {
                Change::Write(offset, data) => {
                    for (n, sector) in data.chunks(512).enumerate() {
                        if survives() {
                            apply(&mut image, &Change::Write(offset + n * 512, sector.to_vec()));
                        }
                    }
                }
                Change::SetLen(_) => {
                    if survives() {
                        apply(&mut image, change);
                    }
                }
            }
        }
        Self::holding(image)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the disk is small")]
impl StorageBackend for CutDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().image().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.lock().image();
        let found = image.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.lock();
        platter.tick()?;
        platter.unsynced.push(Change::SetLen(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.lock();
        platter.tick()?;
        platter.synced = platter.image();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.lock();
        platter.tick()?;
        platter.unsynced.push(Change::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

/// Opens what is on the disk. The power may go meanwhile.
pub(super) fn open(disk: &CutDisk) -> Option<Writer> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut builder = Builder::new();
        let db = builder.set_cache_size(1 << 20).create_with_backend(disk.clone()).ok()?;
        let disk = Disk::new(db);
        let replay = disk.replay().ok()?;
        Writer::new(disk, replay, FILING).ok()
    }));
    opened.unwrap_or(None)
}

pub(super) fn fresh() -> CutDisk {
    let disk = CutDisk::default();
    initialize(Builder::new().create_with_backend(disk.clone()).expect("made")).expect("written");
    disk
}

/// What should be stored: the value of each key, and the length of the log.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    rows: std::collections::BTreeMap<u64, u64>,
    log: Vec<u64>,
}

impl Model {
    fn read(writer: &Writer) -> Self {
        let reader = Reader::new(writer.current().load().expect("open"));
        let rows = reader.scan(&ROWS, .., usize::MAX, Direction::Forward).expect("readable");
        let log = reader.scan_log(&LOG, &7, 0, usize::MAX).expect("readable");
        assert!(log.iter().map(|(seq, _)| *seq).eq(1..=log.len() as u64), "a gap in the log");
        assert_eq!(reader.head(&LOG, &7).expect("readable"), log.len() as u64);
        Self {
            rows: rows.into_iter().map(|(key, value)| (key, value.0)).collect(),
            log: log.into_iter().map(|(_, value)| value.0).collect(),
        }
    }

    /// A batch that changes a few keys and the log, depending on `n` only.
    fn batch(&mut self, n: u64) -> Submitted {
        let mut batch = Batch::new();
        for key in [n % 5, n % 7, n % 11] {
            if n.is_multiple_of(3) {
                batch.delete(&ROWS, &key);
                self.rows.remove(&key);
            } else {
                batch.put(&ROWS, &key, &Entry(n));
                self.rows.insert(key, n);
            }
        }
        batch.append(&LOG, &7, &Entry(n));
        self.log.push(n);
        Submitted::new(batch, Box::new(|_| ()))
    }
}

#[derive(Clone, Debug)]
struct Life {
    /// Writes and syncs until the power goes.
    power: usize,
    /// Which of the last sectors survive it.
    survivors: u64,
    /// Filing without commits in between.
    idles: bool,
}

/// Runs until the power goes; gives what was acknowledged and what would be there with the last group, too.
fn live(disk: &CutDisk, life: &Life, before: [Model; 2], n: &mut u64) -> [Model; 2] {
    disk.lock().left = Some(life.power);
    let Some(mut writer) = open(disk) else { return before };
    let found = Model::read(&writer);
    assert!(before.contains(&found), "{found:?} is neither of {before:?}");
    let mut acknowledged = found;
    loop {
        let mut next = acknowledged.clone();
        let group = (0..=*n % 3).map(|_| {
            *n += 1;
            next.batch(*n)
        });
        let group = group.collect();
        let committed = catch_unwind(AssertUnwindSafe(|| writer.commit(group).is_ok())).unwrap_or(false);
        if !committed {
            return [acknowledged, next];
        }
        assert_eq!(Model::read(&writer), next, "what readers see");
        acknowledged = next;
        if life.idles && !catch_unwind(AssertUnwindSafe(|| writer.file_slice().is_ok())).unwrap_or(false) {
            return [acknowledged.clone(), acknowledged];
        }
        if writer.has_filed_all() && life.idles {
            continue;
        }
        assert_eq!(Model::read(&writer), acknowledged, "what readers see while rows are filed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// P2, P4: also when the power goes during filing, and again while the journal is replayed.
    #[test]
    fn a_power_cut_loses_nothing_acknowledged_and_halves_nothing(
        lives in vec((0..250_usize, any::<u64>(), any::<bool>()), 1..5),
    ) {
        let mut disk = fresh();
        let mut states = [Model::default(), Model::default()];
        let mut n = 0;
        for (power, survivors, idles) in lives {
            let life = Life { power, survivors, idles };
            states = live(&disk, &life, states, &mut n);
            let mut seed = life.survivors;
            disk = disk.after_cut(|| {
                seed = seed.rotate_left(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                seed >> 63 == 1
            });
        }
        let mut writer = open(&disk).expect("with power");
        let found = Model::read(&writer);
        prop_assert!(states.contains(&found), "{:?} is neither of {:?}", found, states);
        while !writer.has_filed_all() {
            writer.file_slice().expect("with power");
        }
        prop_assert_eq!(Model::read(&writer), found);
    }
}

/// P20: what failed is unknown, nothing is taken on afterwards, and the process is told.
#[tokio::test]
async fn a_failing_disk_fails_the_group_and_everything_after_it() {
    let disk = fresh();
    let store = Store::on_disk(open(&disk).expect("whole"), None).expect("threads");
    let put = |key: u64| {
        let mut batch = Batch::new();
        batch.put(&ROWS, &key, &Entry(key));
        batch
    };
    store.commit(put(1)).await.expect("stored");
    let failed = store.failed();
    disk.lock().left = Some(3);
    let ran = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&ran);
    let answer = store.commit_then(put(2), move |_| runs.store(true, Ordering::Relaxed)).await;
    assert!(matches!(answer, Err(CommitError::Unavailable)));
    failed.await;
    assert!(matches!(store.commit(put(3)).await, Err(CommitError::Unavailable)));
    store.failed().await;
    store.close().await;
    assert!(!ran.load(Ordering::Relaxed), "told of a commit that failed");
    drop(store);

    let again = open(&disk.after_cut(|| true)).expect("with power");
    assert_eq!(Model::read(&again).rows.get(&1), Some(&1));
}

#[test]
fn what_belongs_together_is_one_group_and_what_is_only_shown_another() {
    let inbox = Inbox::default();
    let submitted = |how| Submitted { batch: Batch::new(), job: Box::new(|_| ()), how };
    let mut unit: Vec<_> = (0..2000).map(|_| submitted(How::WithNext)).collect();
    unit.push(submitted(How::Alone));
    inbox.submit_all(unit);
    inbox.submit_all(vec![submitted(How::Alone), submitted(How::Provisional), submitted(How::Provisional)]);
    inbox.submit_all(vec![submitted(How::Settle), submitted(How::Settle), submitted(How::Alone)]);
    inbox.end(super::inbox::Ending::Clean);
    let mut sizes = Vec::new();
    while let Work::Group(group) = inbox.take(Duration::ZERO) {
        sizes.push(group.len());
    }
    assert_eq!(sizes, [2001, 1, 2, 1, 1, 1]);
}

#[test]
fn a_full_inbox_drops_the_newest_and_keeps_the_order_of_the_others() {
    struct Dropped(Arc<Mutex<Vec<u32>>>, u32);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.lock().expect("whole").push(self.1);
        }
    }
    let inbox = Inbox::default();
    let dropped = Arc::new(Mutex::new(Vec::new()));
    for n in 0..20_000 {
        let job = Dropped(Arc::clone(&dropped), n);
        inbox.submit(Submitted::new(Batch::new(), Box::new(move |_| drop(job))));
    }
    let refused = dropped.lock().expect("whole").clone();
    assert_eq!(refused, (16_384..20_000).collect::<Vec<_>>());
    dropped.lock().expect("whole").clear();
    while let Work::Group(group) = inbox.take(Duration::ZERO) {
        drop(group);
    }
    assert_eq!(*dropped.lock().expect("whole"), (0..16_384).collect::<Vec<_>>());
}
