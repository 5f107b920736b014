//! P21, P22, P35: the server starts on a sound directory that nobody else uses, or not at all.

use std::{collections::BTreeMap, fs, net::TcpListener, path::Path};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::support::{
    client::Client,
    command::{Ended, Sandbox},
    process::{DATA, Server, Starting},
    token,
};

const DATABASE: &str = "data/hobnob.redb";

/// Runs `serve`, which must end by itself.
fn serve(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    let arguments = [&["serve"], arguments].concat();
    sandbox.run_with("JWT_SECRET", token::SECRET, &arguments)
}

/// Every file of a directory, with its bytes.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).expect("read"))).collect()
}

/// A directory in which a server has kept ten messages; the conversation's id.
async fn used() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ben"]).await;
    for n in 0..10 {
        ann.ok("message:send", json!({"conversationId": id, "content": format!("message {n}")})).await;
    }
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
    (sandbox, id)
}

#[tokio::test]
async fn p22_a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ben"]).await;
    let line = serve(&sandbox, &["--listen", "127.0.0.1:0", "--data-dir", DATA]).failed(75);
    assert!(line.starts_with("the data directory data is in use by another process; stop that one, or"), "{line}");
    assert_eq!(ann.ok("message:send", json!({"conversationId": id, "content": "still here"})).await["seq"], 1);
    // The lock of a server that was killed keeps nobody out.
    server.kill().await;
    Server::start(&sandbox).await;
}

#[test]
fn p35_a_port_that_is_taken_is_named_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let sandbox = Sandbox::new();
    let line = serve(&sandbox, &["--listen", &address]).failed(69);
    let expected = format!("cannot listen on {address}: another program listens there: stop it, or choose another");
    assert!(line.starts_with(&expected), "{line}");
    let line = serve(&sandbox, &["--listen", "192.0.2.1:4000"]).failed(78);
    assert!(line.starts_with("cannot listen on 192.0.2.1:4000: this machine has no such address"), "{line}");
}

/// Directories that not even root can write to.
#[test]
fn p35_a_data_directory_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::new().with("file", "not a directory");
    for dir in ["file/data", "file", "/proc/hobnob"] {
        let line = serve(&sandbox, &["--listen", "127.0.0.1:0", "--data-dir", dir]).failed(73);
        assert!(line.starts_with(&format!("cannot create the data directory {dir}: ")), "{line}");
    }
    assert_eq!(fs::read(sandbox.path("file")).expect("kept"), b"not a directory");
}

#[test]
fn p35_a_broken_setting_is_found_by_file_line_and_nearest_key() {
    let sandbox =
        Sandbox::new().with("config.toml", "[server]\nlisten = '127.0.0.1:0'\nclient_orign = ['https://a.b']\n");
    let line = serve(&sandbox, &[]).failed(78);
    let expected = "config.toml:3: unknown key `server.client_orign`; did you mean `server.client_origin`?";
    assert_eq!(line, expected);
}

#[tokio::test]
async fn p35_a_database_that_is_none_is_refused_by_name_and_left_as_it_is() {
    let (sandbox, _) = used().await;
    let sound = fs::read(sandbox.path(DATABASE)).expect("a database");
    let variants: [(&str, &[u8]); 6] = [
        ("is empty; restore a backup", b""),
        ("is not a Hobnob database", b"SQLite format 3\0"),
        ("is not a Hobnob database", b"redb"),
        ("is damaged: ", &sound[..sound.len() / 2]),
        ("is damaged: ", &sound[..100]),
        ("is damaged: ", &sound[..9]),
    ];
    for (expected, bytes) in variants {
        fs::write(sandbox.path(DATABASE), bytes).expect("written");
        let before = contents(&sandbox.path(DATA));
        let line = serve(&sandbox, &["--listen", "127.0.0.1:0", "--data-dir", DATA]).failed(65);
        assert!(line.starts_with(&format!("{DATABASE} {expected}")), "{line}");
        assert_eq!(contents(&sandbox.path(DATA)), before, "something was changed: {line}");
    }
    fs::write(sandbox.path("data/FORMAT"), "2\n").expect("written");
    let line = serve(&sandbox, &["--listen", "127.0.0.1:0", "--data-dir", DATA]).failed(65);
    assert!(line.starts_with("data/hobnob.redb has format 2 and this version knows up to 1"), "{line}");
    fs::write(sandbox.path("data/FORMAT"), "1\n").expect("written");
    fs::remove_file(sandbox.path(DATABASE)).expect("removed");
    let line = serve(&sandbox, &["--listen", "127.0.0.1:0", "--data-dir", DATA]).failed(65);
    assert!(line.starts_with("data/hobnob.redb is missing, but FORMAT beside it"), "{line}");
    assert!(!sandbox.path(DATABASE).exists(), "a missing database was made anew");
}

/// Bits flipped and pages zeroed by seed: the server does not start, or serves what was stored, or says that it cannot.
#[tokio::test]
async fn p21_a_damaged_database_never_yields_wrong_data() {
    let (sandbox, id) = used().await;
    let sound = contents(&sandbox.path(DATA));
    // Most of a young file is empty: what is hit must be something.
    let bytes = sound["hobnob.redb"].iter().enumerate();
    let written: Vec<usize> = bytes.filter(|(_, byte)| **byte != 0).map(|(place, _)| place).collect();
    let (mut refused, mut started) = (0, 0);
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = sound["hobnob.redb"].clone();
        let place = written[random.random_range(0..written.len())];
        if seed % 3 == 0 {
            let page = place / 4096 * 4096;
            bytes[page..page + 4096].fill(0);
        } else {
            bytes[place] ^= 1 << random.random_range(0..8);
        }
        for (name, bytes) in &sound {
            fs::write(sandbox.path(&format!("{DATA}/{name}")), bytes).expect("written");
        }
        fs::write(sandbox.path(DATABASE), &bytes).expect("written");
        let mut starting = Starting::spawn(&sandbox, &[]);
        if starting.address().await.is_some() {
            let server = starting.listening().await;
            assert_true_or_refused(&server, &id, seed).await;
            server.kill().await;
            started += 1;
        } else {
            let (status, log) = starting.ended().await;
            assert_eq!(status.code(), Some(65), "seed {seed}: {log}");
            let is_one_line = log.starts_with("hobnob: data/hobnob.redb ") && log.lines().count() == 1;
            assert!(is_one_line, "seed {seed}: {log}");
            assert!(contents(&sandbox.path(DATA))["hobnob.redb"] == bytes, "seed {seed}: changed");
            refused += 1;
        }
    }
    assert!(refused > 5 && started > 0, "{refused} {started}");
}

async fn assert_true_or_refused(server: &Server, id: &str, seed: u64) {
    let auth = json!({"token": token::of("ann")});
    let Ok(ann) = Client::join(server.address, "/", auth).await else { return };
    let page = ann.call("get-missed-messages", &json!({"conversationId": id})).await.expect("an ack");
    if page["ok"] == true {
        let messages = page["messages"].as_array().expect("a list");
        let texts: Vec<_> = messages.iter().map(|message| message["content"].as_str().expect("a text")).collect();
        let expected: Vec<_> = (0..10).map(|n| format!("message {n}")).collect();
        assert_eq!(texts, expected, "seed {seed}");
    } else {
        let code = page["code"].as_str().expect("a code");
        assert!(["internal", "not_found", "unavailable"].contains(&code), "seed {seed}: {page}");
    }
}
