//! The real binary as a running server.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use hobnob::{
    features::auth::ApiKeys,
    storage::{self, Store},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};

use super::{command::Sandbox, token, within};

/// The data directory of every server, below its sandbox.
pub const DATA: &str = "data";

/// How it is started.
const ARGUMENTS: &[&str] = &["serve", "--listen", "127.0.0.1:0", "--data-dir", DATA];

/// Most tests ask for more than a user may.
const NO_LIMITS: &[(&str, &str)] =
    &[("RATE_LIMIT_MAX", "0"), ("HOBNOB_RATE_LIMITS__REST_MAX", "0"), ("HOBNOB_RATE_LIMITS__SOCKETS_PER_USER", "0")];

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
    lines: watch::Receiver<usize>,
    reading: JoinSet<()>,
}

/// A server that has been started and may not be listening yet.
pub struct Starting {
    child: Child,
    log: Arc<Mutex<String>>,
    listening: watch::Receiver<Option<SocketAddr>>,
    lines: watch::Receiver<usize>,
    reading: JoinSet<()>,
}

impl Starting {
    /// Starts a server in `sandbox`, on a free port.
    pub fn spawn(sandbox: &Sandbox, variables: &[(&str, &str)]) -> Self {
        Self::run(sandbox.command(ARGUMENTS), variables)
    }

    /// The same with so many files that it may open.
    pub fn spawn_with_files(sandbox: &Sandbox, files: u32) -> Self {
        let server = sandbox.command(ARGUMENTS);
        let mut command = std::process::Command::new("/usr/bin/prlimit");
        command.arg(format!("--nofile={files}:{files}")).arg(server.get_program()).args(server.get_args());
        command.current_dir(server.get_current_dir().expect("the sandbox")).env_clear().stdin(Stdio::null());
        Self::run(command, &[])
    }

    fn run(mut command: std::process::Command, variables: &[(&str, &str)]) -> Self {
        command.env("JWT_SECRET", token::SECRET).envs(NO_LIMITS.iter().copied()).envs(variables.iter().copied());
        let mut command = Command::from(command);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (sender, listening) = watch::channel(None);
        let (counter, line_count) = watch::channel(0);
        let log = Arc::<Mutex<String>>::default();
        let kept = Arc::clone(&log);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = address(&line) {
                    sender.send_replace(Some(address));
                }
                {
                    let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                }
                counter.send_modify(|lines| *lines += 1);
            }
        });
        Self { child, log, listening, lines: line_count, reading }
    }

    /// Kills it wherever it is.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Where it listens, once it does; `None` when it ends before.
    pub async fn address(&mut self) -> Option<SocketAddr> {
        self.listening.wait_for(Option::is_some).await.ok().and_then(|address| *address)
    }

    /// Waits for its end, and gives its log.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let status = within("the server to end", self.child.wait()).await.expect("it ran");
        within("the end of its log", async { while self.reading.join_next().await.is_some() {} }).await;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (status, log)
    }

    /// Waits until it listens.
    pub async fn listening(mut self) -> Server {
        let Some(address) = within("the server to listen", self.address()).await else {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            panic!("the server ended before it listened:\n{log}");
        };
        Server { child: self.child, address, log: self.log, lines: self.lines, reading: self.reading }
    }
}

/// The address in the line that tells it.
fn address(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let told = line["message"] == "listening";
    line["url"].as_str().filter(|_| told)?.strip_prefix("http://")?.parse().ok()
}

impl Server {
    /// Starts a server in `sandbox` and waits until it listens.
    pub async fn start(sandbox: &Sandbox) -> Self {
        Self::start_with(sandbox, &[]).await
    }

    /// The same, with variables in its environment.
    pub async fn start_with(sandbox: &Sandbox, variables: &[(&str, &str)]) -> Self {
        Starting::spawn(sandbox, variables).listening().await
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Ends it with SIGKILL, at this moment.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
        self.ended().await;
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        let status = std::process::Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{status}");
    }

    /// Waits for its end; its log must not tell of a panic.
    pub async fn ended(&mut self) -> (ExitStatus, String) {
        let status = within("the server to end", self.child.wait()).await.expect("it ran");
        within("the end of its log", async { while self.reading.join_next().await.is_some() {} }).await;
        (status, self.calm_log())
    }

    /// Waits until its log has `count` lines with this text.
    pub async fn logged(&mut self, text: &str, count: usize) {
        loop {
            self.lines.borrow_and_update();
            if self.calm_log().lines().filter(|line| line.contains(text)).count() >= count {
                return;
            }
            within(text, self.lines.changed()).await.expect("it goes on");
        }
    }

    /// What it has logged, which must not tell of a panic.
    #[track_caller]
    pub fn calm_log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(!log.contains("panicked"), "{log}");
        log
    }
}

/// A key of the app's backend, for the server that is going to run in this sandbox.
pub async fn api_key(sandbox: &Sandbox) -> String {
    let store = Store::open(&storage::Config::new(sandbox.path(DATA))).expect("a new database");
    let key = ApiKeys::load(&store).expect("readable").create("test").await.expect("a key");
    store.close().await;
    key
}
