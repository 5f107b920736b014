//! Log files: one per day (UTC), `hobnob.2026-11-24.log`, the newest few of them kept.
//!
//! A thread writes them, so that a slow disk holds up nobody; when too much waits, lines are dropped and counted. Whatever
//! happens to the file (a full disk, a directory that somebody removed), the server goes on, and the file comes back with
//! the first line that can be written.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use super::output::Lost;
use crate::clock::{self, Instant, Timestamp};

/// Lines that wait for the thread, at most; the next ones are dropped.
const MAX_WAITING: usize = 8192;
/// How often it is looked whether the file is still where it was.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

const PREFIX: &str = "hobnob.";
const SUFFIX: &str = ".log";
/// Length of `2026-11-24`.
const DAY_LENGTH: usize = 10;

/// The way to the thread that writes the files. The thread is started when files are asked for.
#[derive(Debug)]
pub(super) struct Files {
    orders: OnceLock<SyncSender<Order>>,
    open: AtomicBool,
    lost: Arc<Lost>,
}

enum Order {
    Line(String),
    Use(Option<Daily>),
    Flush(SyncSender<()>),
}

impl Files {
    /// No files yet.
    pub(super) fn new(lost: Arc<Lost>) -> Self {
        Self { orders: OnceLock::new(), open: AtomicBool::new(false), lost }
    }

    /// Whether lines are wanted.
    pub(super) fn are_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Writes to a file in `dir` from now on, a new one if somebody has moved the old one; to none without `dir`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened; everything stays as it was then.
    pub(super) fn use_dir(&self, dir: Option<&Path>, keep: usize) -> io::Result<()> {
        let daily = dir.map(|dir| Daily::open(dir, keep, Timestamp::now())).transpose()?;
        let is_open = daily.is_some();
        if !is_open && self.orders.get().is_none() {
            return Ok(());
        }
        // A full queue is worth waiting for here: this happens on the operator's demand only.
        self.orders()?
            .send(Order::Use(daily))
            .map_err(|_| io::Error::other("the thread for the log files has ended"))?;
        self.open.store(is_open, Ordering::Relaxed);
        Ok(())
    }

    /// Queues a line.
    pub(super) fn write(&self, line: String) {
        if let Some(orders) = self.orders.get()
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = orders.try_send(Order::Line(line))
        {
            Lost::count(&self.lost.overflow);
        }
    }

    /// Waits until what was queued is written, for a short time at most.
    pub(super) fn flush(&self) {
        let Some(orders) = self.orders.get() else { return };
        let (done, written) = sync_channel(1);
        if orders.try_send(Order::Flush(done)).is_ok() {
            written.recv_timeout(LAST_LINES).unwrap_or_default();
        }
    }

    fn orders(&self) -> io::Result<&SyncSender<Order>> {
        if let Some(orders) = self.orders.get() {
            return Ok(orders);
        }
        let (orders, queue) = sync_channel(MAX_WAITING);
        let lost = Arc::clone(&self.lost);
        thread::Builder::new().name("log-files".to_owned()).spawn(move || run(&queue, &lost))?;
        Ok(self.orders.get_or_init(|| orders))
    }
}

fn run(orders: &Receiver<Order>, lost: &Lost) {
    let mut daily: Option<Daily> = None;
    let mut failing = false;
    for order in orders {
        match order {
            Order::Use(other) => daily = other,
            // What this thread waits for is written already. Nobody waits any more when the process was in a hurry.
            Order::Flush(done) => done.try_send(()).unwrap_or_default(),
            Order::Line(line) => {
                let Some(daily) = &mut daily else { continue };
                match daily.write(&line, Timestamp::now(), clock::now()) {
                    Ok(()) if failing => {
                        failing = false;
                        tracing::info!("the log file can be written again");
                    }
                    Ok(()) => {}
                    Err(error) => {
                        Lost::count(&lost.failed);
                        // Told once, on standard error: the same line in the file is among the lost.
                        if !std::mem::replace(&mut failing, true) {
                            tracing::error!(%error, dir = %daily.dir.display(), "cannot write the log file; the server goes on without");
                        }
                    }
                }
            }
        }
    }
}

/// The file of the day.
#[derive(Debug)]
struct Daily {
    dir: PathBuf,
    keep: usize,
    day: String,
    file: Option<File>,
    looked: Instant,
    /// The last line was written in part.
    torn: bool,
}

impl Daily {
    fn open(dir: &Path, keep: usize, now: Timestamp) -> io::Result<Self> {
        let mut daily =
            Self { dir: dir.to_owned(), keep, day: day_of(now), file: None, looked: clock::now(), torn: false };
        daily.reopen()?;
        Ok(daily)
    }

    fn path(&self) -> PathBuf {
        self.dir.join([PREFIX, &self.day, SUFFIX].concat())
    }

    fn reopen(&mut self) -> io::Result<&mut File> {
        self.file = None;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        // Lines name users: they are for the owner alone.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path())?;
        self.prune();
        Ok(self.file.insert(file))
    }

    fn write(&mut self, line: &str, now: Timestamp, instant: Instant) -> io::Result<()> {
        let day = day_of(now);
        if day != self.day {
            self.day = day;
            self.file = None;
        } else if instant.saturating_duration_since(self.looked) >= LOOK_INTERVAL {
            self.looked = instant;
            self.look();
        }
        let torn = self.torn;
        let file = match &mut self.file {
            Some(file) => file,
            None => self.reopen()?,
        };
        let written = if torn {
            file.write_all(b"\n").and_then(|()| file.write_all(line.as_bytes()))
        } else {
            file.write_all(line.as_bytes())
        };
        self.torn = written.is_err();
        written
    }

    /// Forgets a file that is no longer the one of that name.
    fn look(&mut self) {
        let is_same = |file: &File| {
            let (ours, there) = (file.metadata()?, fs::metadata(self.path())?);
            io::Result::Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        if !self.file.as_ref().is_some_and(|file| is_same(file).unwrap_or(false)) {
            self.file = None;
        }
    }

    /// Removes the oldest files, and only such as have been made here. A failure leaves them for the next day.
    fn prune(&self) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| is_ours(name));
        names.sort_unstable();
        let surplus = names.len().saturating_sub(self.keep);
        for name in names.into_iter().take(surplus) {
            fs::remove_file(self.dir.join(name)).unwrap_or_default();
        }
    }
}

/// The day as `2026-11-24`.
fn day_of(now: Timestamp) -> String {
    now.to_string().chars().take(DAY_LENGTH).collect()
}

fn is_ours(name: &str) -> bool {
    let Some(day) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) else { return false };
    let fits = |(position, byte): (usize, u8)| match position {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    day.len() == DAY_LENGTH && day.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn noon(day: &str) -> Timestamp {
        Timestamp::parse(&format!("{day}T12:00:00Z")).expect("a date")
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn read(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).expect("a file")
    }

    #[test]
    fn each_day_has_its_file_and_the_oldest_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().join("deep/log");
        let mut daily = Daily::open(&dir, 14, noon("2026-11-01")).expect("opened");
        fs::write(dir.join("hobnob.notes.log"), "not ours").expect("written");
        for day in 1..=20 {
            let day = format!("2026-11-{day:02}");
            daily.write(&format!("{day}\n"), noon(&day), clock::now()).expect("written");
        }
        let expected: Vec<_> = (7..=20).map(|day| format!("hobnob.2026-11-{day:02}.log")).collect();
        assert_eq!(names(&dir), [expected, vec!["hobnob.notes.log".to_owned()]].concat());
        assert_eq!(read(&dir, "hobnob.2026-11-20.log"), "2026-11-20\n");
        let mode = fs::metadata(dir.join("hobnob.2026-11-20.log")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "for the owner alone");
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_made_anew() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("log");
        let (now, start) = (noon("2026-11-24"), clock::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut daily = Daily::open(&dir, 14, now).expect("opened");
        daily.write("one\n", now, later(0)).expect("written");
        fs::rename(dir.join("hobnob.2026-11-24.log"), dir.join("old")).expect("moved");
        daily.write("two\n", now, later(2)).expect("written");
        fs::remove_dir_all(&dir).expect("removed");
        daily.write("three\n", now, later(4)).expect("written");
        assert_eq!(read(&dir, "hobnob.2026-11-24.log"), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_of_its_line_only() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("log");
        let (now, start) = (noon("2026-11-24"), clock::now());
        let mut daily = Daily::open(&dir, 14, now).expect("opened");
        fs::remove_dir_all(&dir).expect("removed");
        fs::write(&dir, "in the way").expect("written");
        assert!(daily.write("lost\n", now, start + Duration::from_secs(2)).is_err());
        assert!(daily.write("lost\n", now, start + Duration::from_secs(2)).is_err());
        fs::remove_file(&dir).expect("removed");
        daily.write("kept\n", now, start + Duration::from_secs(2)).expect("written");
        assert_eq!(read(&dir, "hobnob.2026-11-24.log"), "kept\n");
    }

    #[test]
    fn after_a_full_disk_a_torn_line_is_ended_first() {
        let root = tempfile::tempdir().expect("a directory");
        let (now, start) = (noon("2026-11-24"), clock::now());
        let mut daily = Daily::open(root.path(), 14, now).expect("opened");
        daily.file = Some(OpenOptions::new().write(true).open("/dev/full").expect("a full disk"));
        let error = daily.write("lost\n", now, start).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        daily.write("kept\n", now, start + Duration::from_secs(2)).expect("written");
        assert_eq!(read(root.path(), "hobnob.2026-11-24.log"), "\nkept\n");
    }

    #[test]
    fn the_thread_writes_what_was_queued_before_the_flush() {
        let root = tempfile::tempdir().expect("a directory");
        let files = Files::new(Arc::default());
        files.write("before\n".to_owned());
        files.use_dir(Some(root.path()), 14).expect("opened");
        assert!(files.are_open());
        files.write("line\n".to_owned());
        files.flush();
        let [name] = &*names(root.path()) else { panic!("one file") };
        assert_eq!(read(root.path(), name), "line\n");
        files.use_dir(None, 14).expect("closed");
        assert!(!files.are_open());
        let blocked = root.path().join("blocked");
        fs::write(&blocked, "in the way").expect("written");
        assert!(files.use_dir(Some(&blocked), 14).is_err());
    }
}
