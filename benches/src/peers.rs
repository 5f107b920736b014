//! The servers that are compared, and how each is started in each role.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::ValueEnum;

/// A server under test. In the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// This repository: `examples/echo.rs`, and `hobnob serve` for what is stored.
    Hobnob,
    /// The Socket.IO server for Rust, on hyper and one thread, as the server has one core.
    Socketioxide,
    /// The official server, and better-sqlite3 for what is stored.
    Node,
    /// The official server on Bun, with the engine made for it.
    Bun,
    /// Not a server: the least a Socket.IO server has to do, as the yardstick.
    Floor,
}

/// What a server is asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The echo fixture: `echo`, `join`, `say`.
    Echo,
    /// The same over HTTP.
    Polling,
    /// The durable chat: `conversation:create`, `message:send`.
    Chat,
}

/// What a server is started with.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    /// Where to listen.
    pub(crate) address: SocketAddr,
    /// The time between two Engine.IO pings. The role of a chat keeps its default.
    pub(crate) ping_interval: Duration,
    /// An empty directory for what is stored.
    pub(crate) data: &'a Path,
    /// The secret that tokens are signed with.
    pub(crate) secret: &'a str,
}

impl Peer {
    /// As in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hobnob => "hobnob",
            Self::Socketioxide => "socketioxide",
            Self::Node => "node",
            Self::Bun => "bun",
            Self::Floor => "floor",
        }
    }

    /// How to start it, or `None` if it has no such role.
    pub(crate) fn command(self, role: Role, root: &Path, settings: &Settings<'_>) -> Option<Command> {
        let benches = root.join("benches");
        let listen = settings.address.to_string();
        let port = settings.address.port().to_string();
        let interval = settings.ping_interval.as_millis().to_string();
        let run = |program: PathBuf, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args);
            command
        };
        let bun = |args: &[&str]| {
            let mut command = run(benches.join("peers/bun/node_modules/.bin/bun"), &["run"]);
            command.arg(benches.join("peers/bun/server.mjs")).args(args);
            command
        };
        let node = |script: &str, args: &[&str]| {
            let mut command = Command::new("node");
            command.arg(benches.join("peers/node").join(script)).args(args);
            command
        };
        let echo = ["--port", &port, "--ping-interval-ms", &interval];
        let mut command = match (self, role) {
            (Self::Hobnob, Role::Echo | Role::Polling) => {
                run(root.join("target/release/examples/echo"), &["--listen", &listen, "--ping-interval-ms", &interval])
            }
            (Self::Hobnob, Role::Chat) => {
                let mut command = run(root.join("target/release/hobnob"), &["serve", "--listen", &listen]);
                command.arg("--data-dir").arg(settings.data);
                command
            }
            (Self::Socketioxide, Role::Echo | Role::Polling) => {
                run(benches.join("peers/socketioxide/target/release/socketioxide-peer"), &echo)
            }
            (Self::Node, Role::Echo | Role::Polling) => node("server.mjs", &echo),
            (Self::Node, Role::Chat) => {
                let mut command = node("durable.mjs", &["--port", &port]);
                command.arg("--data-dir").arg(settings.data);
                command
            }
            (Self::Bun, Role::Echo | Role::Polling) => bun(&echo),
            (Self::Floor, Role::Echo) => run(benches.join("target/release/floor"), &echo),
            (Self::Floor, Role::Polling) => run(benches.join("target/release/floor_http"), &echo),
            (Self::Socketioxide | Self::Bun | Self::Floor, Role::Chat) => return None,
        };
        if role == Role::Chat {
            command.env("JWT_SECRET", settings.secret);
            // What one user may send is not what is measured.
            command.env("RATE_LIMIT_MAX", "0");
            command.env("HOBNOB_RATE_LIMITS__ADDRESS_MAX", "0");
        }
        if matches!(self, Self::Node | Self::Bun) {
            command.env("NODE_ENV", "production");
        }
        Some(command)
    }
}
