//! A bad setting ends the process at once, with the exit code of its kind and one line that says how to mend it (P35).

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use hobnob::clock;

use crate::support::command::Sandbox;

/// The binary reads files that root could read in any case, so this asks the operating system first.
fn can_be_locked_out(sandbox: &Sandbox) -> bool {
    fs::set_permissions(sandbox.path("config.toml"), fs::Permissions::from_mode(0o000)).expect("ours");
    fs::read(sandbox.path("config.toml")).is_err()
}

#[test]
fn p35_every_kind_of_bad_setting_ends_serve_with_its_code_and_one_line() {
    let huge = "# a line of no use\n".repeat(600_000);
    for (file, variable, code, expected) in [
        (
            "[socketio]\nping_timout_ms = 1",
            None,
            78,
            "config.toml:2: unknown key `socketio.ping_timout_ms`; did you mean `socketio.ping_timeout_ms`?",
        ),
        (
            "[socketio]\nping_timeout_ms = '1 minute'",
            None,
            78,
            "config.toml:2: `socketio.ping_timeout_ms` is \"1 minute\", expected a whole number",
        ),
        ("[socketio]\noutbox_bytes = 65536", None, 78, "`socketio.max_http_buffer_bytes` is 1000000, more than"),
        ("[server", None, 78, "config.toml:1: "),
        (huge.as_str(), None, 78, "config.toml has more than 1048576 bytes"),
        ("", Some(("JWT_SECRET", "devsecret")), 78, "variable JWT_SECRET: `auth.jwt_secret` is a well-known example"),
        (
            "",
            Some(("JWT_SECRET", "Zx8kQ1vR5tY7uN3mB6pL9sD2fG4hJ0w")),
            78,
            "variable JWT_SECRET: `auth.jwt_secret` is shorter than 32 bytes",
        ),
        ("", Some(("JWT_SECRET_FILE", "missing")), 78, "cannot read missing: "),
        ("", Some(("PORT", "http")), 78, "variable PORT: `server.listen` is \"http\""),
        (
            "",
            Some(("HOBNOB_SOCKETIO__PATHS", "/x/")),
            78,
            "variable HOBNOB_SOCKETIO__PATHS: unknown setting; did you mean `HOBNOB_SOCKETIO__PATH`?",
        ),
    ] {
        let sandbox = Sandbox::new().with("config.toml", file);
        let (name, value) = variable.unwrap_or(("UNUSED", ""));
        let started = clock::now();
        let line = sandbox.run_with(name, value, &["serve"]).failed(code);
        assert!(started.elapsed() < Duration::from_secs(2), "{line}");
        assert!(line.starts_with(expected), "{line}");
        assert!(!line.contains("Zx8k"), "{line}");
        assert!(!sandbox.path("hobnob-data").exists(), "it started half: {line}");
    }
}

#[test]
fn p35_mistakes_on_the_command_line_are_usage() {
    for (arguments, expected) in [
        (&["serve", "--lisen", "127.0.0.1:0"][..], "unexpected argument '--lisen' found"),
        (&["serve", "--listen", "nowhere"], "--listen: `server.listen` is \"nowhere\""),
        (&["server"], "unrecognized subcommand 'server'"),
        (&["token", "sign"], "the following required arguments were not provided: --user <ID>"),
        (&["token", "sign", "--user", ""], "invalid value '' for '--user <ID>'"),
        (&["token", "sign", "--user", "a", "--ttl", "soon"], "invalid value 'soon' for '--ttl <TIME>'"),
        (&[], "what to do? Try `hobnob serve`"),
    ] {
        let line = Sandbox::new().run(arguments).failed(64);
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn p35_a_file_that_may_not_be_read_is_a_matter_of_permission() {
    let sandbox = Sandbox::new();
    if can_be_locked_out(&sandbox) {
        let line = sandbox.run(&["check-config"]).failed(77);
        assert!(line.starts_with("cannot read config.toml: Permission denied"), "{line}");
    }
}

#[test]
fn a_dotenv_file_is_read_and_can_be_wrong() {
    let sandbox = Sandbox::new().with(".env", "export PORT=8080 # the port\r\n");
    let shown = sandbox.run(&["check-config"]).succeeded();
    assert!(shown.contains("server.listen = \"127.0.0.1:8080\"  # .env:1: PORT\n"), "{shown}");
    let line = sandbox.with(".env", "A=b\nPORT=many\n").run(&["check-config"]).failed(78);
    assert!(line.starts_with(".env:2: PORT: `server.listen` is \"many\""), "{line}");
}

#[test]
fn check_config_shows_what_is_set_and_by_whom_but_no_secret() {
    let secret = "Kf0V3v4eZqUu0n9x1v8G6mJm2kq7Yw3RrT5sLcXbHdPzAoNi";
    let sandbox = Sandbox::new()
        .with("config.toml", "[messages]\nmax_content_chars = 100\n")
        .with(".env", "USE_REDIS=true\nREDIS_PASSWORD=p\n");
    let shown = sandbox.run_with("JWT_SECRET", secret, &["check-config"]).succeeded();
    assert_eq!(
        shown,
        "settings are fine: config.toml\n\
         auth.jwt_secret = (secret)  # variable JWT_SECRET\n\
         cluster.enabled = true  # .env:1: USE_REDIS\n\
         cluster.password = (secret)  # .env:2: REDIS_PASSWORD\n\
         messages.max_content_chars = 100  # config.toml:2\n"
    );
}

#[test]
fn the_printed_default_configuration_is_accepted() {
    let printed = Sandbox::new().run(&["default-config"]).succeeded();
    let shown = Sandbox::new().with("config.toml", printed).run(&["check-config"]).succeeded();
    assert_eq!(shown, "settings are fine: config.toml\n");
}

#[test]
fn config_show_prints_every_setting_with_its_origin_and_no_secret() {
    let secret = "Kf0V3v4eZqUu0n9x1v8G6mJm2kq7Yw3RrT5sLcXbHdPzAoNi";
    let sandbox = Sandbox::new()
        .with(
            "config.toml",
            "[messages]\nmax_content_chars = 100\n[rate_limits.roles]\nbot = { max = 5, window_ms = 7 }\n",
        )
        .with(".env", "RATE_LIMIT_MAX=31\n");
    let text = sandbox.run_with("JWT_SECRET", secret, &["config", "show", "--origin"]).succeeded();
    for line in [
        "server.listen = \"127.0.0.1:4000\"  # default",
        "auth.jwt_secret = \"(secret)\"  # variable JWT_SECRET",
        "auth.issuer is not set  # default",
        "messages.max_content_chars = 100  # config.toml:2",
        "rate_limits.max = 31  # .env:1: RATE_LIMIT_MAX",
        "rate_limits.roles = { bot = { max = 5, window_ms = 7 } }  # config.toml:3",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line} is not in:\n{text}");
    }
    let text = sandbox.run_with("JWT_SECRET", secret, &["config", "show", "--json", "--data-dir", "x"]).succeeded();
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["storage.dir"], "x");
    assert_eq!(json["rate_limits.roles"]["bot"]["max"], 5);
    assert_eq!(json["auth.jwt_secret"], "(secret)");
    assert_eq!(json["auth.issuer"], serde_json::Value::Null);
    let text = sandbox.run(&["config", "show", "--json", "--origin"]).succeeded();
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["auth.jwt_secret"], serde_json::json!({"value": null, "origin": "default"}));
    assert_eq!(json["rate_limits.max"], serde_json::json!({"value": 31, "origin": ".env:1: RATE_LIMIT_MAX"}));
    let line = Sandbox::new().with("config.toml", "[que]\n").run(&["config", "show"]).failed(78);
    assert!(line.contains("did you mean `queue`?"), "{line}");
}
