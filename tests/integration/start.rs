//! What stops a start, and what the first server of a data directory has to fear from a second one: nothing.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use crate::support::{command::Sandbox, serving::Serving};

#[test]
fn p35_a_port_in_use_is_told_with_the_address() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("bound").to_string();
    let line = sandbox.run(&["serve", "--listen", &taken]).failed(69);
    assert!(line.starts_with(&format!("cannot listen on {taken}: ")), "{line}");
}

#[test]
fn p35_a_data_directory_that_cannot_be_made_or_written_is_told() {
    let sandbox = Sandbox::new().with("a-file", "");
    for dir in ["a-file", "a-file/below"] {
        let line = sandbox.run(&["serve", "--listen", "0", "--data-dir", dir]).failed(73);
        assert!(line.starts_with(&format!("cannot create {dir}: ")), "{line}");
    }
    fs::create_dir(sandbox.path("locked")).expect("made");
    fs::set_permissions(sandbox.path("locked"), fs::Permissions::from_mode(0o500)).expect("ours");
    if fs::write(sandbox.path("locked/probe"), "").is_err() {
        sandbox.run(&["serve", "--listen", "0", "--data-dir", "locked"]).failed(77);
    }
}

#[test]
fn p22_a_second_server_is_refused_and_leaves_the_first_alone() {
    let sandbox = Sandbox::new();
    let first = Serving::start(&sandbox);
    let line = sandbox.run(&["serve", "--listen", "0"]).failed(75);
    assert!(line.contains("./hobnob-data is in use by another process"), "{line}");
    sandbox.run(&["health", "--url", first.url()]).succeeded();

    // Nor is the lock of a killed server in anybody's way.
    first.signal("KILL");
    assert_eq!(first.ended().code(), None);
    let again = Serving::start(&sandbox);
    again.signal("TERM");
    assert_eq!(again.ended().code(), Some(0));
}

#[test]
fn the_first_start_makes_a_secret_that_only_its_owner_can_read_and_token_sign_uses_it() {
    let sandbox = Sandbox::new();
    let server = Serving::start(&sandbox);
    let mode = fs::metadata(sandbox.path("hobnob-data/jwt_secret")).expect("made").mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = sandbox.run(&["token", "sign", "--user", "alice"]).succeeded();
    assert_eq!(token.split('.').count(), 3);
    assert!(server.url().starts_with("http://127.0.0.1:"));
}
