//! The layout of the code, proved: who imports whom, how long files are, and what is in none of them.
//!
//! The rules are those of ARCHITECTURE.md. `LAYERS` and `ROOMS` are their tables: a new module or room has to be entered there.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report, in its helpers, too"
)]

#[path = "tidy/source.rs"]
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use hobnob::{
    codes::{ErrorCode, Retry},
    reference::Reference,
};
use source::{Source, Use};

/// The modules of the crate, top to bottom. A row may import the rows above it.
const LAYERS: &[Row] = &[
    Row::Free(&["ids", "clock", "codes", "setting"]),
    Row::Free(&["protocol"]),
    Row::Apart(&["telemetry", "http", "storage"]),
    Row::Free(&["cluster"]),
    Row::Free(&["transport"]),
    Row::Free(&["server"]),
    Row::Free(&["features"]),
    Row::Free(&["reference"]),
    Row::Free(&["admin"]),
    Row::Free(&["config"]),
    Row::Free(&["app"]),
    Row::Free(&["cli"]),
];

/// Modules side by side.
enum Row {
    /// They may import each other.
    Free(&'static [&'static str]),
    /// They do not know of each other.
    Apart(&'static [&'static str]),
}

/// The rooms of `features`, each with those that it builds on. What those build on is allowed, too.
const ROOMS: &[(&str, &[&str])] = &[
    ("compat", &[]),
    ("users", &[]),
    ("auth", &["users"]),
    ("rate_limits", &["auth"]),
    ("heartbeat", &["auth"]),
    ("elsewhere", &[]),
    ("conversations", &["auth", "elsewhere"]),
    ("typing", &["conversations"]),
    ("last_seen", &["conversations"]),
    ("presence", &["conversations"]),
    ("status", &["presence"]),
    ("notifications", &["status"]),
    ("messages", &["conversations", "notifications"]),
    ("reactions", &["messages"]),
    ("message_locks", &["messages"]),
    ("missed_messages", &["messages"]),
    ("receipts", &["messages", "last_seen"]),
    ("offline_queue", &["receipts"]),
    ("parked_sessions", &[]),
];

/// Files beside the rooms that join them, as `features/mod.rs` does. No room may import them.
const JOINTS: &[&str] = &["session", "testing", "several_nodes", "backend"];

const MAX_LINES: usize = 500;
const MAX_LINES_OF_TESTS: usize = 800;

/// What is written here while it runs, and not ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "__pycache__", "hobnob-data", "corpus", "artifacts"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `dir`, as paths from the root of the repository.
fn files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(dir)];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) || name.ends_with("venv") {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The Rust files of the library, the binary, the examples and all tests.
fn rust_files() -> Vec<Source> {
    let dirs = ["src", "tests", "examples", "benches"];
    let files =
        dirs.into_iter().flat_map(files).filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.map(|path| Source::new(&path, &fs::read_to_string(root().join(&path)).expect("UTF-8"))).collect()
}

fn library_files() -> Vec<Source> {
    rust_files().into_iter().filter(|file| file.path.starts_with("src")).collect()
}

#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// The row of a module.
fn row_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(Row::Free(modules) | Row::Apart(modules))| modules.contains(&module))
}

/// Why one module of the crate may not import another.
fn layer_violation(from: &str, to: &str) -> Option<String> {
    let Some(from_row) = row_of(from) else { return Some(format!("`{from}` is in no layer")) };
    let Some(to_row) = row_of(to) else { return Some(format!("`{to}` is in no layer")) };
    let apart = matches!(LAYERS[from_row], Row::Apart(_));
    let is_wrong = from != to && (to_row > from_row || (to_row == from_row && apart));
    is_wrong.then(|| format!("`{from}` may not import `{to}`"))
}

/// All rooms that `room` may build on.
fn foundations(room: &str) -> BTreeSet<&'static str> {
    let direct = ROOMS.iter().filter(|(name, _)| *name == room).flat_map(|(_, on)| on.iter().copied());
    direct.flat_map(|on| foundations(on).into_iter().chain([on])).collect()
}

/// Why one room may not use this path into another. `path` begins after `crate::features`.
fn room_violation(from: &str, path: &[String]) -> Option<String> {
    let to = path.first()?.as_str();
    let is_room = ROOMS.iter().any(|(room, _)| *room == to);
    if from == to || JOINTS.contains(&from) || !(is_room || JOINTS.contains(&to)) {
        return None;
    }
    if !foundations(from).contains(to) {
        return Some(format!("room `{from}` does not build on room `{to}`"));
    }
    let reaches_in = path.len() > 2 && path[1].starts_with(|c: char| c.is_ascii_lowercase());
    reaches_in.then(|| format!("room `{from}` reaches into `{to}::{}`: use what its mod.rs exports", path[1]))
}

/// Why a file of the library may not use this path.
fn violation(file: &Source, used: &Use) -> Option<String> {
    let from = file.module.first()?;
    let to = used.path.first()?;
    layer_violation(from, to).or_else(|| {
        let room = file.module.get(1).filter(|_| from == "features" && to == "features")?;
        room_violation(room, &used.path[1..])
    })
}

fn import_violations(files: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.is_test()) {
        for used in file.uses() {
            if let Some(violation) = violation(file, &used) {
                findings.push(format!("{}:{}: {violation}", file.path.display(), used.line));
            }
        }
    }
    findings
}

/// Lines of `text` that contain `needle`, as findings.
fn findings(file: &Source, text: &str, needle: &str, why: &str) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(needle));
    lines.map(|(index, _)| format!("{}:{}: {why}", file.path.display(), index + 1)).collect()
}

#[test]
fn imports_point_upwards_only() {
    assert_none(&import_violations(&library_files()));
}

#[test]
fn every_module_has_a_layer_and_every_feature_a_room() {
    let is_entered = |room: &str| JOINTS.contains(&room) || ROOMS.iter().any(|(name, _)| *name == room);
    let mut findings = Vec::new();
    for file in library_files() {
        match file.module.as_slice() {
            [feature, room, ..] if feature == "features" && !is_entered(room) => {
                findings.push(format!("{}: `{room}` is neither in ROOMS nor in JOINTS", file.path.display()));
            }
            [module, ..] if row_of(module).is_none() => {
                findings.push(format!("{}: `{module}` is not in LAYERS", file.path.display()));
            }
            [] | [..] => {}
        }
    }
    assert_none(&findings);
}

#[test]
fn files_are_short_enough_to_read() {
    let limit = |file: &Source| if file.is_test() { MAX_LINES_OF_TESTS } else { MAX_LINES };
    let long = rust_files().into_iter().filter(|file| file.text.lines().count() > limit(file));
    let findings: Vec<_> =
        long.map(|file| format!("{}: more than {} lines", file.path.display(), limit(&file))).collect();
    assert_none(&findings);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = rust_files().into_iter().filter(|file| !file.text.starts_with("//!"));
    let findings: Vec<_> = silent.map(|file| format!("{}: does not begin with `//!`", file.path.display())).collect();
    assert_none(&findings);
}

#[test]
fn no_test_is_ignored_and_none_sleeps() {
    let mut all = Vec::new();
    for file in rust_files() {
        all.extend(findings(
            &file,
            &file.code,
            "#[ignore",
            "an ignored test: assert today's behaviour and say why it is wrong",
        ));
        // The benchmark measures time; it is no test.
        if file.path.starts_with("benches") {
            continue;
        }
        let tests = if file.is_test() { file.code.clone() } else { file.inline_tests() };
        for (line, function) in source::calls(&tests, "sleep") {
            if !function.contains("deadline") {
                all.push(format!("{}:{line}: a sleep: wait for an event, with a deadline", file.path.display()));
            }
        }
    }
    assert_none(&all);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let files = library_files().into_iter().filter(|file| !file.is_test());
    let all: Vec<_> = files.flat_map(|file| findings(&file, &file.product(), ".unwrap()", "an unwrap")).collect();
    assert_none(&all);
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let places = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    let mut findings = Vec::new();
    for path in files("") {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (index, line) in
            text.lines().enumerate().filter(|(_, line)| places.iter().any(|place| line.contains(place)))
        {
            findings.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
        }
    }
    assert_none(&findings);
}

#[test]
fn the_example_configuration_is_what_the_binary_prints() {
    let committed = fs::read_to_string(root().join("config.example.toml")).expect("UTF-8");
    let is_current = committed == hobnob::config::example();
    assert!(is_current, "run: cargo run -- default-config > config.example.toml");
}

#[test]
fn every_error_code_is_documented_as_it_is_in_the_code() {
    let committed = fs::read_to_string(root().join("docs/codes.md")).expect("UTF-8");
    for code in ErrorCode::ALL {
        let meaning: Vec<_> = code.meaning().lines().map(str::trim).collect();
        let again = match code.retry() {
            Retry::Never => "no",
            Retry::AfterLogin => "after signing in again",
            Retry::Later => "later, with the same client key",
        };
        let (meaning, status) = (meaning.join(" "), code.http_status());
        let section = format!("\n## {code}\n\n{meaning}\n\nHTTP status {status}. The same request again: {again}.\n");
        assert!(committed.contains(section.trim_end()), "docs/codes.md lacks or contradicts:{section}");
    }
    assert_eq!(committed.matches("\n## ").count(), ErrorCode::ALL.len());
}

fn reference() -> Reference {
    hobnob::app::reference::reference().expect("an empty store in memory")
}

#[test]
fn the_text_on_events_is_what_the_binary_prints() {
    let committed = fs::read_to_string(root().join("docs/events.md")).expect("UTF-8");
    let is_current = committed == reference().events();
    assert!(is_current, "run: cargo run -- schema events > docs/events.md");
}

/// By the declarations in the text: an event that no list names would be in no document.
#[test]
fn every_event_is_documented() {
    let reference = reference();
    for file in library_files().into_iter().filter(|file| !file.is_test()) {
        let names = file.text.lines().filter_map(|line| line.trim().strip_prefix("const NAME: &'static str = \""));
        for name in names.filter_map(|rest| rest.strip_suffix("\";")) {
            assert!(reference.events().contains(&format!("`{name}`")), "docs/events.md lacks {name}");
            assert!(reference.types().contains(&format!("    '{name}': ")), "/types.d.ts lacks {name}");
            assert!(reference.asyncapi().contains(&format!("\"name\": \"{name}\"")), "/asyncapi.json lacks {name}");
        }
    }
}

/// The checks above find what they look for.
mod on_bad_code {
    use super::*;

    fn violations(path: &str, text: &str) -> Vec<String> {
        import_violations(&[Source::new(Path::new(path), text)])
    }

    #[test]
    fn an_import_from_below_is_found() {
        let text = "//! Doc.\nuse std::fmt;\nuse crate::{\n    clock,\n    server::{Room, Socket},\n};\n";
        assert_eq!(
            violations("src/transport/poll.rs", text),
            ["src/transport/poll.rs:5: `transport` may not import `server`"; 2]
        );
        assert_eq!(violations("src/server/room.rs", text), [""; 0]);
    }

    #[test]
    fn a_path_in_the_code_is_an_import_and_a_comment_is_none() {
        let text = "//! See crate::app.\nfn f() -> &'static str {\n    crate::app::run(); // crate::cli\n    \"crate::cli\"\n}\n";
        assert_eq!(violations("src/storage/x.rs", text), ["src/storage/x.rs:3: `storage` may not import `app`"]);
    }

    #[test]
    fn a_way_up_and_down_again_is_an_import() {
        let found = violations("src/protocol/socketio/packet.rs", "use super::super::super::transport::Session;");
        assert_eq!(found, ["src/protocol/socketio/packet.rs:1: `protocol` may not import `transport`"]);
        assert_eq!(violations("src/protocol/socketio/mod.rs", "use super::engineio::Packet;"), [""; 0]);
    }

    #[test]
    fn modules_of_a_row_apart_do_not_know_each_other() {
        assert_eq!(
            violations("src/http/mod.rs", "use crate::storage::Table;"),
            ["src/http/mod.rs:1: `http` may not import `storage`"]
        );
        assert_eq!(violations("src/ids.rs", "use crate::clock::Timestamp;"), [""; 0]);
        assert_eq!(violations("src/ids.rs", "use crate::util::Timestamp;"), ["src/ids.rs:1: `util` is in no layer"]);
    }

    #[test]
    fn rooms_build_on_each_other_in_one_order_and_through_the_door() {
        let text = "use crate::features::{messages::Message, presence::Presence, conversations::store::ROWS};\n";
        assert_eq!(
            violations("src/features/messages/socket.rs", text),
            [
                "src/features/messages/socket.rs:1: room `messages` reaches into `conversations::store`: use what its mod.rs exports"
            ]
        );
        let text = "use super::super::messages::Message;\n";
        assert_eq!(
            violations("src/features/typing/socket.rs", text),
            ["src/features/typing/socket.rs:1: room `typing` does not build on room `messages`"]
        );
        assert_eq!(
            violations("src/features/mod.rs", "use self::messages::Message;\nuse crate::features::typing::EVENTS;"),
            [""; 0]
        );
    }

    #[test]
    fn tests_may_import_what_they_like() {
        let text = "use crate::clock;\n#[cfg(test)]\nmod tests {\n    use crate::app;\n}\nuse crate::cli;\n";
        assert_eq!(violations("src/http/mod.rs", text), ["src/http/mod.rs:6: `http` may not import `cli`"]);
        assert_eq!(violations("src/http/tests.rs", "use crate::app;"), [""; 0]);
    }

    #[test]
    fn a_sleep_is_found_but_for_the_one_of_a_deadline() {
        let code = "async fn a() {\n    tokio::time::sleep(x).await;\n}\nfn with_deadline() {\n    sleep(y);\n}\n";
        assert_eq!(source::calls(code, "sleep"), [(2, "a".to_owned()), (5, "with_deadline".to_owned())]);
    }
}
