//! What was measured, on what and when.

use std::{fmt::Write, fs, path::Path, process::Command, thread};

use anyhow::{Context, Result};

use crate::peers::Peer;

/// A paragraph of Markdown.
pub(crate) fn describe(root: &Path, peers: &[Peer], rounds: u32) -> Result<String> {
    let cores = thread::available_parallelism()?;
    let of_machine = fs::read_to_string("/proc/cpuinfo")?.lines().filter(|line| line.starts_with("processor")).count();
    let memory = field("/proc/meminfo", "MemTotal").context("no MemTotal")?;
    let kib: f64 = memory.trim_end_matches(" kB").parse()?;
    let mut text = format!(
        "Measured on {} ({}): {}, {} cores, {:.0} GiB of memory, Linux {}. ",
        output("date", &["-u", "+%F"])?,
        revision(root),
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unnamed processor".to_owned()),
        of_machine.max(cores.get()),
        kib / 1024.0 / 1024.0,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
    );
    let versions: Vec<String> = peers.iter().filter_map(|&peer| version(root, peer)).collect();
    write!(
        text,
        "Medians of {rounds} {} in which the servers take turns; server and load generator have a core each.",
        if rounds == 1 { "round" } else { "rounds" }
    )?;
    if !versions.is_empty() {
        write!(text, " {}.", versions.join("; "))?;
    }
    text.push('\n');
    Ok(text)
}

fn version(root: &Path, peer: Peer) -> Option<String> {
    let peers = root.join("benches/peers");
    let module = |peer: &str, name: &str| {
        let package = fs::read_to_string(peers.join(peer).join("node_modules").join(name).join("package.json")).ok()?;
        let package: serde_json::Value = serde_json::from_str(&package).ok()?;
        Some(format!("{name} {}", package["version"].as_str()?))
    };
    match peer {
        Peer::Hobnob | Peer::Floor => None,
        Peer::Socketioxide => {
            let lock = fs::read_to_string(peers.join("socketioxide/Cargo.lock")).ok()?;
            let (_, rest) = lock.split_once("name = \"socketioxide\"\nversion = \"")?;
            Some(format!("socketioxide {} on hyper, one thread", rest.split('"').next()?))
        }
        Peer::Node => {
            let node = output("node", &["--version"]).ok()?;
            let node = node.trim_start_matches('v');
            Some(format!("Node {node} with {} and {}", module("node", "socket.io")?, module("node", "better-sqlite3")?))
        }
        Peer::Bun => {
            let bun = module("bun", "bun")?.replacen('b', "B", 1);
            Some(format!("{bun} with {}", module("bun", "@socket.io/bun-engine")?))
        }
    }
}

fn revision(root: &Path) -> String {
    let root = root.display().to_string();
    match output("git", &["-C", &root, "rev-parse", "--short", "HEAD"]) {
        Ok(revision) => format!("revision {revision}"),
        Err(_) => "no revision".to_owned(),
    }
}

/// The value behind the first line `name: value`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    anyhow::ensure!(output.status.success(), "{program} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
