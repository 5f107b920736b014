//! P19 and P20: a full disk is told at once and gets over by itself; a failing one ends the process in order.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::json;
use tokio::io::AsyncBufReadExt as _;

use super::{cpu_seconds, group, metrics, seen, time_passes, within_ready};
use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    process::{DATA, Server},
    token, within,
};

/// Size of the disk.
const MB: u64 = 64;
/// Must be free of it.
const FREE_MB: u64 = 16;

/// A small disk in memory, mounted where the server keeps its data. The tests run as root, as the ones that trace the server.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(sandbox: &Sandbox) -> Self {
        let at = sandbox.path(DATA);
        fs::create_dir(&at).expect("a directory");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={MB}m"), "tmpfs"]).arg(&at));
        Self { at }
    }

    /// Somebody else takes so much of it.
    fn fill(&self, megabytes: u64) {
        run(Command::new("fallocate").args(["-l", &format!("{megabytes}M")]).arg(self.at.join("filler")));
    }

    /// Somebody else takes all that is left.
    fn fill_up(&self) {
        let mut source = File::open("/dev/zero").expect("there");
        let mut filler = File::create(self.at.join("filler")).expect("created");
        std::io::copy(&mut source, &mut filler).expect_err("a full disk");
    }

    fn make_room(&self) {
        fs::remove_file(self.at.join("filler")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().expect("it runs");
    assert!(status.success(), "{command:?}: {status}");
}

fn min_free() -> String {
    (FREE_MB << 20).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn p19_with_too_little_room_writes_are_refused_and_all_else_goes_on_until_there_is_room() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(&sandbox);
    let free = min_free();
    let mut server = Server::start_with(&sandbox, &[("HOBNOB_STORAGE__MIN_FREE_BYTES", &free)]).await;
    let ann = Client::connect(server.address, "ann").await;
    let mut ben = Client::connect(server.address, "ben").await;
    let id = ann.group(&["ben"]).await;
    let draft = |text: &str| json!({"conversationId": id, "content": text, "clientId": text});
    let kept = ann.ok("message:send", draft("before")).await;
    ben.event("message:new").await;

    disk.fill(MB - FREE_MB + 2);
    let told = within_ready(&server, 503).await;
    assert_eq!(told["obstacles"], json!(["P19: the disk is full"]));
    for (event, payload) in [
        ("message:send", draft("during")),
        ("message:edit", json!({"messageId": kept["id"], "content": "changed"})),
        ("message:delete", json!({"messageId": kept["id"]})),
        ("message:react", json!({"messageId": kept["id"], "emoji": "👍"})),
        ("message:lock", json!({"messageId": kept["id"]})),
        ("conversation:create", json!({"type": "group", "participants": ["ben"], "name": "g"})),
        ("status:set", json!({"status": "busy"})),
    ] {
        ann.refused("storage_full", event, payload).await;
    }
    let answer = http::call(server.address, &token::of("ann"), "POST", "/api/messages", &draft("during")).await;
    assert_eq!(answer.refusal(), (507, "storage_full".to_owned()));
    // Reads, what is told live, and new connections of those who are known.
    let again = Client::connect(server.address, "ben").await;
    let (messages, ..) = again.missed(json!({}), 10).await.expect("an ack");
    assert_eq!(messages.iter().map(|message| &message["content"]).collect::<Vec<_>>(), ["before"]);
    ann.emit("user:typing", &json!({"conversationId": id, "isTyping": true}));
    assert_eq!(ben.event("user:typing").await["conversationId"], id.as_str());
    // Whatever goes on in the background does not insist.
    let before = cpu_seconds(&server);
    server.logged("the disk is full", 1).await;
    time_passes(2.0).await;
    let used = cpu_seconds(&server) - before;
    assert!(used < 0.5, "{used} s of 2 s");

    disk.make_room();
    within_ready(&server, 200).await;
    ann.ok("message:send", draft("during")).await;
    assert_eq!(ben.event("message:new").await["content"], "during", "what was refused left nothing behind");
    let (_, messages) = seen(&server, "ben", &id).await;
    assert_eq!(messages.len(), 2);
    let told = metrics(&server).await;
    assert!(told.contains("hobnob_refusals_total{code=\"storage_full\"} 8\n"), "{told}");
    assert!(server.calm_log().contains("\"storage_full\""), "it is logged without being asked for");
    ann.emit("heartbeat", &json!({}));
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
}

/// Not a byte is left, and the server is killed: it comes back, shows what it has, and waits for room.
#[tokio::test(flavor = "multi_thread")]
async fn p19_on_a_disk_without_any_room_the_server_starts_reads_and_recovers() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(&sandbox);
    let (free, nothing) = (min_free(), "0".to_owned());
    let server = Server::start_with(&sandbox, &[("HOBNOB_STORAGE__MIN_FREE_BYTES", &nothing)]).await;
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ann", "ben"]).await;
    ann.ok("message:send", json!({"conversationId": id, "content": "before"})).await;
    server.kill().await;
    disk.fill_up();
    let server = Server::start_with(&sandbox, &[("HOBNOB_STORAGE__MIN_FREE_BYTES", &free)]).await;
    assert_eq!(
        within_ready(&server, 503).await["obstacles"],
        json!(["P19: the disk is full"]),
        "from the first moment on"
    );
    let ann = Client::connect(server.address, "ann").await;
    let draft = json!({"conversationId": id, "content": "after"});
    ann.refused("storage_full", "message:send", draft.clone()).await;
    // Longer than what was replayed waits before it is filed.
    time_passes(3.0).await;
    assert_eq!(ann.missed(json!({}), 10).await.expect("an ack").0.len(), 1);
    disk.make_room();
    within_ready(&server, 200).await;
    ann.ok("message:send", draft).await;
    server.calm_log();
}

/// From now on each call of these kinds fails for the server; strace is killed with the test.
async fn fail(server: &Server, calls: &str, error: &str) -> tokio::process::Child {
    let (id, inject) = (server.id().to_string(), format!("inject={calls}:error={error}"));
    let mut command = tokio::process::Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject, "-p", &id]);
    command.stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("strace is installed");
    let stderr = child.stderr.take().expect("piped");
    let mut lines = tokio::io::BufReader::new(stderr).lines();
    let line = within("strace to attach", lines.next_line()).await.expect("readable").expect("a line");
    assert!(line.contains("attached"), "{line}");
    child
}

/// The batch may be on the disk or not; whoever repeats it with its key gets one message in any case.
#[tokio::test(flavor = "multi_thread")]
async fn p20_after_an_error_of_the_disk_the_process_ends_with_its_code_and_the_next_one_has_everything_once() {
    let sandbox = Sandbox::new();
    let mut kept = 0;
    let (mut server, clients, id) = group(&sandbox, &["ann", "ben"]).await;
    drop(clients);
    for (calls, error) in [("fdatasync,fsync", "EIO"), ("pwrite64", "ENOSPC"), ("pwrite64", "EIO")] {
        let draft =
            |text: &str| json!({"conversationId": id, "content": text, "clientId": format!("{text} {calls} {error}")});
        let ann = Client::connect(server.address, "ann").await;
        ann.ok("message:send", draft("before")).await;
        let mut strace = fail(&server, calls, error).await;
        let ack = ann.call("message:send", &draft("during")).await;
        let code = ack.as_ref().map(|ack| ack["code"].clone());
        assert_eq!(code, Some(json!("unavailable")), "it is not known what became of it: {ack:?}");
        let (status, log) = server.ended().await;
        assert_eq!(status.code(), Some(74), "{log}");
        assert!(log.contains("cannot write the database"), "{log}");
        strace.kill().await.expect("killed");

        server = Server::start(&sandbox).await;
        let ann = Client::connect(server.address, "ann").await;
        ann.ok("message:send", draft("during")).await;
        kept += 2;
        let (_, messages) = seen(&server, "ben", &id).await;
        assert_eq!(messages.len(), kept, "none is lost, none is there twice");
    }
    server.calm_log();
}
