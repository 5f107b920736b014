//! Opening: where the database is, and why it may not be opened.
//!
//! The data directory holds `hobnob.redb` and, written after it, `FORMAT` with the number of the format. So a database
//! that has gone missing is told from one that never was, and an older server knows that it must not touch the file.

use std::{
    cell::Cell,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use redb::{Builder, Database, ReadableDatabase, TableDefinition, TableError, backends::FileBackend};

use super::{
    disk::{Disk, Replay},
    open_error::OpenError,
    table::META,
    trial::Trial,
};

/// The format that this server writes: the tables, their keys, the envelope of records and the journal.
pub(crate) const FORMAT: u64 = 1;

const DATABASE_FILE: &str = "hobnob.redb";
const FORMAT_FILE: &str = "FORMAT";

/// What a redb file begins with.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// Facts about the database itself.
const META_ROWS: TableDefinition<'static, &'static str, u64> = TableDefinition::new(META);
const FORMAT_ROW: &str = "format";

/// Where the database is and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The data directory. It is made, for the owner alone, when it does not exist.
    pub dir: PathBuf,
    /// Most bytes of the file that are kept in memory.
    pub cache_bytes: usize,
    /// Read the whole file on opening and compare the checksums of its pages: 2 to 4 s per GB. Without it, damage is
    /// found when the damaged record is read.
    pub verify: bool,
    /// When rows move from the journal to their tables.
    pub filing: Filing,
}

/// When the rows of the journal are filed into their tables: the first limit that is reached counts. Until then they
/// are also in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filing {
    /// Rows that wait.
    pub rows: usize,
    /// Bytes of keys and values that wait.
    pub bytes: usize,
    /// Time without a commit.
    pub idle: Duration,
    /// Rows that are filed at a time, between or along with commits; more while more come in.
    pub slice: usize,
}

impl Default for Filing {
    fn default() -> Self {
        Self { rows: 65_536, bytes: 32 << 20, idle: Duration::from_secs(1), slice: 512 }
    }
}

impl Config {
    /// The database in `dir`, with a cache of 64 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), cache_bytes: 64 << 20, verify: false, filing: Filing::default() }
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.dir.join(DATABASE_FILE)
    }
}

/// An open database that has proved to be sound.
pub(crate) struct Opened {
    pub(crate) disk: Disk,
    pub(crate) replay: Replay,
    /// Held for as long as the database is open.
    pub(crate) lock: File,
}

/// Opens the database of `config`, or makes an empty one where none has been.
pub(crate) fn open(config: &Config) -> Result<Opened, OpenError> {
    let dir = &config.dir;
    let (database, marker) = (config.database(), dir.join(FORMAT_FILE));
    make_dir(dir)?;
    let lock = lock_dir(dir)?;
    let format = read_marker(&marker)?;
    let exists = fs::exists(&database).map_err(|source| OpenError::io(&database, source))?;
    match (format, exists) {
        (Some(found), _) if found > FORMAT => return Err(OpenError::Newer { path: database, found }),
        (Some(_), false) => return Err(OpenError::Missing { path: database }),
        (None, false) => create(dir, &database)?,
        (_, true) => {}
    }
    let trial = Trial::new(open_file(&database)?);
    let (disk, replay) = quietly(|| examine(&trial, config, &database)).unwrap_or_else(|panic| {
        let detail = format!("the database library panicked: {panic}");
        Err(OpenError::Damaged { path: database.clone(), detail })
    })?;
    trial.release().map_err(|source| OpenError::io(&database, source))?;
    if format.is_none() {
        // Also after a crash between the two files.
        replace_file(dir, &marker, |file| writeln!(file, "{FORMAT}"))?;
    }
    Ok(Opened { disk, replay, lock })
}

thread_local! {
    static EXAMINING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `examine` and gives its panic, in one line. Nothing else is told of it: the start ends with the reason, and a trace
/// of the library on the operator's terminal would only hide it.
fn quietly<T>(examine: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !EXAMINING.get() {
                tell(info);
            }
        }));
    });
    EXAMINING.set(true);
    let result = catch_unwind(AssertUnwindSafe(examine));
    EXAMINING.set(false);
    result.map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        message.lines().next().unwrap_or_default().to_owned()
    })
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| match OpenError::io(dir, source) {
        OpenError::Io { path, source } => OpenError::CreateDir { path, source },
        other => other,
    })
}

/// Keeps other processes out from the first look on: redb's own lock comes too late for the making of the file.
fn lock_dir(dir: &Path) -> Result<File, OpenError> {
    let lock = File::open(dir).map_err(|source| OpenError::io(dir, source))?;
    match lock.try_lock() {
        // Some network file systems cannot lock a directory; there redb's lock on the file has to do.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
    }
}

fn read_marker(marker: &Path) -> Result<Option<u64>, OpenError> {
    match fs::read_to_string(marker) {
        Ok(text) => match text.trim().parse() {
            Ok(format) => Ok(Some(format)),
            Err(_) => Err(OpenError::Damaged { path: marker.to_owned(), detail: "it should be a number".to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(OpenError::Damaged { path: marker.to_owned(), detail: "it should be a number".to_owned() })
        }
        Err(source) => Err(OpenError::io(marker, source)),
    }
}

/// Opens a file that looks like a redb database.
fn open_file(database: &Path) -> Result<FileBackend, OpenError> {
    let failed = |source| OpenError::io(database, source);
    let mut file = OpenOptions::new().read(true).write(true).open(database).map_err(failed)?;
    let mut start = Vec::new();
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    if start.is_empty() {
        return Err(OpenError::Empty { path: database.to_owned() });
    }
    if start != MAGIC {
        return Err(OpenError::NotADatabase { path: database.to_owned() });
    }
    FileBackend::new(file).map_err(|error| OpenError::redb(database, error.into()))
}

/// Reads all that has to be sound before the server may start.
fn examine(trial: &Trial, config: &Config, path: &Path) -> Result<(Disk, Replay), OpenError> {
    let failed = |error| OpenError::redb(path, error);
    let mut builder = Builder::new();
    builder.set_cache_size(config.cache_bytes).set_check_integrity_on_open(config.verify);
    let db = builder.create_with_backend(trial.clone()).map_err(|error| failed(error.into()))?;
    match format_of(&db).map_err(failed)? {
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => return Err(OpenError::Newer { path: path.to_owned(), found }),
        _ => return Err(OpenError::NotADatabase { path: path.to_owned() }),
    }
    let disk = Disk::new(db);
    let replay = disk.replay().map_err(failed)?;
    Ok((disk, replay))
}

fn format_of(db: &Database) -> Result<Option<u64>, redb::Error> {
    match db.begin_read()?.open_table(META_ROWS) {
        Ok(meta) => Ok(meta.get(FORMAT_ROW)?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes an empty database under another name and moves it into place: there is never half a one.
fn create(dir: &Path, database: &Path) -> Result<(), OpenError> {
    replace_file(dir, database, |file| {
        let backend = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        initialize(Builder::new().create_with_backend(backend).map_err(io::Error::other)?).map_err(
            |error| match error {
                redb::Error::Io(error) => error,
                error => io::Error::other(error),
            },
        )
    })
}

/// Makes the tables that every database has.
pub(crate) fn initialize(db: Database) -> Result<(), redb::Error> {
    mark(&db)?;
    Ok(db.close()?)
}

fn mark(db: &Database) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(META_ROWS)?.insert(FORMAT_ROW, FORMAT)?;
    Ok(transaction.commit()?)
}

/// Makes the database of `config` from what `write` puts into it, in place of the one that may be there: under another name, and
/// moved into place when it is whole.
pub(crate) fn fill(config: &Config, write: impl FnOnce(&Disk) -> io::Result<()>) -> Result<(), OpenError> {
    let dir = &config.dir;
    make_dir(dir)?;
    let _lock = lock_dir(dir)?;
    let marker = dir.join(FORMAT_FILE);
    if let Some(found) = read_marker(&marker)?.filter(|found| *found > FORMAT) {
        return Err(OpenError::Newer { path: config.database(), found });
    }
    replace_file(dir, &config.database(), |file| {
        let backend = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        let mut builder = Builder::new();
        let db = builder.set_cache_size(config.cache_bytes).create_with_backend(backend).map_err(io::Error::other)?;
        mark(&db).map_err(io::Error::other)?;
        let disk = Disk::new(db);
        write(&disk)?;
        disk.close().map_err(io::Error::other)
    })?;
    replace_file(dir, &marker, |file| writeln!(file, "{FORMAT}"))
}

/// Writes a file for the owner alone that is there either whole or not at all, whatever happens.
fn replace_file(dir: &Path, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), OpenError> {
    let draft = path.with_added_extension("new");
    let written = (|| {
        // One that a crash left behind.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // The name is on disk only when the directory is.
        File::open(dir)?.sync_all()
    })();
    written.map_err(|source| {
        // Best effort: the error to report is the first one.
        drop(fs::remove_file(&draft));
        OpenError::io(path, source)
    })
}
