//! `hobnob api-key`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    consent::Consent,
    door::DoorArgs,
    output::{self, Column},
};
use crate::app::exit::ExitError;

const COLUMNS: &[Column] = &[("ID", "id"), ("NAME", "name"), ("SINCE", "createdAt"), ("LAST USED", "lastUsedAt")];

/// The end of a command about a key that does not exist.
const NOT_FOUND: u8 = 1;

/// Looks after the keys with which the app's backend signs in.
#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Make a key and print it
    Create(Create),
    /// List keys
    Ls(Ls),
    /// Take a key back
    Revoke(Revoke),
}

impl ApiKey {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(),
            Self::Ls(ls) => ls.run(),
            Self::Revoke(revoke) => revoke.run(),
        }
    }
}

/// Prints a new key and nothing else. It cannot be shown again: only its hash is kept.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob api-key create --name billing")]
pub(super) struct Create {
    #[command(flatten)]
    door: DoorArgs,
    /// What to call it
    #[arg(long, value_name = "NAME")]
    name: String,
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = door.post("/v1/api-keys", &json!({"name": self.name}))?;
        door.print(&answer, |answer| format!("{}\n", output::field(answer, "key").as_str().unwrap_or_default()))
    }
}

/// Lists keys by their public part, the one between the underscores.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob api-key ls")]
pub(super) struct Ls {
    #[command(flatten)]
    door: DoorArgs,
}

impl Ls {
    fn run(self) -> anyhow::Result<()> {
        let door = self.door.open()?;
        let answer = door.get("/v1/api-keys", &[])?;
        door.print(&answer, |answer| output::table(output::field(answer, "apiKeys"), COLUMNS))
    }
}

/// Takes a key back: requests with it are refused from then on.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hobnob api-key revoke 3f9c2a7b61d0e845")]
pub(super) struct Revoke {
    #[command(flatten)]
    door: DoorArgs,
    /// The key's public part, as `hobnob api-key ls` shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    consent: Consent,
}

impl Revoke {
    fn run(self) -> anyhow::Result<()> {
        self.consent.check()?;
        let door = self.door.open()?;
        let keys = door.get("/v1/api-keys", &[])?;
        let keys = output::field(&keys, "apiKeys").as_array().into_iter().flatten();
        let key = keys.into_iter().find(|key| output::field(key, "id").as_str() == Some(&*self.id));
        let key = key.ok_or(ExitError { code: NOT_FOUND, message: "API key not found".to_owned() })?;
        let name = output::escape(output::field(key, "name").as_str().unwrap_or_default());
        if self.consent.is_dry_run() {
            return door.print(key, |_| format!("would revoke the API key {name}\n"));
        }
        self.consent.ask(&format!("revoke the API key {name} at {}", door.place()))?;
        let answer = door.post("/v1/api-keys/revoke", &json!({"id": self.id}))?;
        door.print(&answer, |_| format!("revoked the API key {name}\n"))
    }
}
