//! `hobnob lock`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    consent::Consent,
    door::{Door, DoorArgs},
    output::{self, Column},
};
use crate::app::exit::ExitError;

const COLUMNS: &[Column] = &[
    ("MESSAGE", "messageId"),
    ("LOCKED BY", "lockedBy"),
    ("SINCE", "acquiredAt"),
    ("UNTIL", "expiresAt"),
    ("ADVISORY", "advisory"),
    ("CONVERSATION", "conversationId"),
];

const DETAILS: &[Column] = &[
    ("message", "messageId"),
    ("conversation", "conversationId"),
    ("locked by", "lockedBy"),
    ("since", "acquiredAt"),
    ("until", "expiresAt"),
    ("fence", "fence"),
    ("advisory", "advisory"),
];

/// Looks after the locks of people who edit messages.
#[derive(Debug, Subcommand)]
pub(super) enum Lock {
    /// List the locks that are held
    Ls(Ls),
    /// Show the lock on one message
    Show(Show),
    /// End the lock on one message
    Release(Release),
}

impl Lock {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Ls(ls) => ls.run(),
            Self::Show(show) => show.run(),
            Self::Release(release) => release.run(),
        }
    }
}

/// Lists who is editing which message; what ends first comes first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob lock ls --user alice")]
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
        let door = self.door.open()?;
        let answer = door.get("/v1/locks", &[("user", self.user), ("limit", Some(self.limit.to_string()))])?;
        door.print(&answer, |answer| output::table(output::field(answer, "locks"), COLUMNS))?;
        output::tell_total(&answer, "locks", "total");
        Ok(())
    }
}

/// Shows who is editing a message.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob lock show 019aa5d2c1f03b8e5a7d9c44")]
pub(super) struct Show {
    #[command(flatten)]
    door: DoorArgs,
    /// The message's id
    #[arg(value_name = "MESSAGE")]
    message: String,
}

impl Show {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = lock(&door, &self.message)?;
        door.print(&answer, |answer| output::fields(answer, DETAILS))
    }
}

/// Ends the lock on a message, as if its time were over: others can edit, its holder's edits are refused until they lock again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob lock release 019aa5d2c1f03b8e5a7d9c44 --yes")]
pub(super) struct Release {
    #[command(flatten)]
    door: DoorArgs,
    /// The message's id
    #[arg(value_name = "MESSAGE")]
    message: String,
    #[command(flatten)]
    consent: Consent,
}

impl Release {
    fn run(self) -> anyhow::Result<()> {
        self.consent.check()?;
        let door = self.door.open()?;
        let seen = lock(&door, &self.message)?;
        if self.consent.is_dry_run() {
            return door.print(&seen, |seen| format!("would release the lock of {}\n", holder(seen)));
        }
        self.consent.ask(&format!("release the lock of {} at {}", holder(&seen), door.place()))?;
        let answer = door.post("/v1/locks/release", &json!({"message": self.message}))?;
        door.print(&answer, |answer| format!("released the lock of {}\n", holder(answer)))
    }
}

fn lock(door: &Door, message: &str) -> Result<Value, ExitError> {
    door.get("/v1/lock", &[("message", Some(message.to_owned()))])
}

fn holder(lock: &Value) -> String {
    output::escape(output::field(lock, "lockedBy").as_str().unwrap_or_default())
}
