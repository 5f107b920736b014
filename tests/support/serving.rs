//! The real binary as a server on a free port.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStderr, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::command::Sandbox;

/// Longest time to start or to stop.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running server; it is killed when it is dropped.
pub struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    /// Starts `hobnob serve` in the directory and waits until it listens.
    pub fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.env("HOBNOB_LOG__FORMAT", "json").stderr(Stdio::piped()).spawn().expect("it runs");
        let log = child.stderr.take().expect("piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || report_url(log, &sender));
        let url = receiver.recv_timeout(DEADLINE).expect("the server listens in time");
        Self { child, url }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits until the process has ended by itself.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("a child")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Reads the log to its end, so that the server never waits for a reader, and passes on where it listens.
fn report_url(log: ChildStderr, sender: &mpsc::Sender<String>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let url = serde_json::from_str::<serde_json::Value>(&line)
            .ok()
            .and_then(|line| Some(line["url"].as_str()?.to_owned()));
        if let Some(url) = url {
            // After a failed test nobody waits any more.
            sender.send(url).unwrap_or_default();
        }
    }
}
