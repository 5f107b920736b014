//! What a database may look like when the server starts, and what is refused.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hobnob::{
    ids::MessageId,
    storage::{Batch, Config, OpenError, Store},
};

use crate::support::{Dir, MESSAGES, message};

const DATABASE: &str = "hobnob.redb";
const FORMAT: &str = "FORMAT";

async fn filled(dir: &Dir) -> PathBuf {
    let store = dir.open().expect("a fresh directory");
    for n in 0..100 {
        let mut batch = Batch::new();
        batch.put(&MESSAGES, &MessageId::from_bytes([n; 12]), &message(&format!("message {n}").repeat(20)));
        store.commit(batch).await.expect("stored");
    }
    store.close().await;
    dir.config().dir
}

/// Name, bytes and permissions of all that is in the directory.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let read = |entry: fs::DirEntry| {
        let mode = entry.metadata().expect("readable").permissions().mode();
        (entry.path(), (fs::read(entry.path()).expect("readable"), mode))
    };
    fs::read_dir(dir).expect("a directory").map(|entry| read(entry.expect("readable"))).collect()
}

/// Opens what must not be opened: one line that names the file, and nothing has changed.
fn refused(dir: &Dir) -> OpenError {
    let before = contents(&dir.config().dir);
    let error = dir.open().expect_err("not to be opened");
    assert!(before == contents(&dir.config().dir), "an open that failed changed something");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    assert!(text.contains(&dir.config().dir.display().to_string()), "{text}");
    error
}

#[tokio::test]
async fn a_new_directory_is_for_its_owner_alone() {
    let dir = Dir::new();
    let data = filled(&dir).await;
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join(DATABASE)), 0o600);
    assert_eq!(fs::read_to_string(data.join(FORMAT)).expect("there").trim(), "1");
    assert_eq!(contents(&data).len(), 2, "nothing but the database and its marker");
    dir.open().expect("closed in order");
}

#[tokio::test]
async fn a_database_that_has_gone_missing_is_not_replaced_by_an_empty_one() {
    let dir = Dir::new();
    let data = filled(&dir).await;
    fs::rename(data.join(DATABASE), dir.path().join("aside")).expect("moved");
    let error = refused(&dir);
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert_eq!(error.exit_code(), 65);

    File::create(data.join(DATABASE)).expect("made");
    let error = refused(&dir);
    assert!(matches!(error, OpenError::Empty { .. }), "{error}");
    assert_eq!(error.exit_code(), 65);
    fs::remove_file(data.join(FORMAT)).expect("removed");
    assert!(matches!(refused(&dir), OpenError::Empty { .. }), "without its marker, too");
}

#[tokio::test]
async fn a_crash_before_the_marker_was_written_is_mended() {
    let dir = Dir::new();
    let data = filled(&dir).await;
    fs::remove_file(data.join(FORMAT)).expect("removed");
    fs::write(data.join("hobnob.redb.new"), "half a database").expect("written");
    let store = dir.open().expect("whole");
    assert!(store.contains(&MESSAGES, &MessageId::from_bytes([7; 12])).expect("readable"));
    assert!(data.join(FORMAT).exists());
}

#[test]
fn a_draft_that_a_crash_left_behind_does_not_disturb() {
    let dir = Dir::new();
    fs::create_dir(dir.config().dir).expect("made");
    fs::write(dir.config().dir.join("hobnob.redb.new"), "half a database").expect("written");
    dir.open().expect("made anew");
    assert!(!dir.config().dir.join("hobnob.redb.new").exists());
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    let dir = Dir::new();
    let data = filled(&dir).await;
    fs::write(data.join(DATABASE), "Dear diary, today I will be opened as a database.\n").expect("written");
    let error = refused(&dir);
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
    assert_eq!(error.exit_code(), 65);

    fs::remove_file(data.join(DATABASE)).expect("removed");
    let foreign = redb::Database::create(data.join(DATABASE)).expect("made");
    drop(foreign);
    let error = refused(&dir);
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
}

#[tokio::test]
async fn a_later_format_is_refused() {
    let dir = Dir::new();
    let data = filled(&dir).await;
    fs::write(data.join(FORMAT), "2\n").expect("written");
    let error = refused(&dir);
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
    assert_eq!(error.exit_code(), 65);
    fs::write(data.join(FORMAT), "two\n").expect("written");
    assert!(matches!(refused(&dir), OpenError::Damaged { .. }));

    fs::write(data.join(FORMAT), "1\n").expect("written");
    let database = redb::Database::open(data.join(DATABASE)).expect("whole");
    let transaction = database.begin_write().expect("free");
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).expect("there").insert("format", 3).expect("written");
    transaction.commit().expect("written");
    drop(database);
    assert!(matches!(refused(&dir), OpenError::Newer { found: 3, .. }), "the database itself knows, too");
}

#[tokio::test]
async fn a_truncated_database_is_refused_and_left_as_it_is() {
    let dir = Dir::new();
    let data = filled(&dir).await;
    let whole = fs::read(data.join(DATABASE)).expect("readable");
    for len in [1, 9, 63, 64, 320, 512, 4_095, 4_096, 8_192, whole.len() / 2, whole.len() - 4_096] {
        fs::write(data.join(DATABASE), &whole[..len]).expect("written");
        let error = refused(&dir);
        assert_eq!(error.exit_code(), 65, "{len} bytes: {error}");
    }
    fs::write(data.join(DATABASE), &whole).expect("written");
    dir.open().expect("whole again");
}

#[tokio::test]
async fn verifying_finds_a_flipped_bit_at_the_start() {
    let dir = Dir::new();
    let data = filled(&dir).await;
    let mut bytes = fs::read(data.join(DATABASE)).expect("readable");
    // Also in pages that are free by now.
    let places: Vec<_> = (0..bytes.len() - 10).filter(|place| &bytes[*place..place + 10] == b"message 42").collect();
    assert!(!places.is_empty(), "stored as text");
    for place in places {
        bytes[place] ^= 1;
    }
    fs::write(data.join(DATABASE), &bytes).expect("written");
    dir.open().expect("not noticed without verifying");
    fs::write(data.join(DATABASE), &bytes).expect("written");
    let before = contents(&data);
    let error = Store::open(&Config { verify: true, ..dir.config() }).expect_err("damaged");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(before == contents(&data));
}

#[tokio::test]
async fn a_database_is_opened_once() {
    let dir = Dir::new();
    let store = dir.open().expect("a fresh directory");
    let error = dir.open().expect_err("open already");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert_eq!(error.exit_code(), 75);
    store.commit(Batch::new()).await.expect("the first is left alone");
    store.close().await;
    dir.open().expect("closed");
}

/// Not a test of its own: holds the database that the test below names open, until its input ends.
#[test]
fn holder() {
    let Ok(dir) = std::env::var("HOBNOB_TEST_HOLD") else { return };
    let store = Store::open(&Config::new(dir)).expect("a fresh directory");
    std::io::stdout().write_all(b"open\n").expect("piped");
    std::io::stdin().lines().for_each(drop);
    drop(store);
}

#[test]
fn a_second_process_is_refused() {
    let dir = Dir::new();
    let this = std::env::current_exe().expect("the test itself");
    let mut first = Command::new(this)
        .args(["opening::holder", "--exact", "--nocapture"])
        .env("HOBNOB_TEST_HOLD", dir.config().dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(first.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.expect("text").ends_with("open")));
    let error = dir.open().expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    first.stdin.take().expect("piped").flush().expect("open");
    assert!(first.wait().expect("ended").success());
    dir.open().expect("free");
}

#[test]
fn a_place_that_cannot_be_used_is_named() {
    let dir = Dir::new();
    fs::write(dir.path().join("file"), "").expect("written");
    let error = Store::open(&Config::new(dir.path().join("file"))).expect_err("no directory");
    assert!(matches!(error, OpenError::CreateDir { .. }), "{error}");
    assert_eq!(error.exit_code(), 73);
    // Nobody, not even root, may make directories there.
    let error = Store::open(&Config::new("/sys/hobnob")).expect_err("no place for files");
    assert!(matches!(error.exit_code(), 73 | 77), "{error}");
}
