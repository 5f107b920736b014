//! `hobnob user`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    consent::Consent,
    door::{Door, DoorArgs},
    output::{self, Column},
};

const COLUMNS: &[Column] = &[
    ("USER", "id"),
    ("NAME", "username"),
    ("SINCE", "createdAt"),
    ("CONNECTIONS", "connections"),
    ("BLOCKED", "blocked"),
];

const DETAILS: &[Column] = &[
    ("user", "id"),
    ("name", "username"),
    ("picture", "avatar"),
    ("since", "createdAt"),
    ("blocked", "blocked"),
    ("connections", "connections"),
    ("conversations", "conversations"),
    ("waiting", "queue.size"),
    ("oldest", "queue.oldestAt"),
];

/// Looks after users.
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// List users
    Ls(Ls),
    /// Show one user
    Show(Show),
    /// Lock a user out
    Block(Block),
    /// Let a user in again
    Unblock(Unblock),
}

impl User {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Ls(ls) => ls.run(),
            Self::Show(show) => show.run(),
            Self::Block(block) => block.run(),
            Self::Unblock(unblock) => unblock.run(),
        }
    }
}

/// Lists everybody who was ever met, in the order of their ids.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob user ls --limit 20 --after bob")]
pub(super) struct Ls {
    #[command(flatten)]
    door: DoorArgs,
    #[command(flatten)]
    part: Part,
}

impl Ls {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = self.part.collect(&door, "/v1/users", "users")?;
        door.print(&answer, |answer| output::table(output::field(answer, "users"), COLUMNS))?;
        output::tell_rest(&answer);
        Ok(())
    }
}

/// Shows what is known about a user.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob user show alice")]
pub(super) struct Show {
    #[command(flatten)]
    door: DoorArgs,
    /// The user's id
    #[arg(value_name = "USER", allow_hyphen_values = true)]
    user: String,
}

impl Show {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = door.get("/v1/user", &[("user", Some(self.user))])?;
        door.print(&answer, |answer| output::fields(answer, DETAILS))
    }
}

/// Locks a user out: connections end at once, and nobody comes in with this id. Messages and memberships stay.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob user block mallory --yes")]
pub(super) struct Block {
    #[command(flatten)]
    door: DoorArgs,
    /// The user's id
    #[arg(value_name = "USER", allow_hyphen_values = true)]
    user: String,
    #[command(flatten)]
    consent: Consent,
}

impl Block {
    fn run(self) -> anyhow::Result<()> {
        self.consent.check()?;
        let door = self.door.open()?;
        let user = output::escape(&self.user);
        let request = json!({"user": self.user});
        if self.consent.is_dry_run() {
            return door.print(&request, |_| format!("would block {user}\n"));
        }
        self.consent.ask(&format!("block {user} at {}", door.place()))?;
        let answer = door.post("/v1/users/block", &request)?;
        door.print(&answer, |_| format!("blocked {user}\n"))?;
        if output::field(&answer, "known") == &Value::Bool(false) {
            output::note(&format!("nobody called {user} was ever here: is the id right?"));
        }
        Ok(())
    }
}

/// Lets a user in again, with the tokens from before, too, unless those were revoked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob user unblock mallory")]
pub(super) struct Unblock {
    #[command(flatten)]
    door: DoorArgs,
    /// The user's id
    #[arg(value_name = "USER", allow_hyphen_values = true)]
    user: String,
}

impl Unblock {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = door.post("/v1/users/unblock", &json!({"user": self.user}))?;
        door.print(&answer, |_| format!("unblocked {}\n", output::escape(&self.user)))
    }
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(super) struct Part {
    /// Rows, at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Begin after this row: what the end of a cut list tells
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    after: Option<String>,
}

impl Part {
    /// Asks page by page until there are enough rows under `key`.
    pub(super) fn collect(self, door: &Door, path: &str, key: &str) -> anyhow::Result<Value> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut rows, mut after) = (Vec::new(), self.after);
        loop {
            let left = limit.saturating_sub(rows.len());
            let mut page = door.get(path, &[("after", after), ("limit", Some(left.to_string()))])?;
            if let Some(Value::Array(more)) = page.get_mut(key).map(Value::take) {
                rows.extend(more);
            }
            after = page.get("next").and_then(Value::as_str).map(ToOwned::to_owned);
            if after.is_none() || rows.len() >= limit {
                return Ok(json!({key: rows, "next": after}));
            }
        }
    }
}
