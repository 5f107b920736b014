//! The sources, their order, and what is refused.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::{settings::SETTINGS, *};
use crate::{
    features::{auth, rate_limits::Limit},
    telemetry::Format,
    transport::TransportName,
};

/// As `openssl rand -base64 48` makes them.
const STRONG: &str = "Kf0V3v4eZqUu0n9x1v8G6mJm2kq7Yw3RrT5sLcXbHdPzAoNi";
const OTHER: &str = "w8Qe5Zt2Lk7Xo1Vb4Nm9Rc6Ys3Hd0Jf8Ga5Pu2Ti7Ec4Wx1B";

const REDIS: &str = "rediss://user:hunter2@redis.example:7000/2";

/// A working directory, an environment and flags.
struct Sandbox {
    dir: TempDir,
    environment: Vec<(&'static str, String)>,
    flags: Flags,
}

impl Sandbox {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), environment: Vec::new(), flags: Flags::default() }
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.dir.path().join(name), text).expect("written");
        self
    }

    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn listen(mut self, address: &str) -> Self {
        self.flags.listen = Some(address.to_owned());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let environment = self.environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Config::load_from(&self.flags, environment, self.dir.path(), &self.dir.path().join("system.toml"))
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is wrong, with paths relative to the working directory.
    fn refusal(&self) -> String {
        let error = self.load().expect_err("refused");
        let message = error.to_string();
        assert!(!message.contains('\n'), "one line: {message}");
        message.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

fn toml(text: &str) -> Sandbox {
    Sandbox::new().file("config.toml", text)
}

fn secret(config: &Config) -> Option<&[u8]> {
    config.auth.jwt_secret.as_ref().map(Secret::as_bytes)
}

#[test]
fn without_any_source_everything_is_at_its_default() {
    let config = Sandbox::new().config();
    assert_eq!(config, Config::default());
    assert_eq!(config.sources.file(), None);
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let sandbox = toml("[socketio]\nping_timeout_ms = 1001\nping_interval_ms = 1001\n");
    let config = sandbox.config();
    assert_eq!((config.socketio.ping_timeout_ms, config.socketio.ping_interval_ms), (1001, 1001));
    let sandbox = sandbox.file(".env", "SOCKET_PING_TIMEOUT=1002\nHOBNOB_LOG__FORMAT=json");
    let config = sandbox.config();
    assert_eq!((config.socketio.ping_timeout_ms, config.log.format), (1002, Format::Json));
    let sandbox = sandbox.variable("SOCKET_PING_TIMEOUT", "1003");
    assert_eq!(sandbox.config().socketio.ping_timeout_ms, 1003);
    let sandbox = sandbox.variable("HOBNOB_SOCKETIO__PING_TIMEOUT_MS", "1004");
    let config = sandbox.config();
    assert_eq!((config.socketio.ping_timeout_ms, config.socketio.ping_interval_ms), (1004, 1001));
    let place = config.sources.place("socketio.ping_timeout_ms").expect("set");
    assert_eq!(place.to_string(), "variable HOBNOB_SOCKETIO__PING_TIMEOUT_MS");
}

#[test]
fn a_port_from_the_environment_keeps_the_address_of_the_file() {
    let sandbox = toml("[server]\nlisten = '0.0.0.0:1'\n").variable("PORT", "8080");
    assert_eq!(sandbox.config().server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(sandbox.listen("[::1]:9").config().server.listen.to_string(), "[::1]:9");
    assert_eq!(Sandbox::new().variable("PORT", "8080").config().server.listen.to_string(), "127.0.0.1:8080");
}

#[test]
fn the_example_of_the_feature_document_works_unchanged_but_for_its_secret() {
    let env = format!(
        "PORT=4000\nCLIENT_ORIGIN=http://localhost:5173\nSOCKET_PING_TIMEOUT=60000      # Ping timeout in ms\n\
         SOCKET_PING_INTERVAL=25000     # Ping interval in ms\nSOCKET_MAX_BUFFER_SIZE=1e6 # Max message size\n\
         SOCKET_LOGGING=true            # Enable detailed logging\nUSE_REDIS=true\nREDIS_HOST=localhost\nREDIS_PORT=6379\n\
         REDIS_PASSWORD=your_password\nREDIS_DB=0\nJWT_SECRET={STRONG}\nRATE_LIMIT_MAX=30              # Max events\n\
         RATE_LIMIT_WINDOW=10000\nMESSAGE_QUEUE_EXPIRY=604800\nLOCK_TIMEOUT=300000\nNODE_ENV=production\n"
    );
    let config = Sandbox::new().file(".env", env).config();
    assert_eq!(config.server.client_origin, ["http://localhost:5173"]);
    assert_eq!(config.socketio.max_http_buffer_bytes, 1_000_000);
    assert!(config.log.socket_events);
    assert_eq!(secret(&config), Some(STRONG.as_bytes()));
    assert_eq!(config.sources.notes(), [""; 0]);
    assert!(config.cluster.enabled);
    assert_eq!((&*config.cluster.host, config.cluster.port, config.cluster.db), ("localhost", 6379, 0));
    // A login is what it is: only what something is signed with has to be strong.
    assert_eq!(config.cluster.password.as_ref().map(Secret::as_bytes), Some(&b"your_password"[..]));
    let shown = format!("{config:?}");
    assert!(!shown.contains(STRONG) && !shown.contains("your_password"));
}

#[test]
fn an_empty_variable_is_not_set() {
    let config = Sandbox::new().file(".env", "PORT=8080\nJWT_SECRET=\n").variable("PORT", "").config();
    assert_eq!(config.server.listen.port(), 8080);
    assert_eq!(config.auth.jwt_secret, None);
}

#[test]
fn the_file_of_the_working_directory_hides_that_of_the_system() {
    let sandbox = Sandbox::new().file("system.toml", "[messages]\nmax_content_chars = 7\n");
    assert_eq!(sandbox.config().messages.max_content_chars, 7);
    let config = sandbox.file("config.toml", "").config();
    assert_eq!(config.messages.max_content_chars, 5000);
}

#[test]
fn lists_are_arrays_or_have_commas() {
    let config =
        toml("[server]\nclient_origin = ['http://a', 'http://b']\n[socketio]\ntransports = 'polling'").config();
    assert_eq!(config.server.client_origin, ["http://a", "http://b"]);
    assert_eq!(config.socketio.transports, [TransportName::Polling]);
    let config = Sandbox::new().variable("CLIENT_ORIGIN", "http://a, http://b").config();
    assert_eq!(config.server.client_origin, ["http://a", "http://b"]);
}

#[test]
fn tables_of_limits_come_from_the_file_or_as_json() {
    let limits = |max, window_ms| Limit { max, window_ms };
    let config = toml(
        "[rate_limits]\nroles.bot = { max = 300, window_ms = 10_000 }\n[rate_limits.events.'message:send']\nmax = 5\nwindow_ms = 1000",
    )
    .config();
    assert_eq!(config.rate_limits.events, [("message:send".to_owned(), limits(5, 1000))].into());
    assert_eq!(config.rate_limits.roles, [("bot".to_owned(), limits(300, 10_000))].into());
    assert_eq!(
        config.sources.place("rate_limits.events").map(ToString::to_string).map(|place| place.ends_with("toml:3")),
        Some(true)
    );
    let json = r#"{"user:typing": {"max": 2, "window_ms": 3000}}"#;
    let config = Sandbox::new().variable("HOBNOB_RATE_LIMITS__EVENTS", json).config();
    assert_eq!(config.rate_limits.events, [("user:typing".to_owned(), limits(2, 3000))].into());
    for wrong in [
        "5",
        "{ x = 5 }",
        "{ x = { max = 1_000_001, window_ms = 1 } }",
        "{ x = { max = 1 } }",
        "{ x = { max = 1, window_ms = 1, y = 1 } }",
    ] {
        let refusal = toml(&format!("[rate_limits]\nevents = {wrong}")).refusal();
        assert!(refusal.contains("`rate_limits.events` is ") && refusal.contains("each with max from 0"), "{refusal}");
    }
}

/// Every variable of the feature document, and what it sets.
#[test]
fn every_variable_of_the_feature_document_sets_its_setting() {
    for (name, value, key, shown) in [
        ("PORT", "8080", "server.listen", "\"127.0.0.1:8080\""),
        ("CLIENT_ORIGIN", "http://localhost:5173", "server.client_origin", "[\"http://localhost:5173\"]"),
        ("SOCKET_PING_TIMEOUT", "60001", "socketio.ping_timeout_ms", "60001"),
        ("SOCKET_PING_INTERVAL", "25001", "socketio.ping_interval_ms", "25001"),
        ("SOCKET_MAX_BUFFER_SIZE", "2e6", "socketio.max_http_buffer_bytes", "2000000"),
        ("SOCKET_LOGGING", "true", "log.socket_events", "true"),
        ("JWT_SECRET", STRONG, "auth.jwt_secret", "(secret)"),
        ("RATE_LIMIT_MAX", "31", "rate_limits.max", "31"),
        ("RATE_LIMIT_WINDOW", "10001", "rate_limits.window_ms", "10001"),
        ("MESSAGE_QUEUE_EXPIRY", "604801", "queue.expiry_s", "604801"),
        ("LOCK_TIMEOUT", "300001", "locks.timeout_ms", "300001"),
    ] {
        for dotenv in [false, true] {
            let sandbox = Sandbox::new();
            let sandbox =
                if dotenv { sandbox.file(".env", format!("{name}={value}")) } else { sandbox.variable(name, value) };
            let config = sandbox.config();
            assert_eq!(config.shown(key).as_deref(), Some(shown), "{name}");
            assert_eq!(config.sources.places().map(|(key, _)| key).collect::<Vec<_>>(), [key]);
            assert_eq!(config.sources.notes(), [""; 0]);
        }
    }
}

/// As a variable has it.
fn as_variable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(as_variable).collect::<Vec<_>>().join(","),
        Value::Table(table) => serde_json::to_string(table).expect("JSON"),
        other => other.to_string(),
    }
}

#[test]
fn every_setting_has_a_variable_in_the_environment_and_in_dotenv() {
    for setting in SETTINGS {
        let value = match setting.key {
            "auth.jwt_secret" | "auth.previous_jwt_secrets" | "cluster.password" | "cluster.secret" => {
                STRONG.to_owned()
            }
            "cluster.url" => REDIS.to_owned(),
            "cluster.node_id" => "node-1".to_owned(),
            "cluster.advertise_url" => "http://10.0.0.5:4000".to_owned(),
            "auth.issuer" | "auth.jwks_file" | "log.dir" => "text".to_owned(),
            "server.trusted_proxies" => "10.0.0.0/8".to_owned(),
            key => default_of(key).map(|value| as_variable(&value)).expect("a default"),
        };
        // An empty list is no value for a variable.
        let value = if value.is_empty() { "https://a.example".to_owned() } else { value };
        let name: &'static str = setting.variable().leak();
        // These two make no sense without an algorithm that has public keys.
        let for_public_keys = matches!(setting.key, "auth.public_keys" | "auth.jwks_file");
        let sandbox =
            if for_public_keys { Sandbox::new().variable("HOBNOB_AUTH__ALGORITHM", "EdDSA") } else { Sandbox::new() };
        let sandbox = sandbox.file(".env", format!("{name}='{value}'\n"));
        let place = |sandbox: &Sandbox| sandbox.config().sources.place(setting.key).map(ToString::to_string);
        let expected = format!("{}:1: {name}", sandbox.dir.path().join(".env").display());
        assert_eq!(place(&sandbox), Some(expected), "{name}");
        let sandbox = sandbox.variable(name, value);
        assert_eq!(place(&sandbox), Some(format!("variable {name}")));
        for (key, value, place) in sandbox.config().all() {
            assert_eq!(place.is_some(), key == setting.key || (for_public_keys && key == "auth.algorithm"));
            assert!(!format!("{value:?}").contains(STRONG));
        }
    }
}

#[test]
fn every_secret_can_be_a_file_of_each_name_and_a_credential() {
    for setting in SETTINGS.iter().filter(|setting| setting.secret) {
        let secret = if setting.key == "cluster.url" { REDIS } else { STRONG };
        let names = setting.env.iter().map(ToString::to_string).chain([setting.variable()]);
        for name in names.map(|name| format!("{name}_FILE")) {
            let sandbox = Sandbox::new().file("key", secret);
            let path = sandbox.dir.path().join("key").display().to_string();
            let config = sandbox.variable(name.clone().leak(), path).config();
            assert_eq!(config.secrets(setting.key).first().map(Secret::as_bytes), Some(secret.as_bytes()), "{name}");
        }
        let sandbox = Sandbox::new().file(&setting.credential(), secret);
        let dir = sandbox.dir.path().display().to_string();
        let config = sandbox.variable("CREDENTIALS_DIRECTORY", dir).config();
        assert_eq!(config.secrets(setting.key).first().map(Secret::as_bytes), Some(secret.as_bytes()));
        assert!(matches!(config.sources.place(setting.key), Some(Place::Credential(_))));
    }
}

#[test]
fn differences_are_told_by_key_secrets_included() {
    let config = toml("[typing]\nexpire_ms = 9000").variable("JWT_SECRET", STRONG).config();
    assert_eq!(config.differences(&Config::default()), ["auth.jwt_secret", "typing.expire_ms"]);
    assert_eq!(config.differences(&config.clone()), [""; 0]);
}

#[test]
fn byte_order_marks_and_windows_line_ends_do_no_harm() {
    let config = toml("\u{feff}[server]\r\nlisten = '127.0.0.1:9'\r\n")
        .file(".env", "\u{feff}export SOCKET_LOGGING=on\r\n")
        .config();
    assert_eq!((config.server.listen.port(), config.log.socket_events), (9, true));
}

/// A file, and what is said about it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[socketio]\n\nping_timout_ms = 1",
        "config.toml:3: unknown key `socketio.ping_timout_ms`; did you mean `socketio.ping_timeout_ms`?",
    ),
    ("[sockteio]\npath = '/x/'", "config.toml:1: unknown section `sockteio`; did you mean `socketio`?"),
    ("listen = '0.0.0.0:1'", "config.toml:1: unknown key `listen`; did you mean `server.listen`?"),
    ("[server]\njwt_secret = 'x'", "config.toml:2: unknown key `server.jwt_secret`; did you mean `auth.jwt_secret`?"),
    ("# x\nserver = 5", "config.toml:2: `server` is a value, expected a section [server]"),
    (
        "[server]\nlisten = 'everywhere'",
        "config.toml:2: `server.listen` is \"everywhere\", expected an IP address with a port such as 0.0.0.0:4000, or a port",
    ),
    (
        "[socketio]\nping_timeout_ms = 0",
        "config.toml:2: `socketio.ping_timeout_ms` is 0, expected a whole number from 50 to 3600000 milliseconds",
    ),
    (
        "[socketio]\nping_timeout_ms = -5",
        "config.toml:2: `socketio.ping_timeout_ms` is -5, expected a whole number from 50 to 3600000 milliseconds",
    ),
    (
        "[socketio]\nping_timeout_ms = '60s'",
        "config.toml:2: `socketio.ping_timeout_ms` is \"60s\", expected a whole number from 50 to 3600000 milliseconds",
    ),
    (
        "[socketio]\nmax_http_buffer_bytes = 100_000_001",
        "config.toml:2: `socketio.max_http_buffer_bytes` is 100000001, expected a whole number from 1024 to 100000000 bytes",
    ),
    (
        "[socketio]\npath = 'socket.io'",
        "config.toml:2: `socketio.path` is \"socket.io\", expected a path such as /socket.io/ that starts and ends with a slash",
    ),
    ("[socketio]\nallow_eio3 = 'maybe'", "config.toml:2: `socketio.allow_eio3` is \"maybe\", expected true or false"),
    (
        "[socketio]\ntransports = ['websocket', 'webtransport']",
        "config.toml:2: `socketio.transports` is a value of type array, expected websocket, polling, or both",
    ),
    ("[socketio]\ntransports = []", "config.toml:2: `socketio.transports` is empty, so that nobody could connect"),
    (
        "[log]\nfilter = 'loud=very'",
        "config.toml:2: `log.filter` is \"loud=very\", expected a level (error, warn, info, debug, trace), or levels such as info,hobnob::transport=debug",
    ),
    (
        "[server]\nclient_origin = 'https://a.example/'",
        "config.toml:2: `server.client_origin` is \"https://a.example/\", expected origins such as https://chat.example.org without a path, or *",
    ),
    ("[rate_limits]\nmaxx = 3", "config.toml:2: unknown key `rate_limits.maxx`; did you mean `rate_limits.max`?"),
    ("[que]\nexpiry_s = 3", "config.toml:1: unknown section `que`; did you mean `queue`?"),
    ("[locks]\ntimeout = 3000", "config.toml:2: unknown key `locks.timeout`; did you mean `locks.timeout_ms`?"),
    ("[delivery]\nconfirm = 'maybe'", "config.toml:2: `delivery.confirm` is \"maybe\", expected transport or explicit"),
    ("[log]\nkeep_days = 0", "config.toml:2: `log.keep_days` is 0, expected a whole number from 1 to 3650"),
    ("[storage]\ndir = ''", "config.toml:2: `storage.dir` is \"\", expected a path"),
    ("[auth]\njwt_secret_file = ''", "config.toml:2: `auth.jwt_secret_file` is empty, expected the name of a file"),
    ("[server]\n[server]", "config.toml:2: duplicate key"),
    ("[server\n", "config.toml:1: unclosed table, expected `]`"),
];

/// Whatever is wrong in the file is told with line, key, and what would be right.
#[test]
fn mistakes_in_the_file_are_told_with_line_and_remedy() {
    for (text, expected) in MISTAKES {
        assert_eq!(toml(text).refusal(), *expected);
        assert_eq!(toml(text).load().expect_err("refused").exit_code(), 78);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        (
            "[socketio]\noutbox_bytes = 65536",
            "`socketio.max_http_buffer_bytes` is 1000000, more than `socketio.outbox_bytes` (65536): a message that may be sent could not be delivered",
        ),
        (
            "[missed_messages]\nmax_page_bytes = 2_000_000",
            "config.toml:2: `missed_messages.max_page_bytes` is 2000000, more than `socketio.outbox_bytes` (1048576): a full page could not be delivered",
        ),
        (
            "[socketio]\nmax_http_buffer_bytes = 2000",
            "`messages.max_content_chars` is 5000, more than `socketio.max_http_buffer_bytes` (2000): a text of that length could not be sent",
        ),
        (
            "[typing]\nexpire_ms = 3000",
            "config.toml:2: `typing.expire_ms` is 3000, not more than `typing.heartbeat_ms` (3000): typing would end before it could be repeated",
        ),
        (
            "[auth]\nmax_token_bytes = 20_000",
            "config.toml:2: `auth.max_token_bytes` is 20000, more than `server.max_header_bytes` (16384): a token of that length could not be sent",
        ),
    ] {
        assert_eq!(toml(text).refusal(), expected);
    }
}

#[test]
fn the_outbox_follows_a_larger_message_limit() {
    let config = Sandbox::new().variable("SOCKET_MAX_BUFFER_SIZE", "5e6").config();
    assert_eq!(config.socketio.outbox_bytes, 5_000_000);
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    assert_eq!(toml("").file("config.toml", b"[server]\n# caf\xe9").refusal(), "config.toml:2: not UTF-8");
    let huge = "# x\n".repeat(2_500_000);
    assert_eq!(toml(&huge).refusal(), "config.toml has more than 1048576 bytes: this is no configuration");
    let mut missing = Sandbox::new();
    missing.flags.config = Some(missing.dir.path().join("other.toml"));
    assert_eq!(missing.refusal(), "cannot read other.toml: No such file or directory (os error 2)");
    let mut directory = Sandbox::new();
    directory.flags.config = Some(directory.dir.path().to_owned());
    assert_eq!(directory.load().expect_err("a directory").exit_code(), 78);
}

#[test]
fn mistakes_in_variables_are_told_by_name() {
    for (name, value, expected) in [
        (
            "PORT",
            "abc",
            "variable PORT: `server.listen` is \"abc\", expected an IP address with a port such as 0.0.0.0:4000, or a port",
        ),
        (
            "SOCKET_LOGGING",
            "maybe",
            "variable SOCKET_LOGGING: `log.socket_events` is \"maybe\", expected true or false",
        ),
        (
            "HOBNOB_SERVER__LISTN",
            "1",
            "variable HOBNOB_SERVER__LISTN: unknown setting; did you mean `HOBNOB_SERVER__LISTEN`?",
        ),
        (
            "HOBNOB_SERVER_LISTEN",
            "1",
            "variable HOBNOB_SERVER_LISTEN: unknown setting; did you mean `HOBNOB_SERVER__LISTEN`?",
        ),
    ] {
        assert_eq!(Sandbox::new().variable(name, value).refusal(), expected);
    }
    let refusal = Sandbox::new().file(".env", "\n\nSOCKET_PING_INTERVAL=soon").refusal();
    assert!(refusal.starts_with(".env:3: SOCKET_PING_INTERVAL: `socketio.ping_interval_ms` is \"soon\""), "{refusal}");
}

#[test]
fn a_wrong_flag_is_a_mistake_of_usage() {
    assert_eq!(Sandbox::new().listen("nowhere").load().expect_err("refused").exit_code(), 64);
}

#[test]
fn variables_that_only_look_like_ours_do_no_harm() {
    let config = Sandbox::new()
        .variable("HOBNOB_SERVICE_HOST", "10.0.0.1")
        .variable("HOBNOB_PORT", "tcp://10.0.0.1:4000")
        .variable("HOBNOB_PORT_4000_TCP_ADDR", "10.0.0.1")
        .variable("HOBNOB_BIN", "target/debug/hobnob")
        .variable("DATABASE_URL", "postgres://x")
        .config();
    assert_eq!(config, Config::default());
}

#[test]
fn a_misspelled_variable_of_the_feature_document_is_noted() {
    let config = Sandbox::new().variable("SOCKET_PING_TIMOUT", "1").variable("JWT_SECRETS_DIR", "x").config();
    assert_eq!(
        config.sources.notes(),
        ["variable SOCKET_PING_TIMOUT is not a setting; did you mean SOCKET_PING_TIMEOUT?"]
    );
}

#[test]
fn weak_secrets_are_refused_with_the_way_out_and_not_repeated() {
    for (sandbox, place) in [
        (Sandbox::new().variable("JWT_SECRET", "devsecret"), "variable JWT_SECRET: "),
        (Sandbox::new().file(".env", "JWT_SECRET=your_secret_key"), ".env:1: JWT_SECRET: "),
        (toml("[auth]\njwt_secret = 'Zx8kQ1vR5tY7uN3mB6pL9sD2fG4hJ0w'"), "config.toml:2: "),
    ] {
        let refusal = sandbox.refusal();
        assert!(refusal.starts_with(&format!("{place}`auth.jwt_secret` is ")), "{refusal}");
        assert!(refusal.contains("openssl rand -base64 48"), "{refusal}");
        assert!(
            !refusal.contains("devsecret") && !refusal.contains("your_secret_key") && !refusal.contains("Zx8k"),
            "{refusal}"
        );
        assert_eq!(sandbox.load().expect_err("weak").exit_code(), 78);
    }
    let refusal = toml("[auth]\njwt_secret = ''").refusal();
    assert!(refusal.contains("expected a text of at least 32 bytes"), "{refusal}");
    assert!(!toml("[auth]\njwt_secret = 12345678").refusal().contains("1234"));
}

#[test]
fn a_weak_secret_that_is_overridden_does_no_harm() {
    let config =
        Sandbox::new().file(".env", "JWT_SECRET=devsecret").variable("HOBNOB_AUTH__JWT_SECRET", STRONG).config();
    assert_eq!(secret(&config), Some(STRONG.as_bytes()));
}

#[test]
fn a_secret_can_come_from_a_file() {
    let sandbox = Sandbox::new().file("key", format!("{STRONG}\n"));
    let path = sandbox.dir.path().join("key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    let path = path.display().to_string();
    let sandbox = sandbox.variable("JWT_SECRET_FILE", path.clone());
    let config = sandbox.config();
    assert_eq!(secret(&config), Some(STRONG.as_bytes()));
    assert_eq!(config.sources.notes(), [""; 0]);
    assert_eq!(config.shown("auth.jwt_secret").as_deref(), Some("(secret)"));

    // The same for TOML, below what the environment says.
    let config = sandbox.file("config.toml", format!("[auth]\njwt_secret = '{OTHER}'")).config();
    assert_eq!(secret(&config), Some(STRONG.as_bytes()));
    let missing = toml("[auth]\njwt_secret_file = '/nonexistent/key'").refusal();
    assert_eq!(missing, "cannot read /nonexistent/key: No such file or directory (os error 2)");
    let overridden = toml("[auth]\njwt_secret_file = '/nonexistent/key'").variable("JWT_SECRET", OTHER).config();
    assert_eq!(secret(&overridden), Some(OTHER.as_bytes()));
}

#[test]
fn a_secret_given_twice_is_a_contradiction() {
    let refusal = Sandbox::new().variable("JWT_SECRET", STRONG).variable("JWT_SECRET_FILE", "key").refusal();
    assert_eq!(
        refusal,
        "variable JWT_SECRET: `auth.jwt_secret` is given twice, here and by the file at variable JWT_SECRET_FILE: keep one of them"
    );
}

#[test]
fn a_secret_file_that_everybody_can_read_is_noted() {
    let sandbox = Sandbox::new().file("key", STRONG);
    let path = sandbox.dir.path().join("key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    let path = path.display().to_string();
    let config = sandbox.variable("JWT_SECRET_FILE", path.clone()).config();
    assert_eq!(config.sources.notes(), [format!("every user of this machine can read {path}: chmod 600 {path}")]);
}

#[test]
fn a_credential_of_systemd_wins_over_the_file_and_loses_to_the_environment() {
    let sandbox = toml(&format!("[auth]\njwt_secret = '{OTHER}'")).file("jwt_secret", STRONG);
    let dir = sandbox.dir.path().display().to_string();
    let sandbox = sandbox.variable("CREDENTIALS_DIRECTORY", dir);
    assert_eq!(secret(&sandbox.config()), Some(STRONG.as_bytes()));
    assert_eq!(secret(&sandbox.variable("JWT_SECRET", OTHER).config()), Some(OTHER.as_bytes()));
}

#[test]
fn the_table_lists_exactly_the_keys_of_the_structs() {
    let mut default = Config::default();
    default.auth.issuer = Some("issuer".to_owned());
    default.log.dir = Some(PathBuf::from("log"));
    default.auth.jwks_file = Some(PathBuf::from("jwks.json"));
    default.cluster.node_id = Some("node".to_owned());
    default.cluster.advertise_url = Some("http://node".to_owned());
    let Ok(Value::Table(sections)) = Value::try_from(&default) else { panic!("a table") };
    let mut keys: Vec<String> = Vec::new();
    for (section, values) in &sections {
        keys.extend(values.as_table().expect("a section").keys().map(|key| format!("{section}.{key}")));
    }
    keys.extend(["auth.jwt_secret", "auth.previous_jwt_secrets"].map(str::to_owned));
    keys.extend(["cluster.url", "cluster.password", "cluster.secret"].map(str::to_owned));
    keys.sort();
    let mut listed: Vec<_> = SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
    listed.sort();
    assert_eq!(listed, keys);
}

#[test]
fn every_default_is_accepted_and_every_name_is_unique() {
    let mut names = Vec::new();
    for setting in SETTINGS {
        if let Some(default) = default_of(setting.key) {
            let text = format!("[{}]\n{} = {default}\n", setting.section(), setting.name());
            assert_eq!(
                toml(&text)
                    .load()
                    .map(|mut config| {
                        config.sources = Sources::default();
                        config
                    })
                    .ok(),
                Some(Config::default()),
                "{text}"
            );
        }
        assert!(!setting.help.is_empty());
        names.extend(setting.env.iter().map(ToString::to_string).chain([setting.variable()]));
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_example_without_its_comment_signs_is_the_default() {
    let is_setting =
        |line: &str| line.strip_prefix('#').is_some_and(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let example = example();
    let text: Vec<_> = example
        .lines()
        .map(|line| if is_setting(line) { line.trim_start_matches('#') } else { line })
        .filter(|line| !line.ends_with("\"...\""))
        .collect();
    let mut config = toml(&text.join("\n")).config();
    assert_eq!(
        config.sources.places().count(),
        SETTINGS.len() - 10,
        "all but the secrets, the issuer, the file of keys, the node's name and address, and the directory of the log"
    );
    config.sources = Sources::default();
    assert_eq!(config, Config::default());
    assert_eq!(toml(&example).config().sources.places().count(), 0);
    assert_eq!(config.auth, auth::Config::default());
}

#[test]
fn every_one_of_several_secrets_must_be_strong() {
    let both = format!("[auth]\nprevious_jwt_secrets = ['{OTHER}', '{STRONG}']");
    let previous = |config: &Config| -> Vec<Vec<u8>> {
        config.auth.previous_jwt_secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect()
    };
    assert_eq!(previous(&toml(&both).config()), [OTHER.as_bytes(), STRONG.as_bytes()]);
    let listed = format!("{OTHER},{STRONG}");
    let config = Sandbox::new().variable("HOBNOB_AUTH__PREVIOUS_JWT_SECRETS", &listed).config();
    assert_eq!(previous(&config), [OTHER.as_bytes(), STRONG.as_bytes()]);
    for weak in [format!("['{OTHER}', 'devsecret']"), format!("'{OTHER},devsecret'")] {
        let refusal = toml(&format!("[auth]\nprevious_jwt_secrets = {weak}")).refusal();
        assert!(refusal.contains("`auth.previous_jwt_secrets` is a well-known example"), "{refusal}");
    }
    let sandbox = Sandbox::new().file("old", format!("{OTHER}\n{STRONG}\n"));
    let path = sandbox.dir.path().join("old").display().to_string();
    let config = sandbox.variable("HOBNOB_AUTH__PREVIOUS_JWT_SECRETS_FILE", path).config();
    assert_eq!(previous(&config), [OTHER.as_bytes(), STRONG.as_bytes()]);
}

#[test]
fn an_algorithm_and_its_keys_belong_together() {
    for (text, refusal) in [
        ("algorithm = 'RS256'", "config.toml:2: `auth.algorithm` is RS256, which needs the issuer's keys"),
        (
            "public_keys = ['key.pem']",
            "config.toml:2: `auth.public_keys` is for public keys, and `auth.algorithm` is HS256",
        ),
        ("jwks_file = 'keys.json'", "config.toml:2: `auth.jwks_file` is for public keys"),
        ("algorithm = 'none'", "config.toml:2: `auth.algorithm` is \"none\", expected HS256, RS256"),
        ("algorithm = 'hs256'", "config.toml:2: `auth.algorithm` is \"hs256\""),
    ] {
        let told = toml(&format!("[auth]\n{text}")).refusal();
        assert!(told.starts_with(refusal), "{told}");
    }
    let config = toml("[auth]\nalgorithm = 'EdDSA'\npublic_keys = 'a.pem, b.pem'").config();
    assert_eq!(config.auth.public_keys, ["a.pem", "b.pem"]);
}
