//! The operator's commands, with a running server and without one.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    process::{Command, Stdio},
};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    command::{Ended, Sandbox, binary},
    http,
    process::{DATA, Server},
    token,
};

/// The command on the data directory of the servers.
fn operate(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    let (command, arguments) = arguments.split_at(2);
    sandbox.run(&[command, &["--data-dir", DATA], arguments].concat())
}

#[track_caller]
fn table(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Vec<String>> {
    let text = operate(sandbox, arguments).succeeded();
    text.lines()
        .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[track_caller]
fn json_of(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let (command, arguments) = arguments.split_at(2);
    let text = operate(sandbox, &[command, &["--json"], arguments].concat()).succeeded();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Two messages of ann wait for ben, who was never here.
async fn something_waits(server: &Server) -> (Client, String) {
    let ann = Client::connect(server.address, "ann").await;
    let id = ann.group(&["ben"]).await;
    for n in 0..2 {
        ann.ok("message:send", json!({"conversationId": id, "content": format!("text {n}")})).await;
    }
    (ann, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_what_waits_for_them_are_shown_with_a_server_and_without() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let (_ann, id) = something_waits(&server).await;
    let rows = table(&sandbox, &["user", "ls"]);
    assert_eq!(rows[0], ["USER", "NAME", "SINCE", "CONNECTIONS", "BLOCKED"]);
    let cells: Vec<_> = rows[1..].iter().map(|row| [row[0].as_str(), &row[1], &row[3]]).collect();
    assert_eq!(cells, [["ann", "-", "1"], ["ben", "-", "0"]]);
    let with = json_of(&sandbox, &["user", "show", "ben"]);
    assert_eq!(
        (&with["connections"], &with["conversations"], &with["queue"]["conversations"]),
        (&json!(0), &json!(1), &json!(1))
    );
    let queues = json_of(&sandbox, &["queue", "ls"]);
    assert_eq!(queues["queues"].as_array().map(Vec::len), Some(1), "{queues}");
    let entries = json_of(&sandbox, &["queue", "show", "ben"]);
    let messages: Vec<_> =
        entries["entries"].as_array().expect("rows").iter().filter(|row| row["event"] == "message:new").collect();
    assert_eq!((messages.len(), &messages[0]["from"], &messages[0]["conversationId"]), (2, &json!("ann"), &json!(id)));
    assert!(!entries.to_string().contains("text"), "{entries}");
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));

    assert_eq!(json_of(&sandbox, &["queue", "ls"]), queues);
    assert_eq!(json_of(&sandbox, &["queue", "show", "ben"]), entries);
    let mut without = json_of(&sandbox, &["user", "show", "ben"]);
    assert!(without["connections"].is_null());
    without["connections"] = json!(0);
    assert_eq!(without, with);
    assert_eq!(operate(&sandbox, &["user", "show", "nobody"]).failed(1), "user nobody not found");
    // Looking leaves no traces.
    let server = Server::start(&sandbox).await;
    assert_eq!(json_of(&sandbox, &["queue", "ls"]), queues);
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_tell_how_to_go_on() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let ann = Client::connect(server.address, "ann").await;
    ann.group(&["ben", "cem"]).await;
    let first = operate(&sandbox, &["user", "ls", "--limit", "2"]);
    assert_eq!((first.code, first.stdout.lines().count()), (Some(0), 3), "{first:?}");
    assert_eq!(first.stderr, "hobnob: there may be more: --after ben\n");
    let rest = json_of(&sandbox, &["user", "ls", "--limit", "2", "--after", "ben"]);
    assert_eq!((&rest["users"][0]["id"], &rest["next"]), (&json!("cem"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_asks_first_and_leaves_the_history_alone() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let (ann, id) = something_waits(&server).await;
    let waiting = json_of(&sandbox, &["user", "show", "ben"])["queue"]["size"].clone();
    let line = operate(&sandbox, &["queue", "purge"]).failed(64);
    assert_eq!(line, "nobody can be asked here: say --yes to do it, or --dry-run to see what would be done");
    let dry = json_of(&sandbox, &["queue", "purge", "--dry-run"]);
    assert_eq!(dry, json!({"users": 1, "changes": waiting, "dryRun": true}));
    assert_eq!(
        operate(&sandbox, &["queue", "purge", "--older-than", "7d", "--yes"]).succeeded(),
        "purged 0 changes of 0 users\n"
    );
    assert_eq!(json_of(&sandbox, &["user", "show", "ben"])["queue"]["size"], waiting);
    operate(&sandbox, &["queue", "purge", "--older-than", "soon", "--yes"]).failed(64);
    assert_eq!(operate(&sandbox, &["queue", "purge", "--user", "nobody", "--yes"]).failed(1), "user nobody not found");
    assert!(operate(&sandbox, &["queue", "purge", "--user", "ben", "--yes"]).succeeded().starts_with("purged "));
    assert_eq!(json_of(&sandbox, &["queue", "ls"])["queues"], json!([]));

    // The same without a server, and what was purged is history for who comes back.
    ann.ok("message:send", json!({"conversationId": id, "content": "one more"})).await;
    server.terminate();
    server.ended().await;
    assert_eq!(operate(&sandbox, &["queue", "purge", "--yes"]).succeeded(), "purged 1 change of 1 user\n");
    let server = Server::start(&sandbox).await;
    assert_eq!(json_of(&sandbox, &["queue", "ls"])["queues"], json!([]));
    let ben = Client::connect(server.address, "ben").await;
    let (messages, _, _) = ben.missed(json!({id.as_str(): 0}), 100).await.expect("an ack");
    assert_eq!(messages.len(), 3);
}

/// A command on a terminal, to which somebody answers.
fn answering(sandbox: &Sandbox, arguments: &str, answer: &str) -> (Option<i32>, String) {
    let line = format!("{} {arguments} --data-dir {DATA}", binary().display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(sandbox.path("")).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script of util-linux");
    child.stdin.take().expect("piped").write_all(answer.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_answer_counts() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let _ann = something_waits(&server).await;
    let (code, said) = answering(&sandbox, "queue purge", "n\n");
    assert!(
        said.contains("from the server at data/hobnob.sock. Go on? [y/N]") && said.contains("nothing was done"),
        "{said}"
    );
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(json_of(&sandbox, &["queue", "ls"])["queues"].as_array().map(Vec::len), Some(1));
    let (code, said) = answering(&sandbox, "queue purge", "y\n");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(json_of(&sandbox, &["queue", "ls"])["queues"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_listed_without_credentials_and_kicked() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let ann = Client::connect(server.address, "ann").await;
    let ben = Client::join(server.address, "/messages", json!({"token": token::of("ben")})).await.expect("admitted");
    let query = format!("/socket.io/?EIO=3&transport=polling&token={}", token::of("old"));
    let opened = http::request(server.address, "GET", &query, &[], b"").await;
    let body = opened.body.split_once('{').map(|(_, rest)| format!("{{{rest}")).expect("a handshake");
    let mut values = serde_json::Deserializer::from_str(&body).into_iter::<Value>();
    let handshake = values.next().expect("one").expect("JSON");
    let sid = handshake["sid"].as_str().expect("a sid");
    if !opened.body.contains(":40") {
        let query = format!("/socket.io/?EIO=3&transport=polling&sid={sid}");
        let connected = http::request(server.address, "GET", &query, &[], b"").await;
        assert!(connected.body.contains(":40"), "{connected:?}");
    }

    let listed = operate(&sandbox, &["conn", "ls"]).succeeded();
    assert!(listed.contains(&format!("{}..", &sid[..6])) && !listed.contains(sid), "{listed}");
    let all = json_of(&sandbox, &["conn", "ls"]);
    assert!(!all.to_string().contains(sid), "{all}");
    assert_eq!(all["total"], 3);
    let row = |user: &str| {
        let rows = all["connections"].as_array().expect("rows");
        rows.iter().find(|row| row["user"] == user).cloned().expect("listed")
    };
    let of_ben = row("ben");
    let seen = (&of_ben["namespace"], &of_ben["transport"], &of_ben["protocol"], &of_ben["address"]);
    assert_eq!(seen, (&json!("/messages"), &json!("websocket"), &json!(4), &json!("127.0.0.1")));
    assert_eq!((&row("old")["transport"], &row("old")["protocol"]), (&json!("polling"), &json!(3)));

    operate(&sandbox, &["conn", "kick", "--user", "ben"]).failed(64);
    operate(&sandbox, &["conn", "kick", "--yes"]).failed(64);
    assert_eq!(operate(&sandbox, &["conn", "kick", "--user", "nobody", "--yes"]).failed(1), "connection not found");
    let dry = json_of(&sandbox, &["conn", "kick", "--user", "ben", "--dry-run"]);
    assert_eq!(dry["connections"][0], of_ben);
    operate(&sandbox, &["conn", "kick", "--user", "ben", "--yes"]).succeeded();
    ben.closed().await;
    let id = row("ann")["id"].as_str().expect("an id").to_owned();
    operate(&sandbox, &["conn", "kick", "--yes", "--", &id]).succeeded();
    ann.closed().await;
    let shown = row("old")["id"].as_str().expect("an id").to_owned();
    operate(&sandbox, &["conn", "kick", "--yes", "--", &shown]).succeeded();
    server.logged("kicked by the operator", 3).await;
    server.logged("POST /v1/connections/kick", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_call_themselves_does_nothing_to_a_terminal() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let name = "\u{1b}[2Jann\u{9b}\u{202e}";
    let claims = json!({"id": "ann", "username": name, "exp": token::in_seconds(60)});
    let signed = token::signed(Algorithm::HS256, &claims, token::SECRET);
    Client::join(server.address, "/", json!({"token": signed})).await.expect("admitted");
    for arguments in [&["user", "ls"][..], &["user", "show", "ann"]] {
        let text = operate(&sandbox, arguments).succeeded();
        assert!(text.contains(r"\u{1b}[2Jann\u{9b}\u{202e}"), "{text:?}");
        let text = operate(&sandbox, &[arguments, &["--json"]].concat()).succeeded();
        assert!(text.contains(r"\u001b[2Jann\u009b\u202e"), "{text:?}");
    }
    assert_eq!(json_of(&sandbox, &["user", "show", "ann"])["username"], name);
    let line = operate(&sandbox, &["user", "show", "\u{1b}[2J"]).failed(64);
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_levels_change_until_the_next_reload() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let set = json_of(&sandbox, &["log", "set", "hobnob::transport=debug", "--socket-events", "on"]);
    assert_eq!(set, json!({"levels": "info,hobnob::transport=debug", "socketEvents": true}));
    let _ann = Client::connect(server.address, "ann").await;
    server.logged("Socket connected", 1).await;
    assert!(
        operate(&sandbox, &["log", "set", "loud"])
            .failed(64)
            .starts_with("levels: \"loud\" is no level; expected a level")
    );
    operate(&sandbox, &["log", "set"]).failed(64);
    let shown = operate(&sandbox, &["log", "show"]).succeeded();
    assert_eq!(shown, "levels         info,hobnob::transport=debug\nsocket events  yes\n");
    server.signal("HUP");
    server.logged("settings reloaded", 1).await;
    assert_eq!(json_of(&sandbox, &["log", "show"]), json!({"levels": "info", "socketEvents": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_listed_and_released_with_a_server_and_without() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let (mut ann, id) = something_waits(&server).await;
    let mut locked = Vec::new();
    for n in 0..2 {
        let sent = ann.ok("message:send", json!({"conversationId": id, "content": format!("{n}")})).await;
        ann.ok("message:lock", json!({"messageId": sent["id"]})).await;
        locked.push(sent["id"].as_str().expect("an id").to_owned());
    }
    let list = json_of(&sandbox, &["lock", "ls", "--user", "ann"]);
    assert_eq!((&list["total"], &list["locks"][0]["lockedBy"]), (&json!(2), &json!("ann")), "{list}");
    assert_eq!(table(&sandbox, &["lock", "ls"]).len(), 3);
    assert_eq!(json_of(&sandbox, &["lock", "ls", "--user", "ben"])["locks"], json!([]));
    assert_eq!(json_of(&sandbox, &["lock", "show", &locked[0]])["messageId"], json!(locked[0]));
    operate(&sandbox, &["lock", "release", &locked[0]]).failed(64);
    let dry = operate(&sandbox, &["lock", "release", &locked[0], "--dry-run"]).succeeded();
    assert_eq!(dry, "would release the lock of ann\n");
    assert_eq!(operate(&sandbox, &["lock", "release", &locked[0], "--yes"]).succeeded(), "released the lock of ann\n");
    let told = ann.event("message:unlocked").await;
    assert_eq!((&told["messageId"], &told["reason"]), (&json!(locked[0]), &json!("admin")));
    assert_eq!(operate(&sandbox, &["lock", "show", &locked[0]]).failed(1), "lock not found");
    operate(&sandbox, &["lock", "show", "nonsense"]).failed(64);
    // A crash, since an orderly stop gives locks of people who are gone a last grace only.
    server.kill().await;
    assert_eq!(operate(&sandbox, &["lock", "release", &locked[1], "--yes"]).succeeded(), "released the lock of ann\n");
    server = Server::start(&sandbox).await;
    assert_eq!(json_of(&sandbox, &["lock", "ls"])["locks"], json!([]));
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_comes_at_once_or_later() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let (ann, _) = something_waits(&server).await;
    let auth = json!({"token": token::of("ben")});
    let mut ben = Client::join(server.address, "/notifications", auth.clone()).await.expect("admitted");
    let send = ["notify", "send", "--title", "Maintenance", "--message", "Tonight.", "--user"];
    let told = json_of(&sandbox, &[&send[..], &["ben", "--data", "{\"a\":1}", "--priority", "high"]].concat());
    let event = loop {
        let event = ben.event("notification:new").await;
        if event["title"] == "Maintenance" {
            break event;
        }
    };
    assert_eq!(event["id"], told["sent"][0]["notification"]["id"]);
    let seen = (&event["message"], &event["type"], &event["priority"], &event["data"]);
    assert_eq!(seen, (&json!("Tonight."), &json!("system"), &json!("high"), &json!({"a": 1})));
    assert_eq!(operate(&sandbox, &[&send[..], &["nobody"]].concat()).failed(1), "user nobody not found");
    let both = operate(&sandbox, &[&send[..], &["nobody", "--user", "ann"]].concat());
    assert_eq!((both.code, both.stdout.lines().count()), (Some(1), 3), "{both:?}");
    let line = operate(&sandbox, &[&send[..], &["ben", "--action-url", "javascript:alert(1)"]].concat()).failed(64);
    assert!(line.starts_with("actionUrl: "), "{line}");
    operate(&sandbox, &["notify", "send", "--title", "", "--message", "", "--user", "ben"]).failed(64);
    drop((ann, ben));
    server.terminate();
    server.ended().await;

    operate(&sandbox, &[&send[..], &["ben", "--type", "call"]].concat()).succeeded();
    let server = Server::start(&sandbox).await;
    let ben = Client::join(server.address, "/notifications", auth).await.expect("admitted");
    let list = ben.ok("notifications:list", json!({"type": "call"})).await;
    assert_eq!(list["notifications"][0]["title"], "Maintenance", "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_leaves_and_stays_out() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let mut eve = Client::connect(server.address, "eve").await;
    operate(&sandbox, &["user", "block", "eve"]).failed(64);
    assert_eq!(operate(&sandbox, &["user", "block", "eve", "--dry-run"]).succeeded(), "would block eve\n");
    assert_eq!(json_of(&sandbox, &["user", "show", "eve"])["blocked"], false);
    assert_eq!(operate(&sandbox, &["user", "block", "eve", "--yes"]).succeeded(), "blocked eve\n");
    assert_eq!(eve.event("auth:expired").await["reason"], "blocked");
    eve.closed().await;
    let auth = json!({"token": token::of("eve")});
    let refused = Client::join(server.address, "/", auth.clone()).await.err().expect("refused");
    assert_eq!(refused["data"]["code"], "user_blocked");
    assert_eq!(table(&sandbox, &["user", "ls"])[1][4], "yes");
    let unknown = operate(&sandbox, &["user", "block", "ewe", "--yes"]);
    assert_eq!(unknown.stderr, "hobnob: nobody called ewe was ever here: is the id right?\n");
    assert_eq!(operate(&sandbox, &["user", "unblock", "eve"]).succeeded(), "unblocked eve\n");
    drop(Client::join(server.address, "/", auth.clone()).await.expect("admitted"));
    server.terminate();
    server.ended().await;

    operate(&sandbox, &["user", "block", "eve", "--yes"]).succeeded();
    let server = Server::start(&sandbox).await;
    assert!(Client::join(server.address, "/", auth).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_revoked_all_at_once_or_one_alone() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let claims =
        |jti: &str| json!({"id": "ann", "jti": jti, "iat": token::in_seconds(-5), "exp": token::in_seconds(600)});
    let auth = |jti: &str| json!({"token": token::signed(Algorithm::HS256, &claims(jti), token::SECRET)});
    let mut one = Client::join(server.address, "/", auth("one")).await.expect("admitted");
    let mut other = Client::join(server.address, "/", auth("other")).await.expect("admitted");
    for wrong in [&["token", "revoke"][..], &["token", "revoke", "--yes"], &["token", "revoke", "--jti", "one"]] {
        operate(&sandbox, wrong).failed(64);
    }
    assert_eq!(operate(&sandbox, &["token", "revoke", "--jti", "one", "--yes"]).succeeded(), "revoked the token one\n");
    assert_eq!(one.event("auth:expired").await["reason"], "revoked");
    assert!(Client::join(server.address, "/", auth("one")).await.is_err());
    assert_eq!(
        operate(&sandbox, &["token", "revoke", "--user", "nobody", "--dry-run"]).failed(1),
        "user nobody not found"
    );
    let said = operate(&sandbox, &["token", "revoke", "--user", "ann", "--yes"]).succeeded();
    assert_eq!(said, "revoked all tokens of ann\n");
    assert_eq!(other.event("auth:expired").await["reason"], "revoked");
    assert!(Client::join(server.address, "/", auth("a third")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_are_made_listed_and_revoked() {
    let sandbox = Sandbox::new();
    // Before the first message there is a database, too: the server was started once.
    let mut server = Server::start(&sandbox).await;
    server.terminate();
    server.ended().await;
    let offline = operate(&sandbox, &["api-key", "create", "--name", "made offline"]).succeeded();
    let server = Server::start(&sandbox).await;
    let online = operate(&sandbox, &["api-key", "create", "--name", "made online"]).succeeded();
    let status = async |key: &str| {
        let headers = [("X-Api-Key", key.trim()), ("Content-Type", "application/json")];
        http::request(server.address, "POST", "/api/server/emit", &headers, b"{}").await.status
    };
    for key in [&offline, &online] {
        assert!(key.starts_with("hk_") && key.lines().count() == 1, "{key}");
        assert_eq!(status(key).await, 400, "known, but the request is empty");
    }
    let listed = json_of(&sandbox, &["api-key", "ls"]);
    let keys = listed["apiKeys"].as_array().expect("rows");
    assert_eq!((keys.len(), &keys[0]["name"], &keys[1]["name"]), (2, &json!("made offline"), &json!("made online")));
    let secret = online.trim().splitn(3, '_').nth(2).expect("a part");
    assert!(!listed.to_string().contains(secret), "{listed}");
    let id = keys[1]["id"].as_str().expect("an id");
    operate(&sandbox, &["api-key", "revoke", id]).failed(64);
    assert_eq!(operate(&sandbox, &["api-key", "revoke", "0000", "--yes"]).failed(1), "API key not found");
    let dry = operate(&sandbox, &["api-key", "revoke", id, "--dry-run"]).succeeded();
    assert_eq!(dry, "would revoke the API key made online\n");
    assert_eq!(status(&online).await, 400);
    operate(&sandbox, &["api-key", "revoke", id, "--yes"]).succeeded();
    assert_eq!((status(&online).await, status(&offline).await), (401, 400));
    operate(&sandbox, &["api-key", "create", "--name", " "]).failed(64);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_its_owner_and_goes_with_the_server() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let socket = sandbox.path("data/hobnob.sock");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
    assert!(!socket.exists());

    // A dead server's socket is replaced, and until then the commands take the database.
    Server::start(&sandbox).await.kill().await;
    assert!(socket.exists());
    operate(&sandbox, &["user", "ls"]).succeeded();
    let line = operate(&sandbox, &["conn", "ls"]).failed(69);
    assert!(line.starts_with("no server is running: nobody listens at data/hobnob.sock, nor at "), "{line}");
    let server = Server::start(&sandbox).await;
    operate(&sandbox, &["conn", "ls"]).succeeded();
    drop(server);

    // systemd's directory is there for the sake of a group.
    fs::create_dir(sandbox.path("run")).expect("made");
    let run = sandbox.path("run").display().to_string();
    let server = Server::start_with(&sandbox, &[("RUNTIME_DIRECTORY", &run)]).await;
    let shared = sandbox.path("run/hobnob.sock");
    assert_eq!(mode(&shared), 0o660);
    let path = shared.display().to_string();
    sandbox.run(&["conn", "ls", "--socket", &path]).succeeded();
    sandbox.run_with("HOBNOB_SOCKET", &path, &["conn", "ls"]).succeeded();
    // Without its name the database is all there is, and that is taken.
    let line = operate(&sandbox, &["user", "ls"]).failed(75);
    assert!(line.contains("is in use by another process"), "{line}");
    // Two servers cannot have the same door.
    let other = sandbox
        .command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "other"])
        .env("RUNTIME_DIRECTORY", &run)
        .output();
    let other = Ended::from(other.expect("it runs"));
    assert_eq!(other.code, Some(69), "{other:?}");
    assert!(other.stderr.contains("another server has the operator's socket"), "{other:?}");
    sandbox.run(&["conn", "ls", "--socket", &path]).succeeded();
    drop(server);
}

#[test]
fn without_a_server_and_a_database_nothing_is_made() {
    let sandbox = Sandbox::new();
    let line = operate(&sandbox, &["user", "ls"]).failed(69);
    let hint = "name the server's settings with --config or --data-dir, or its socket with --socket";
    assert_eq!(line, format!("there is no database in data; {hint}"));
    assert!(!sandbox.path(DATA).exists());
    let line = sandbox.run(&["user", "ls", "--socket", "nowhere.sock"]).failed(69);
    assert_eq!(line, "no server listens at nowhere.sock");
}

#[tokio::test]
async fn a_data_directory_with_too_long_a_name_ends_the_start() {
    let sandbox = Sandbox::new();
    let dir = "d".repeat(100);
    let line = sandbox.command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &dir]).output().expect("it runs");
    let ended = Ended::from(line);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("has 112 bytes, at most 107 are possible"), "{ended:?}");
}

/// Whatever listens there, a command ends with a line about it.
#[tokio::test]
async fn something_else_behind_the_socket_is_told() {
    let sandbox = Sandbox::new();
    let listener = UnixListener::bind(sandbox.path("other.sock")).expect("bound");
    let other = std::thread::spawn(move || {
        // The first connection only looks whether somebody is there.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(b"SSH-2.0-OpenSSH\r\n").ok();
        }
    });
    let line = sandbox.run(&["user", "ls", "--socket", "other.sock"]).failed(69);
    assert!(line.starts_with("the server at other.sock does not answer: "), "{line}");
    other.join().expect("no panic");
}

#[test]
fn each_command_shows_an_example() {
    let sandbox = Sandbox::new();
    for command in [
        "user ls",
        "user show",
        "conn ls",
        "conn kick",
        "queue ls",
        "queue show",
        "queue purge",
        "lock ls",
        "lock show",
        "lock release",
        "user block",
        "user unblock",
        "token revoke",
        "api-key create",
        "api-key ls",
        "api-key revoke",
        "notify send",
        "log show",
        "log set",
    ] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = sandbox.run(&arguments).succeeded();
        assert!(help.contains(&format!("  hobnob {command}")), "{help}");
    }
}
