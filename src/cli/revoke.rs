//! `hobnob token revoke`.

use clap::{ArgGroup, Args};
use serde_json::json;

use super::{consent::Consent, door::DoorArgs, output};

/// Takes tokens back: all that a user has at the moment, or a single one. Connections that were opened with them end.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true))]
#[command(after_help = "Examples:\n  hobnob token revoke --user alice\n  hobnob token revoke --jti 5f0c9e6b")]
pub(super) struct Revoke {
    #[command(flatten)]
    door: DoorArgs,
    /// All tokens of this user that were made until now
    #[arg(long, value_name = "USER", group = "which", allow_hyphen_values = true)]
    user: Option<String>,
    /// The token whose claim `jti` this is
    #[arg(long, value_name = "ID", group = "which", allow_hyphen_values = true)]
    jti: Option<String>,
    #[command(flatten)]
    consent: Consent,
}

impl Revoke {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.consent.check()?;
        let what = match (&self.user, &self.jti) {
            (Some(user), _) => format!("all tokens of {}", output::escape(user)),
            (None, Some(jti)) => format!("the token {}", output::escape(jti)),
            (None, None) => "no token".to_owned(),
        };
        let door = self.door.open()?;
        let request = json!({"user": self.user, "jti": self.jti});
        if let Some(user) = &self.user {
            // A misspelt name is told before anybody agrees to it.
            door.get("/v1/user", &[("user", Some(user.clone()))])?;
        }
        if self.consent.is_dry_run() {
            return door.print(&request, |_| format!("would revoke {what}\n"));
        }
        self.consent.ask(&format!("revoke {what} at {}", door.place()))?;
        let answer = door.post("/v1/tokens/revoke", &request)?;
        door.print(&answer, |_| format!("revoked {what}\n"))
    }
}
