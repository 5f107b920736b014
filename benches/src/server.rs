//! A server under test: a process of its own, on a core of its own, whose CPU time and memory are read from
//! the kernel.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{self, Signal},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How often it is asked whether it does: the error of a measured start.
const START_GLANCE: Duration = Duration::from_millis(1);

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    command: Command,
    child: Child,
    clock: ClockId,
    address: SocketAddr,
    log: PathBuf,
}

/// CPU time of a process at some moment, all its threads together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// User and kernel, to the nanosecond.
    pub(crate) total: Duration,
    user_ticks: u64,
    kernel_ticks: u64,
}

impl Cpu {
    /// The kernel's share of the time since `earlier`, as the kernel's own ticks have it.
    pub(crate) fn kernel_share_since(&self, earlier: &Self) -> f64 {
        let user = self.user_ticks - earlier.user_ticks;
        let kernel = self.kernel_ticks - earlier.kernel_ticks;
        kernel as f64 / (user + kernel).max(1) as f64
    }
}

impl Server {
    /// Starts `command` for `address` on `core`, with its output in the file `log`, and waits until it listens.
    pub(crate) fn start(command: &Command, address: SocketAddr, core: usize, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(core.to_string()).arg(command.get_program()).args(command.get_args());
        pinned.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        pinned.stdout(output.try_clone()?).stderr(output);
        let child = pinned.spawn().with_context(|| format!("start {command:?}"))?;
        let clock = ClockId::pid_cpu_clock_id(pid_of(&child))?;
        let mut server = Self { command: pinned, child, clock, address, log: log.to_owned() };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// Ends it with `signal`, starts it again on the same data and waits until it listens. Says when it was started.
    pub(crate) fn restart(&mut self, signal: Signal) -> Result<Instant> {
        signal::kill(pid_of(&self.child), signal)?;
        self.child.wait()?;
        let started = Instant::now();
        self.child = self.command.spawn()?;
        self.clock = ClockId::pid_cpu_clock_id(pid_of(&self.child))?;
        self.wait_until_it_listens()?;
        Ok(started)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CPU time used so far.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let total = clock_gettime(self.clock)?.into();
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold spaces. After it, utime and stime are the 12th and 13th fields.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let mut next = || fields.next().context("/proc/PID/stat is short")?.parse::<u64>().context("/proc/PID/stat");
        Ok(Cpu { total, user_ticks: next()?, kernel_ticks: next()? })
    }

    /// Resident memory in bytes. From `smaps_rollup`, which is exact where `stat` lags by some pages per core.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss in smaps_rollup")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}, see {}", self.log.display());
            }
            if Instant::now() > deadline {
                bail!("it does not listen on {}, see {}", self.address, self.log.display());
            }
            thread::sleep(START_GLANCE);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is left to save: a server that has ended by itself is an error elsewhere.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// A loopback address nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
