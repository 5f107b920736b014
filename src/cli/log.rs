//! `hobnob log`.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    door::DoorArgs,
    output::{self, Column},
};

const FIELDS: &[Column] = &[("levels", "levels"), ("socket events", "socketEvents")];

/// Changes what a running server logs.
#[derive(Debug, Subcommand)]
pub(super) enum Log {
    /// Show the levels in force
    Show(Show),
    /// Change levels until the next start or reload
    Set(Set),
}

impl Log {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Show(show) => show.run(),
            Self::Set(set) => set.run(),
        }
    }
}

/// Shows the levels in force, and whether single connections and events are logged.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob log show")]
pub(super) struct Show {
    #[command(flatten)]
    door: DoorArgs,
}

impl Show {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open_server()?;
        let answer = door.get("/v1/log", &[])?;
        door.print(&answer, |answer| output::fields(answer, FIELDS))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Changes what is logged, until the next start or reload.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
#[command(
    after_help = "Examples:\n  hobnob log set debug\n  hobnob log set hobnob::transport=trace\n  hobnob log set --socket-events on"
)]
pub(super) struct Set {
    #[command(flatten)]
    door: DoorArgs,
    /// A level (error, warn, info, debug, trace, off), or levels of modules, separated by commas
    #[arg(value_name = "LEVELS", group = "what")]
    levels: Option<String>,
    /// Lines about single connections and events
    #[arg(long, value_name = "on|off", group = "what")]
    socket_events: Option<Switch>,
}

impl Set {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open_server()?;
        let socket_events = self.socket_events.map(|switch| matches!(switch, Switch::On));
        let answer = door.post("/v1/log", &json!({"levels": self.levels, "socketEvents": socket_events}))?;
        door.print(&answer, |answer| output::fields(answer, FIELDS))
    }
}
