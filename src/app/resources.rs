//! What the process uses of its machine, and what it does when that runs out: open files, memory, the disk.
//!
//! The promises are P17, P18 and P19: whoever is connected goes on, in each of the three.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, server::Server, storage::Store, telemetry::Obstacles, transport::Transport};

/// Files that are no connections: the database, the log, the listener, the operator's door, and what libraries open. Half of them are
/// spare.
const RESERVED_FILES: u64 = 64;
/// How often memory and disk are looked at. At the fastest that a disk can be filled, less than `storage.min_free_bytes` is written
/// in between.
const LOOK: Duration = Duration::from_secs(1);
/// Of the disk has to be free, unless the operator has said how much.
const FREE_SHARE: u64 = 20;

/// How many connections there may be, so that files stay free for everything else. Raises the limit of the process as far as it may.
pub(super) fn connections(configured: usize) -> usize {
    let wanted = u64::try_from(configured).unwrap_or(u64::MAX).saturating_add(RESERVED_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let raised = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // When it cannot be raised, what is there has to do.
        setrlimit(Resource::Nofile, Rlimit { current: raised, maximum }).unwrap_or_default();
    }
    let Some(files) = getrlimit(Resource::Nofile).current else { return configured };
    let allowed = usize::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX).max(1);
    if allowed < configured {
        tracing::warn!(
            configured,
            allowed,
            "fewer connections than `server.max_connections`: the process may not open more files (ulimit -n, LimitNOFILE)"
        );
    }
    configured.min(allowed)
}

/// A file system.
pub(super) struct Disk {
    /// Bytes that this process may still write.
    pub(super) free: u64,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// The file system of `dir`; `None` when the system does not say.
pub(super) fn disk(dir: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Disk { free: bytes(found.f_bavail), size: bytes(found.f_blocks) })
}

/// Refuses writes if there is no room on the disk already: for what is written before anybody looks after it.
pub(super) fn refuse_writes_when_full(config: &Config, store: &Store) {
    let disk = disk(&config.storage.dir);
    store.refuse_writes(disk.is_some_and(|disk| disk.free < min_free(config, &disk)));
}

/// What has to be free: what the operator has said, or a usual amount that a small disk has, too.
fn min_free(config: &Config, disk: &Disk) -> u64 {
    let configured = config.storage.min_free_bytes;
    let is_set = config.sources.place("storage.min_free_bytes").is_some();
    if is_set { configured } else { configured.min(disk.size / FREE_SHARE) }
}

/// Bytes of memory that the process uses.
pub(super) fn memory_in_use() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of memory that the process may use: the least of the machine's and its control group's.
fn memory_limit() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups
        .lines()
        .flat_map(limit_files)
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .chain(machine)
        .min()
}

/// Where a line of `/proc/self/cgroup` may have its limit: at its group, and at the root, which is the group in most containers.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, name) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|one| one == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let root = Path::new(root);
    vec![root.join(group.trim_start_matches('/')).join(name), root.join(name)]
}

/// The bytes behind `name` in a table that counts in kB.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Looks after memory and disk.
pub(super) struct Watch {
    store: Store,
    transport: Transport<Server>,
    obstacles: Obstacles,
    dir: PathBuf,
    min_free: u64,
    memory_high: u64,
    disk_is_full: bool,
    memory_is_scarce: bool,
}

impl Watch {
    /// Looks a first time, so that nothing is taken in that cannot be kept.
    pub(super) fn new(config: &Config, store: Store, transport: Transport<Server>, obstacles: Obstacles) -> Self {
        let dir = config.storage.dir.clone();
        let min_free = disk(&dir).map_or(0, |disk| min_free(config, &disk));
        let memory_high = match config.server.memory_high_bytes {
            0 => four_fifths_of_what_there_is(config),
            set => set,
        };
        let mut watch = Self {
            store,
            transport,
            obstacles,
            dir,
            min_free,
            memory_high,
            disk_is_full: false,
            memory_is_scarce: false,
        };
        watch.look();
        watch
    }

    /// Looks every now and then, until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => self.look(),
            }
        }
    }

    fn look(&mut self) {
        if let Some(Disk { free, .. }) = disk(&self.dir) {
            self.judge_disk(free);
        }
        if let Some(used) = memory_in_use() {
            self.judge_memory(used);
        }
    }

    /// Ends an eighth beyond the mark, so that it does not come and go with every write.
    fn judge_disk(&mut self, free: u64) {
        let mark = if self.disk_is_full { self.min_free.saturating_add(self.min_free / 8) } else { self.min_free };
        let is_full = free < mark;
        if is_full == self.disk_is_full {
            return;
        }
        self.disk_is_full = is_full;
        self.store.refuse_writes(is_full);
        if is_full {
            tracing::error!(free, min_free = self.min_free, "the disk is full: writes are refused until there is room");
            self.obstacles.set("P19", "the disk is full");
        } else {
            tracing::warn!(free, "the disk has room again: writes are taken");
            self.obstacles.clear("P19");
        }
    }

    /// Ends an eighth below the mark.
    fn judge_memory(&mut self, used: u64) {
        let mark = if self.memory_is_scarce { self.memory_high - self.memory_high / 8 } else { self.memory_high };
        let is_scarce = used > mark;
        if is_scarce == self.memory_is_scarce {
            return;
        }
        self.memory_is_scarce = is_scarce;
        self.transport.set_memory_scarce(is_scarce);
        if is_scarce {
            tracing::error!(used, mark, "memory is scarce: new sessions are refused");
            self.obstacles.set("P18", "memory is scarce");
        } else {
            tracing::warn!(used, "memory is free again: new sessions are taken");
            self.obstacles.clear("P18");
        }
    }
}

/// The mark where the operator has set none.
fn four_fifths_of_what_there_is(config: &Config) -> u64 {
    let Some(limit) = memory_limit() else { return u64::MAX };
    let mark = limit / 5 * 4;
    let worst = config.worst_case();
    if worst.bytes > mark {
        tracing::warn!(mark, worst_case = worst.sum, "more may be in memory at once than there is: set lower limits");
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_memory_is_looked_for_where_control_groups_have_it() {
        assert_eq!(
            limit_files("0::/system.slice/hobnob.service"),
            ["/sys/fs/cgroup/system.slice/hobnob.service/memory.max", "/sys/fs/cgroup/memory.max"].map(PathBuf::from)
        );
        assert_eq!(
            limit_files("4:memory:/a"),
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
                .map(PathBuf::from)
        );
        for line in ["", "3:cpu,cpuacct:/a", "rubbish"] {
            assert_eq!(limit_files(line), Vec::<PathBuf>::new(), "{line}");
        }
    }

    #[test]
    fn tables_of_the_system_are_read_by_name() {
        let table = "Name:\thobnob\nVmRSS:\t   12 kB\nThreads:\t3\n";
        assert_eq!(kilobytes(table, "VmRSS:"), Some(12_288));
        assert_eq!([kilobytes(table, "Threads:"), kilobytes(table, "VmHWM:")], [None, None]);
        assert!(memory_in_use().is_some_and(|bytes| bytes > 1 << 20));
        assert!(memory_limit() > memory_in_use());
        assert!(disk(Path::new("/")).is_some_and(|disk| disk.size > disk.free));
    }
}
