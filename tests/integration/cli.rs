//! The commands, as a shell sees them.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hobnob::app::secret;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::support::command::Sandbox;

const SECRET: &str = "Kf0V3v4eZqUu0n9x1v8G6mJm2kq7Yw3RrT5sLcXbHdPzAoNi";

/// The claims of a token, whose signature must be that of `secret`.
fn claims(token: &str, secret: &[u8]) -> Value {
    // Another test may have been first; there is one provider for the process.
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().unwrap_or_default();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_aud = false;
    let token = token.strip_suffix('\n').expect("a line");
    jsonwebtoken::decode(token, &DecodingKey::from_secret(secret), &validation).expect("a valid token").claims
}

#[test]
fn a_token_is_signed_with_the_configured_secret_and_printed_alone() {
    let sandbox = Sandbox::new().with(".env", format!("JWT_SECRET={SECRET}\nHOBNOB_AUTH__ISSUER=app"));
    let arguments = [
        "token",
        "sign",
        "--user",
        "alice",
        "--ttl",
        "2h",
        "--claim",
        "username=Alice",
        "--claim",
        "roles=[\"admin\"]",
    ];
    let claims = claims(&sandbox.run(&arguments).succeeded(), SECRET.as_bytes());
    assert_eq!((&claims["id"], &claims["sub"], &claims["iss"]), (&"alice".into(), &"alice".into(), &"app".into()));
    assert_eq!((&claims["username"], &claims["roles"]), (&"Alice".into(), &serde_json::json!(["admin"])));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|iat| iat + 7200));
}

#[test]
fn a_token_is_signed_with_the_secret_that_the_server_made() {
    let sandbox = Sandbox::new();
    let line = sandbox.run(&["token", "sign", "--user", "alice"]).failed(78);
    assert!(line.starts_with("no JWT secret is configured and ./hobnob-data/jwt_secret does not exist"), "{line}");
    assert!(!sandbox.path("hobnob-data").exists());

    let (made, _) = secret::load_or_create(&sandbox.path("hobnob-data")).expect("made");
    let token = sandbox.run(&["token", "sign", "--user", "alice"]).succeeded();
    assert_eq!(claims(&token, &made)["id"], "alice");
    let data_dir = sandbox.path("hobnob-data").display().to_string();
    let token = Sandbox::new().run(&["token", "sign", "--user", "bob", "--data-dir", &data_dir]).succeeded();
    assert_eq!(claims(&token, &made)["id"], "bob");
}

#[test]
fn a_damaged_secret_is_data_that_is_wrong() {
    let sandbox = Sandbox::new();
    secret::load_or_create(&sandbox.path("hobnob-data")).expect("made");
    let line = sandbox.with("hobnob-data/jwt_secret", "cut").run(&["token", "sign", "--user", "alice"]).failed(65);
    assert!(line.contains("jwt_secret is damaged"), "{line}");
}

#[test]
fn a_token_has_no_padding_and_names_its_algorithm() {
    let token = Sandbox::new().run_with("JWT_SECRET", SECRET, &["token", "sign", "--user", "用户"]).succeeded();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a part")).expect("base64url");
    assert_eq!(serde_json::from_slice::<Value>(&header).expect("JSON")["alg"], "HS256");
}

/// A server that answers one request with `answer`; its address and, afterwards, what it was asked.
fn answering(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 1024];
        let length = stream.read(&mut request).expect("a request");
        stream.write_all(answer.as_bytes()).expect("written");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (address, asked)
}

#[test]
fn health_tells_by_its_exit_code_whether_the_server_is_ready() {
    let sandbox = Sandbox::new();
    let (address, asked) = answering("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"ready\":true}\n");
    let seen = sandbox.run(&["health", "--url", &format!("http://{address}")]).succeeded();
    assert_eq!(seen, format!("{address}/readyz: 200 {{\"ready\":true}}\n"));
    assert!(asked.join().expect("no panic").starts_with(&format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\n")));

    let (address, _asked) = answering("HTTP/1.1 503 Service Unavailable\r\n\r\nno\x1b[2J");
    let line = sandbox.run_with("HOBNOB_SERVER__LISTEN", &address, &["health"]).failed(1);
    assert_eq!(line, format!("{address}/readyz: 503 no [2J"));

    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").to_string();
    let line = sandbox.run_with("HOBNOB_SERVER__LISTEN", &nobody, &["health"]).failed(1);
    assert!(line.starts_with(&format!("no answer from {nobody}: ")), "{line}");
}

#[test]
fn help_and_version_are_answers_not_failures() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&["--version"]).succeeded(), concat!("hobnob ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = sandbox.run(&["--help"]).succeeded();
    for command in ["serve", "token", "check-config", "config", "default-config", "health"] {
        assert!(help.contains(command), "{help}");
    }
    assert!(sandbox.run(&["serve", "--help"]).succeeded().contains("--data-dir"));
}

/// `hobnob default-config | head -1` and its like: nobody reads on, and nobody is told of a panic.
#[test]
fn a_closed_pipe_is_no_failure() {
    let sandbox = Sandbox::new();
    for arguments in [&["default-config"][..], &["--help"], &["check-config"]] {
        let mut child =
            sandbox.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    }
    let mut child = sandbox.command(&["nonsense"]).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(64));
}
