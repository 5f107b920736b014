//! "Configuration Guide".

use serde_json::{Value, json};

use crate::support::{client::Client, command::Sandbox, process::Server};

/// The blocks of "Environment Variables", as they are printed, but for the secret.
const ENVIRONMENT: &str = "\
PORT=4000
CLIENT_ORIGIN=http://localhost:5173
SOCKET_PING_TIMEOUT=60000      # Ping timeout in ms
SOCKET_PING_INTERVAL=25000     # Ping interval in ms
SOCKET_MAX_BUFFER_SIZE=1000000 # Max message size in bytes
SOCKET_LOGGING=true            # Enable detailed logging
RATE_LIMIT_MAX=30              # Max events per window
RATE_LIMIT_WINDOW=10000        # Window in milliseconds
MESSAGE_QUEUE_EXPIRY=604800    # Queue expiry in seconds (7 days)
LOCK_TIMEOUT=300000            # Lock timeout in milliseconds (5 minutes)
JWT_SECRET=Kf0V3v4eZqUu0n9x1v8G6mJm2kq7Yw3RrT5sLcXbHdPzAoNi
";

/// "Recommended Production Settings", but for Redis.
const PRODUCTION: &str = "\
NODE_ENV=production
SOCKET_LOGGING=false
SOCKET_PING_TIMEOUT=60000
SOCKET_PING_INTERVAL=25000
RATE_LIMIT_MAX=30
RATE_LIMIT_WINDOW=10000
";

#[test]
fn every_variable_of_the_guide_is_read_from_a_dotenv_file() {
    let sandbox = Sandbox::new().with(".env", ENVIRONMENT);
    let text = sandbox.run(&["config", "show", "--json", "--origin"]).succeeded();
    let settings: Value = serde_json::from_str(&text).expect("JSON");
    for (variable, key, value) in [
        ("PORT", "server.listen", json!("127.0.0.1:4000")),
        ("CLIENT_ORIGIN", "server.client_origin", json!(["http://localhost:5173"])),
        ("SOCKET_PING_TIMEOUT", "socketio.ping_timeout_ms", json!(60_000)),
        ("SOCKET_PING_INTERVAL", "socketio.ping_interval_ms", json!(25_000)),
        ("SOCKET_MAX_BUFFER_SIZE", "socketio.max_http_buffer_bytes", json!(1_000_000)),
        ("SOCKET_LOGGING", "log.socket_events", json!(true)),
        ("RATE_LIMIT_MAX", "rate_limits.max", json!(30)),
        ("RATE_LIMIT_WINDOW", "rate_limits.window_ms", json!(10_000)),
        ("MESSAGE_QUEUE_EXPIRY", "queue.expiry_s", json!(604_800)),
        ("LOCK_TIMEOUT", "locks.timeout_ms", json!(300_000)),
        ("JWT_SECRET", "auth.jwt_secret", json!("(secret)")),
    ] {
        let line = 1 + ENVIRONMENT.lines().position(|line| line.starts_with(variable)).expect("listed");
        let origin = format!(".env:{line}: {variable}");
        assert_eq!(settings[key], json!({"value": value, "origin": origin}));
    }
}

/// Without these lines of the guide a server runs just the same: they repeat what holds anyway.
#[test]
fn the_values_of_the_guide_are_the_defaults() {
    let show = |sandbox: Sandbox| -> Value {
        serde_json::from_str(&sandbox.run(&["config", "show", "--json"]).succeeded()).expect("JSON")
    };
    let chosen = ["JWT_SECRET", "CLIENT_ORIGIN", "SOCKET_LOGGING"];
    let repeated: String = ENVIRONMENT
        .split_inclusive('\n')
        .filter(|line| !chosen.iter().any(|variable| line.starts_with(variable)))
        .collect();
    assert_eq!(show(Sandbox::new().with(".env", repeated)), show(Sandbox::new()));
    assert_eq!(show(Sandbox::new().with(".env", PRODUCTION)), show(Sandbox::new()));
}

/// The document's `your_secret_key` is public: whoever has read it could sign tokens.
#[test]
fn the_secret_of_the_guide_is_refused() {
    let line = Sandbox::new().with(".env", "JWT_SECRET=your_secret_key\n").run(&["check-config"]).failed(78);
    assert!(line.starts_with(".env:1: JWT_SECRET: `auth.jwt_secret` is "), "{line}");
}

#[tokio::test]
async fn a_server_runs_with_each_dotenv_file_of_the_guide() {
    for env in [ENVIRONMENT, PRODUCTION] {
        let sandbox = Sandbox::new().with(".env", env);
        let server = Server::start(&sandbox).await;
        let ann = Client::connect(server.address, "ann").await;
        ann.ok("message:send", json!({"to": "ben", "content": "hello"})).await;
    }
}
