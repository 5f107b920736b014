//! `hobnob notify`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    door::DoorArgs,
    output::{self, Column},
    token::ttl,
};
use crate::{app::exit::ExitError, clock::Timestamp};

const COLUMNS: &[Column] = &[("USER", "user"), ("NOTIFICATION", "notification.id"), ("ERROR", "error")];

/// Tells users something.
#[derive(Debug, Subcommand)]
pub(super) enum Notify {
    /// Send a notification
    Send(Send),
}

impl Notify {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Send(send) => send.run(),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Priority {
    Low,
    Normal,
    High,
    Urgent,
}

/// Sends a notification: at once to who is connected, else when they come back. It is kept until it was read.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hobnob notify send --user alice --title Maintenance --message 'Tonight at 10 pm.' --expires-in 12h"
)]
pub(super) struct Send {
    #[command(flatten)]
    door: DoorArgs,
    /// Whom to tell. May be repeated
    #[arg(long = "user", value_name = "USER", required = true, allow_hyphen_values = true)]
    users: Vec<String>,
    /// One line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    title: String,
    /// The text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    message: String,
    /// What it is about, as clients filter it
    #[arg(long = "type", value_name = "TYPE", default_value = "system")]
    kind: String,
    /// How much it matters
    #[arg(long, value_name = "PRIORITY", default_value = "normal")]
    priority: Priority,
    /// What opens when it is chosen
    #[arg(long, value_name = "URL")]
    action_url: Option<String>,
    /// JSON for the app
    #[arg(long, value_name = "JSON", value_parser = data)]
    data: Option<Value>,
    /// Replaces an unread notification with the same key
    #[arg(long, value_name = "KEY")]
    collapse_key: Option<String>,
    /// After this time it goes by itself: a number and s, m, h, d or w
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    expires_in: Option<Duration>,
}

impl Send {
    fn run(self) -> anyhow::Result<()> {
        let priority = match self.priority {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
            Priority::Urgent => "urgent",
        };
        let draft = json!({
            "title": self.title,
            "message": self.message,
            "type": self.kind,
            "priority": priority,
            "actionUrl": self.action_url,
            "data": self.data,
            "collapseKey": self.collapse_key,
            "expiresAt": self.expires_in.map(|time| Timestamp::now().after(time)),
        });
        let door = self.door.open()?;
        let (mut sent, mut failed): (Vec<Value>, Option<ExitError>) = (Vec::new(), None);
        for user in self.users {
            let mut body = draft.clone();
            if let Some(body) = body.as_object_mut() {
                body.insert("user".to_owned(), user.as_str().into());
            }
            // One user who is misspelt does not keep the others from hearing it, and everybody knows who has heard it.
            match door.post("/v1/notifications", &body) {
                Ok(notification) => sent.push(json!({"user": user, "notification": notification, "error": null})),
                Err(error) => {
                    sent.push(json!({"user": user, "notification": null, "error": error.message}));
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed.take_if(|_| sent.len() == 1) {
            return Err(error.into());
        }
        let answer = json!({"sent": sent});
        door.print(&answer, |answer| output::table(output::field(answer, "sent"), COLUMNS))?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn data(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("expected JSON: {error}"))
}
