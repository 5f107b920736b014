//! The socket file: when it is made, replaced and removed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{DoorError, listen};

fn socket(dir: &Path) -> PathBuf {
    dir.join("hobnob.sock")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_has_its_permissions_and_goes_with_its_server() {
    let dir = tempfile::tempdir().expect("a directory");
    for wanted in [0o600, 0o660] {
        let (listener, file) = listen(&socket(dir.path()), wanted).await.expect("made");
        assert_eq!(mode(&socket(dir.path())), wanted);
        drop((listener, file));
        assert!(!socket(dir.path()).exists());
    }
}

#[tokio::test]
async fn the_socket_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (listener, file) = listen(&socket(dir.path()), 0o600).await.expect("made");
    let refused = listen(&socket(dir.path()), 0o600).await.expect_err("taken");
    assert!(matches!(refused, DoorError::InUse { .. }), "{refused}");
    drop(listener);
    // As long as it has another name, its number is not given to the next file.
    fs::hard_link(socket(dir.path()), dir.path().join("kept")).expect("linked");
    let second = listen(&socket(dir.path()), 0o600).await.expect("nobody listens any more");
    // The first one leaves what is not its own.
    drop(file);
    assert!(socket(dir.path()).exists());
    drop(second);
    assert!(!socket(dir.path()).exists());
}

#[tokio::test]
async fn what_is_no_socket_is_not_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(socket(dir.path()), "precious").expect("written");
    let refused = listen(&socket(dir.path()), 0o600).await.expect_err("in the way");
    assert!(matches!(refused, DoorError::InTheWay { .. }), "{refused}");
    assert_eq!(fs::read(socket(dir.path())).expect("there"), b"precious");
}

#[tokio::test]
async fn a_path_that_no_socket_can_have_is_refused_with_its_length() {
    let refused = listen(&Path::new("/tmp").join("x".repeat(103)), 0o600).await.expect_err("too long");
    assert!(refused.to_string().contains("has 108 bytes, at most 107 are possible"), "{refused}");
}
