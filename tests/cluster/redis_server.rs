//! A Redis of one's own, on a Unix socket in a directory of its own.

use std::process::Stdio;

use hobnob::{cluster::Config, setting::Secret};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::within;

/// A running Redis. Dropping it kills it.
pub(crate) struct RedisServer {
    dir: TempDir,
    settings: Vec<String>,
    process: Child,
}

impl RedisServer {
    /// Starts one that keeps what it is told; other settings come as arguments of its command line.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let process = spawn(&dir, &settings);
        let redis = Self { dir, settings, process };
        redis.answers().await;
        redis
    }

    /// Settings of a node that uses it.
    pub(crate) fn config(&self) -> Config {
        let url = format!("unix://{}", self.dir.path().join("redis.sock").display());
        Config { enabled: true, url: Some(Secret::new(url)), lease_ms: 2000, ..Config::default() }
    }

    /// Ends it without a word.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.expect("it runs");
    }

    /// Starts it again on what it has kept.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(&self.dir, &self.settings);
        self.answers().await;
    }

    /// Starts it again without anything.
    pub(crate) async fn restart_empty(&mut self) {
        std::fs::remove_dir_all(self.dir.path().join("appendonlydir")).expect("it kept something");
        self.restart().await;
    }

    /// Has `redis-cli` send a command; gives the answer.
    pub(crate) async fn command(&self, line: &str) -> String {
        let output = self.cli(line.split(' ')).output().await.expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.process.id().expect("it runs").to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().await.expect("kill");
        assert!(status.success());
    }

    fn cli<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.dir.path().join("redis.sock")).args(arguments);
        command
    }

    async fn answers(&self) {
        let ping = async { while self.command("PING").await != "PONG" {} };
        within("Redis answers", ping).await;
    }
}

fn spawn(dir: &TempDir, settings: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", "redis.sock", "--appendonly", "yes", "--save", ""])
        .args(settings)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is installed")
}
