//! A master that fails, and its replica in its place.

use std::{fs, net::TcpListener, process::Stdio, time::Duration};

use hobnob::{
    cluster::Config,
    setting::Secret,
    storage::replicated::{Epoch, Place, SharedLog as _},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{TestNode, within};

/// A failover takes Redis a few seconds.
const PATIENCE: Duration = Duration::from_secs(40);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

/// A process of Redis in a directory of its own; dropping it kills it.
struct Process {
    _dir: TempDir,
    port: u16,
    child: Child,
}

impl Process {
    async fn start(config: impl FnOnce(u16) -> String, mode: &[&str]) -> Self {
        let (dir, port) = (tempfile::tempdir().expect("a directory"), free_port());
        fs::write(dir.path().join("redis.conf"), format!("port {port}\nbind 127.0.0.1\n{}", config(port)))
            .expect("written");
        let child = Command::new("redis-server")
            .arg("redis.conf")
            .args(mode)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed");
        let process = Self { _dir: dir, port, child };
        let ping = async { while process.ask(&["PING"]).await != "PONG" {} };
        within("it answers", ping).await;
        process
    }

    async fn ask(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &port, "--no-auth-warning", "-a", "hunter2"]).args(command);
        let output = cli.output().await.expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

const DATA: &str = "requirepass hunter2\nmasterauth hunter2\nappendonly yes\nsave \"\"\nrepl-diskless-sync-delay 0\n";

#[tokio::test(flavor = "multi_thread")]
async fn when_the_master_fails_the_nodes_go_on_with_the_replica() {
    let mut master = Process::start(|_| DATA.to_owned(), &[]).await;
    let replica = Process::start(|_| format!("{DATA}replicaof 127.0.0.1 {}\n", master.port), &[]).await;
    let monitor = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel auth-pass main hunter2\n\
         sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
        master.port
    );
    let sentinel = Process::start(|_| monitor, &["--sentinel"]).await;
    let knows = async { while !sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).await.contains("slave-priority") {} };
    within("the sentinel knows the replica", knows).await;
    let url = format!("redis-sentinel://:hunter2@127.0.0.1:1,127.0.0.1:{}/main/0", sentinel.port);
    let config = Config { url: Some(Secret::new(url)), lease_ms: 2000, ..Config::default() };
    let node = TestNode::start_with(config, "a", "secret").await;
    node.connected().await;
    let log = &node.cluster.log;
    log.create(Epoch(1), Place::START).await.expect("up");
    let before = log.append(Epoch(1), "before".into()).await.expect("appended");
    let is_copied = async { while replica.ask(&["EXISTS", "hobnob:log"]).await != "1" {} };
    within("the replica has it", is_copied).await;
    let server = log.bounds().await.expect("up").expect("made").server;

    master.child.kill().await.expect("it ran");
    node.degraded().await;
    let mut state = node.cluster.redis.state();
    let back = state.wait_for(hobnob::cluster::State::is_connected);
    timeout(PATIENCE, back).await.expect("a failover in time").expect("it lives");
    let bounds = log.bounds().await.expect("up").expect("kept");
    assert_eq!((bounds.epoch, bounds.end), (Epoch(1), before));
    assert_ne!(bounds.server, server, "whoever looks sees that it is another server");
    assert!(log.append(Epoch(1), "after".into()).await.expect("appended") > before);
    node.stop().await;
}
