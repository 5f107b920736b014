//! `hobnob queue`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    consent::Consent,
    door::{Door, DoorArgs},
    output::{self, Column},
    token::ttl,
    user::Part,
};

const COLUMNS: &[Column] =
    &[("USER", "user"), ("WAITING", "size"), ("CONVERSATIONS", "conversations"), ("OLDEST", "oldestAt")];

const ENTRIES: &[Column] = &[
    ("AT", "at"),
    ("EVENT", "event"),
    ("FROM", "from"),
    ("CONVERSATION", "conversationId"),
    ("SEQ", "seq"),
    ("MESSAGE", "messageId"),
];

/// Looks after what waits for people who are away.
#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// List the users for whom something waits
    Ls(Ls),
    /// Show what waits for one user
    Show(Show),
    /// Leave what waits to the history
    Purge(Purge),
}

impl Queue {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Ls(ls) => ls.run(),
            Self::Show(show) => show.run(),
            Self::Purge(purge) => purge.run(),
        }
    }
}

/// Lists how many messages, edits and deletions wait for whom.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob queue ls --json")]
pub(super) struct Ls {
    #[command(flatten)]
    door: DoorArgs,
    #[command(flatten)]
    part: Part,
}

impl Ls {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = self.part.collect(&door, "/v1/queues", "queues")?;
        door.print(&answer, |answer| output::table(output::field(answer, "queues"), COLUMNS))?;
        output::tell_rest(&answer);
        Ok(())
    }
}

/// Shows what waits for a user, oldest first; never its text.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob queue show alice --limit 10")]
pub(super) struct Show {
    #[command(flatten)]
    door: DoorArgs,
    /// The user's id
    #[arg(value_name = "USER", allow_hyphen_values = true)]
    user: String,
    /// Rows, at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl Show {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = door.get("/v1/queue", &[("user", Some(self.user)), ("limit", Some(self.limit.to_string()))])?;
        door.print(&answer, |answer| output::table(output::field(answer, "entries"), ENTRIES))?;
        output::tell_total(&answer, "entries", "size");
        Ok(())
    }
}

/// Leaves what waits to the history: it is not delivered any more when the user comes back, but stays in the conversations.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hobnob queue purge --older-than 30d --dry-run\n  hobnob queue purge --user alice --yes"
)]
pub(super) struct Purge {
    #[command(flatten)]
    door: DoorArgs,
    /// Of this user only
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// Only what is older: a number and s, m, h, d or w, such as 30m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    older_than: Option<Duration>,
    #[command(flatten)]
    consent: Consent,
}

impl Purge {
    fn run(self) -> anyhow::Result<()> {
        self.consent.check()?;
        let door = self.door.open()?;
        let request = json!({
            "user": self.user,
            "olderThanMs": self.older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        });
        let seen = purge(&door, &request, true)?;
        if self.consent.is_dry_run() {
            return door.print(&seen, |seen| format!("would purge {}\n", summary(seen)));
        }
        self.consent.ask(&format!("purge {} from {}", summary(&seen), door.place()))?;
        let answer = purge(&door, &request, false)?;
        door.print(&answer, |answer| format!("purged {}\n", summary(answer)))
    }
}

/// Goes through all users, page by page.
fn purge(door: &Door, request: &Value, dry_run: bool) -> anyhow::Result<Value> {
    let (mut users, mut changes, mut after) = (0_u64, 0_u64, Value::Null);
    loop {
        let mut body = request.clone();
        if let Some(body) = body.as_object_mut() {
            body.insert("dryRun".to_owned(), dry_run.into());
            body.insert("after".to_owned(), after);
        }
        let mut page = door.post("/v1/queues/purge", &body)?;
        users = users.saturating_add(output::field(&page, "users").as_u64().unwrap_or_default());
        changes = changes.saturating_add(output::field(&page, "changes").as_u64().unwrap_or_default());
        after = page.get_mut("next").map(Value::take).unwrap_or_default();
        if after.is_null() {
            return Ok(json!({"users": users, "changes": changes, "dryRun": dry_run}));
        }
    }
}

fn summary(purged: &Value) -> String {
    let number = |field| output::field(purged, field).as_u64().unwrap_or_default();
    format!("{} of {}", output::plural(number("changes"), "change"), output::plural(number("users"), "user"))
}
