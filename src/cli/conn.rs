//! `hobnob conn`.

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::{
    consent::Consent,
    door::DoorArgs,
    output::{self, Column},
};

const COLUMNS: &[Column] = &[
    ("ID", "id"),
    ("USER", "user"),
    ("NAMESPACE", "namespace"),
    ("TRANSPORT", "transport"),
    ("PROTOCOL", "protocol"),
    ("ADDRESS", "address"),
    ("SINCE", "since"),
];

/// Looks after connections. The server has to run.
#[derive(Debug, Subcommand)]
pub(super) enum Conn {
    /// List connections
    Ls(Ls),
    /// End connections
    Kick(Kick),
}

impl Conn {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Ls(ls) => ls.run(),
            Self::Kick(kick) => kick.run(),
        }
    }
}

/// Lists who is connected, from where and since when; a client has one row per namespace. PROTOCOL is that of Engine.IO: 3 for
/// clients 1.x and 2.x, 4 for later ones.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob conn ls --user alice")]
pub(super) struct Ls {
    #[command(flatten)]
    door: DoorArgs,
    /// Those of this user only
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// Rows, at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl Ls {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open_server()?;
        let answer = door.get("/v1/connections", &[("user", self.user), ("limit", Some(self.limit.to_string()))])?;
        door.print(&answer, |answer| output::table(output::field(answer, "connections"), COLUMNS))?;
        output::tell_total(&answer, "connections", "total");
        Ok(())
    }
}

/// Ends the connections of a user, or the one of a socket with all its namespaces. Clients come back by themselves: to keep
/// somebody out, block them.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true))]
#[command(after_help = "Examples:\n  hobnob conn kick --user mallory\n  hobnob conn kick 4q_4Jnm3yc2iXlYwzQ5v")]
pub(super) struct Kick {
    #[command(flatten)]
    door: DoorArgs,
    /// The socket: its id as `hobnob conn ls` shows it, or its beginning
    #[arg(value_name = "ID", group = "whom", allow_hyphen_values = true)]
    id: Option<String>,
    /// All connections of this user
    #[arg(long, value_name = "USER", group = "whom", allow_hyphen_values = true)]
    user: Option<String>,
    #[command(flatten)]
    consent: Consent,
}

impl Kick {
    fn run(self) -> anyhow::Result<()> {
        self.consent.check()?;
        let door = self.door.open_server()?;
        let request = |dry_run: bool| json!({"id": self.id, "user": self.user, "dryRun": dry_run});
        let table = |answer: &Value| output::table(output::field(answer, "connections"), COLUMNS);
        let seen = door.post("/v1/connections/kick", &request(true))?;
        if self.consent.is_dry_run() {
            return door.print(&seen, table);
        }
        let connections = output::plural(output::count(&seen, "connections"), "connection");
        self.consent.ask(&format!("end {connections} of {}", door.place()))?;
        let answer = door.post("/v1/connections/kick", &request(false))?;
        door.print(&answer, table)
    }
}
