//! Clients that only answer pings, in a process of their own: a process may open as many files as one server's
//! clients need, but not those of all servers.

use std::{
    env,
    io::{BufRead, BufReader, Read, stdin},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    client::{Clients, Load},
    net::{Outbox, Rig},
};

/// How often the clients look up whether they may go.
const GLANCE: Duration = Duration::from_millis(50);
const READY: &str = "ready";

/// A process full of idle clients; they leave when it is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    child: Child,
    /// Closed to have them leave.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Crowd {
    /// Connects `clients` to `server` and waits until all are in the namespace.
    pub(crate) fn connect(server: SocketAddr, clients: usize) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--hold").arg(server.to_string()).arg("--clients").arg(clients.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut crowd = Self { child, stdin, stdout };
        let line = crowd.line()?;
        ensure!(line == READY, "{clients} idle clients did not connect");
        Ok(crowd)
    }

    /// Has them leave and says how many pings they answered since all were there.
    pub(crate) fn leave(mut self) -> Result<u64> {
        drop(self.stdin.take());
        let pings = self.line()?.parse().context("the idle clients lost their server")?;
        self.child.wait()?;
        Ok(pings)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // After `leave` it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The process: holds the clients until standard input ends.
pub(crate) fn hold(server: SocketAddr, clients: usize) -> Result<()> {
    let tokens = vec![String::new(); clients];
    let mut clients = Clients::connect(server, &tokens, &mut Silent)?;
    println!("{READY}");
    let may_go = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&may_go);
    thread::spawn(move || {
        // However it ends, nobody is there any more who wants them to stay.
        drop(stdin().read_to_end(&mut Vec::new()));
        told.store(true, Ordering::Relaxed);
    });
    let before = clients.pings();
    while !may_go.load(Ordering::Relaxed) {
        clients.run(&mut Silent, Instant::now() + GLANCE)?;
    }
    println!("{}", clients.pings() - before);
    Ok(())
}

#[derive(Debug)]
struct Silent;

impl Load for Silent {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, _id: usize, _packet: &[u8], _now: Instant, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }
}
