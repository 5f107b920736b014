//! What the operator sees and changes: log, log files, metrics, reload.

use std::{fs, path::Path};

use hobnob::{clock::Timestamp, telemetry::FAMILIES};
use serde_json::{Value, json};
use tokio::net::UnixDatagram;

use crate::support::{
    client::Client,
    command::Sandbox,
    http::{call, request},
    process::Server,
    token, within,
};

/// In every message of these tests.
const BODY: &str = "nobody but the members may read this sentence";

/// All log files in `dir`, by name.
fn files(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries
        .map(|path| {
            (
                path.file_name().expect("a name").to_string_lossy().into_owned(),
                fs::read_to_string(&path).expect("UTF-8"),
            )
        })
        .collect();
    files.sort();
    files
}

async fn metrics(server: &Server) -> String {
    let answer = request(server.address, "GET", "/metrics", &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    answer.body
}

fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

/// P39, and the feature document's "WebSocket Logging".
#[tokio::test(flavor = "multi_thread")]
async fn p39_with_everything_logged_there_is_no_token_secret_or_message_in_the_log() {
    let sandbox = Sandbox::new();
    let variables = [("SOCKET_LOGGING", "true"), ("HOBNOB_LOG__FILTER", "trace"), ("HOBNOB_LOG__DIR", "log")];
    let mut server = Server::start_with(&sandbox, &variables).await;
    let address = server.address;
    let tokens = ["ann", "ben", "cem", "dot"].map(token::of);
    let [ann, ben, cem, dot] = &tokens;
    let bearer = format!("Bearer {cem}");
    let cookie = format!("token={dot}");
    let query = format!("&token={ben}");
    let first = Client::join(address, "/", json!({"token": ann})).await.expect("admitted");
    let second = Client::join_with(address, "/messages", Value::Null, &query, &[]).await.expect("admitted");
    let third =
        Client::join_with(address, "/", Value::Null, "", &[("Authorization", &bearer)]).await.expect("admitted");
    Client::join_with(address, "/", Value::Null, "", &[("Cookie", &cookie)]).await.err();
    let forged = format!("{ann}x");
    assert!(Client::join(address, "/", json!({"token": forged})).await.is_err());
    let id = first.group(&["ben", "cem"]).await;
    let draft = json!({"conversationId": id, "content": BODY, "clientId": "key"});
    let ack = second.ok("message:send", draft.clone()).await;
    first.refused("forbidden", "message:edit", json!({"messageId": ack["id"], "content": BODY})).await;
    third.refused("unknown_event", "no:such:event", draft.clone()).await;
    third.refused("invalid_payload", "message:send", json!({"conversationId": 5, "content": BODY})).await;
    let answer = call(address, ann, "POST", "/api/messages", &draft).await;
    assert!(answer.status < 300, "{answer:?}");
    call(address, &forged, "POST", "/api/messages", &draft).await;
    call(address, ann, "POST", &format!("/api/{BODY}").replace(' ', "-"), &json!({"content": BODY})).await;
    let got = call(address, ann, "GET", &format!("/api/messages/conversation/{id}?token={ben}"), &Value::Null).await;
    assert!(got.body.contains(BODY), "{got:?}");
    server.terminate();
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");

    let [(name, file)] = &*files(&sandbox.path("log")) else { panic!("one file") };
    let day = name.strip_prefix("hobnob.").and_then(|rest| rest.strip_suffix(".log")).expect("a name");
    assert!(Timestamp::parse(&format!("{day}T00:00:00Z")).is_some(), "{name}");
    for text in [&log, file] {
        for secret in tokens.iter().flat_map(|token| token.split('.')).filter(|part| !text_is_header(part)) {
            assert!(!text.contains(secret), "a part of a token is in the log: {secret}");
        }
        for secret in [token::SECRET, BODY, &BODY.replace(' ', "-"), "Bearer ", "eyJ"] {
            assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
        }
        assert!(text.lines().all(|line| line.len() < 2048));
        assert!(
            text.contains(r#""message":"Socket connected""#) && text.contains(r#""message":"Socket disconnected""#)
        );
        let received = text.lines().find(|line| line.contains(r#""eventName":"message:send""#)).expect("logged");
        let line: Value = serde_json::from_str(received).expect("JSON");
        let shape = ["level", "message", "eventName", "namespace", "socketId", "userId", "timestamp"];
        assert!(shape.windows(2).all(|pair| received.find(pair[0]) < received.find(pair[1])), "{received}");
        assert_eq!(line.as_object().expect("flat").len(), shape.len(), "{received}");
        assert_eq!((&line["level"], &line["message"]), (&json!("info"), &json!("Socket event received")));
        assert_eq!((&line["namespace"], &line["userId"]), (&json!("/messages"), &json!("ben")));
    }
}

/// The header of every token is the same, and begins like any other JSON in base64.
fn text_is_header(part: &str) -> bool {
    token::of("x").starts_with(part)
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_what_can_change_and_tells_of_the_rest() {
    let sandbox = Sandbox::new().with("config.toml", "[log]\nfilter = 'info'\n");
    let mut server = Server::start(&sandbox).await;
    fs::write(
        sandbox.path("config.toml"),
        "[log]\nfilter = 'hobnob=debug'\ndir = 'log'\n[socketio]\nping_interval_ms = 1000\n",
    )
    .expect("written");
    server.signal("HUP");
    server.logged("settings reloaded", 1).await;
    let log = server.calm_log();
    assert!(log.contains(r#"settings changed: log.dir = \"log\", log.filter = \"hobnob=debug\""#), "{log}");
    assert!(log.contains("settings changed that need a restart: socketio.ping_interval_ms = 1000"), "{log}");
    assert_eq!(files(&sandbox.path("log")).len(), 1);

    fs::write(sandbox.path("config.toml"), "[log]\nfiltre = 'info'\n").expect("written");
    server.signal("HUP");
    server.logged("the old ones stay in force", 1).await;
    let log = server.calm_log();
    assert!(log.contains("config.toml:2: unknown key `log.filtre`; did you mean `log.filter`?"), "{log}");

    // The file is opened anew for those who move it away.
    let [(name, _)] = &*files(&sandbox.path("log")) else { panic!("one file") };
    fs::rename(sandbox.path("log").join(name), sandbox.path("log/moved")).expect("moved");
    fs::write(
        sandbox.path("config.toml"),
        "[log]\nfilter = 'info'\ndir = 'log'\nsocket_events = true\n[server]\nclient_origin = 'https://a.example'\n",
    )
    .expect("written");
    server.signal("HUP");
    server.logged("settings reloaded", 2).await;
    let names: Vec<_> = files(&sandbox.path("log")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [name.as_str(), "moved"]);
    let _client = Client::connect(server.address, "ann").await;
    server.logged("Socket connected", 1).await;
    let origin = [("Origin", "https://a.example")];
    let answer = request(server.address, "GET", "/version", &origin, b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(request(server.address, "GET", "/readyz", &[], b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_start_reload_and_stop() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    let path = path.display().to_string();
    let server = Server::start_with(&sandbox, &[("NOTIFY_SOCKET", &path)]).await;
    let told = async || {
        let mut buffer = [0; 256];
        let length = within("word of the server", socket.recv(&mut buffer)).await.expect("received");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(told().await.trim_end(), "READY=1");
    server.signal("HUP");
    let reloading = told().await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told().await.trim_end(), "READY=1");
    server.terminate();
    assert_eq!(told().await.trim_end(), "STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_replaces_the_secret_for_new_tokens() {
    let other = "w8Qe5Zt2Lk7Xo1Vb4Nm9Rc6Ys3Hd0Jf8Ga5Pu2Ti7Ec4Wx1B";
    let sandbox = Sandbox::new().with("config.toml", "[auth]\njwt_secret_file = 'key'\n").with("key", token::SECRET);
    let mut server = Server::start_with(&sandbox, &[("JWT_SECRET", "")]).await;
    let client = Client::connect(server.address, "ann").await;
    fs::write(sandbox.path("key"), other).expect("written");
    server.signal("HUP");
    server.logged("settings reloaded", 1).await;
    let log = server.calm_log();
    assert!(log.contains(r#"settings changed: auth.jwt_secret = (secret)""#), "{log}");
    let refused = Client::join(server.address, "/", json!({"token": token::of("ben")})).await.err().expect("refused");
    assert_eq!(refused["data"]["code"], "token_invalid");
    let claims = json!({"id": "ben", "exp": token::in_seconds(60)});
    let fresh = token::signed(jsonwebtoken::Algorithm::HS256, &claims, other);
    Client::join(server.address, "/", json!({"token": fresh})).await.expect("admitted");
    client.group(&["ben"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_without_its_log_directory_the_server_goes_on() {
    let sandbox = Sandbox::new();
    let mut server = Server::start_with(&sandbox, &[("HOBNOB_LOG__DIR", "log"), ("SOCKET_LOGGING", "true")]).await;
    fs::remove_dir_all(sandbox.path("log")).expect("removed");
    fs::write(sandbox.path("log"), "in the way").expect("written");
    server.signal("HUP");
    server.logged("cannot open the new log file", 1).await;
    let client = Client::connect(server.address, "ann").await;
    client.group(&["ben"]).await;
    fs::remove_file(sandbox.path("log")).expect("removed");
    server.signal("HUP");
    server.logged("settings reloaded", 2).await;
    client.group(&["cem"]).await;
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
    let [(_, file)] = &*files(&sandbox.path("log")) else { panic!("one file") };
    assert!(file.contains("conversation:create"), "{file}");
}

#[test]
fn a_log_directory_that_cannot_be_made_ends_the_start() {
    let sandbox = Sandbox::new().with("log", "in the way");
    let line = sandbox.run_with("HOBNOB_LOG__DIR", "log", &["serve"]).failed(73);
    assert!(line.starts_with("cannot write a log file in the directory that `log.dir` names: "), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_every_declared_family_and_what_has_happened() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let client = Client::connect(server.address, "ann").await;
    let _other = Client::join(server.address, "/messages", json!({"token": token::of("ben")})).await.expect("admitted");
    let id = client.group(&["ben"]).await;
    client.ok("message:send", json!({"conversationId": id, "content": BODY})).await;
    let text = metrics(&server).await;
    for family in FAMILIES {
        assert!(text.contains(&format!("# TYPE hobnob_{} ", family.name)), "{}: {text}", family.name);
    }
    assert!(text.ends_with("# EOF\n"));
    for (name, expected) in [
        ("hobnob_sessions{transport=\"websocket\"}", 2.0),
        ("hobnob_sessions{transport=\"polling\"}", 0.0),
        ("hobnob_sockets{namespace=\"/\"}", 1.0),
        ("hobnob_sockets{namespace=\"/messages\"}", 1.0),
        ("hobnob_users_online", 2.0),
        ("hobnob_panics_total", 0.0),
        ("hobnob_log_lines_lost_total{reason=\"overflow\"}", 0.0),
    ] {
        assert_eq!(value(&text, name), Some(expected), "{name}: {text}");
    }
    assert!(value(&text, "hobnob_commits_total") >= Some(2.0), "{text}");
    assert_eq!(value(&text, "hobnob_commits_total"), value(&text, "hobnob_commit_duration_seconds_count"));
    assert!(value(&text, "hobnob_store_bytes") > Some(1000.0), "{text}");
    assert!(!text.contains("ann") && !text.contains(&id), "no label names a user or a conversation: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_not_shown_through_a_proxy_unless_they_are_public() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let forwarded = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(request(server.address, "GET", "/metrics", &forwarded, b"").await.status, 404);
    server.kill().await;
    let server = Server::start_with(&sandbox, &[("HOBNOB_SERVER__METRICS", "public")]).await;
    assert_eq!(request(server.address, "GET", "/metrics", &forwarded, b"").await.status, 200);
    server.kill().await;
    let server = Server::start_with(&sandbox, &[("HOBNOB_SERVER__METRICS", "off")]).await;
    assert_eq!(request(server.address, "GET", "/metrics", &[], b"").await.status, 404);
}
