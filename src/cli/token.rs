//! `hobnob token`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{SettingsArgs, output, revoke::Revoke};
use crate::{
    app::{
        exit::{ExitCode, ExitError},
        secret,
    },
    clock::Timestamp,
    config::Config,
    features::auth::{Algorithm, Keys, standard_claims},
    ids::UserId,
};

/// Longest life of a token: ten years.
const MAX_TTL: Duration = Duration::from_hours(87_600);

/// Makes tokens and takes them back.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Print a token for a user, signed with the server's secret (HS256)
    ///
    /// The token says when it was made (`iat`): revoking a user's tokens refuses those made before. With --jti it can be revoked
    /// alone.
    Sign(Sign),
    /// Take back the tokens of a user, or a single one
    Revoke(Revoke),
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Sign(sign) => sign.run(),
            Self::Revoke(revoke) => revoke.run(),
        }
    }
}

/// Prints the token and nothing else.
#[derive(Debug, Args)]
pub(super) struct Sign {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The user's id
    #[arg(long, value_name = "ID", value_parser = user)]
    user: UserId,
    /// How long it is valid: a number and s, m, h, d or w
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    /// The token's own id, by which it can be revoked
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// Another claim, such as username=Alice; the value may be JSON. May be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
}

impl Sign {
    fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(None).map_err(ExitError::from)?;
        let algorithm = config.auth.algorithm;
        if algorithm != Algorithm::Hs256 {
            let message = format!(
                "auth.algorithm is {}: tokens are signed by whoever has the private key, which is not this server",
                algorithm.name()
            );
            return Err(ExitError::new(ExitCode::Config, message).into());
        }
        let secret = match &config.auth.jwt_secret {
            Some(secret) => secret.as_bytes().to_vec(),
            None => secret::load(&config.storage.dir).map_err(ExitError::from)?.0,
        };
        let mut extra = self.claims;
        extra.extend(self.jti.map(|jti| ("jti".to_owned(), jti.into())));
        let claims = claims(&self.user, self.ttl, extra, &config)?;
        let token = Keys::hs256(&[&secret]).sign(&claims);
        let token = token.ok_or_else(|| ExitError::new(ExitCode::Software, "the token could not be signed"))?;
        output::print(&format!("{token}\n"))
    }
}

/// The claims of a token that this server accepts.
fn claims(
    user: &UserId,
    ttl: Duration,
    extra: Vec<(String, Value)>,
    config: &Config,
) -> Result<Map<String, Value>, ExitError> {
    let mut claims = standard_claims(user, Timestamp::now(), ttl, &config.auth);
    let mut given = Vec::new();
    for (name, value) in extra {
        let is_set = ["id", "sub", "iat", "exp"].contains(&name.as_str());
        if is_set || given.contains(&name) {
            let message = format!("--claim {name}: given twice, or set by --user, --ttl and --jti");
            return Err(ExitError::new(ExitCode::Usage, message));
        }
        claims.insert(name.clone(), value);
        given.push(name);
    }
    Ok(claims)
}

fn user(text: &str) -> Result<UserId, String> {
    UserId::new(text).map_err(|error| error.to_string())
}

/// Reads `90s`, `15m`, `1h`, `7d`, `2w`.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number and s, m, h, d or w, such as 1h; at most ten years".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds: u64 = match text.strip_prefix(digits) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some("d") => 86_400,
        Some("w") => 604_800,
        Some(_) | None => return Err(expected()),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    let time = number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(expected)?;
    if time.is_zero() || time > MAX_TTL { Err(expected()) } else { Ok(time) }
}

/// Reads `name=value`; a value that is no JSON is a text.
fn claim(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
        }
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        assert_eq!(ttl("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(ttl("1h"), Ok(Duration::from_hours(1)));
        assert_eq!(ttl("2w"), Ok(Duration::from_hours(336)));
        for text in ["", "h", "1", "0s", "-1h", "1.5h", "1y", "1 h", "99999999999999999999s", "400000d", "1hh"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_claim_is_json_or_else_a_text() {
        assert_eq!(claim("username=Alice"), Ok(("username".to_owned(), "Alice".into())));
        assert_eq!(claim("roles=[\"admin\"]"), Ok(("roles".to_owned(), serde_json::json!(["admin"]))));
        assert_eq!(claim("n=5"), Ok(("n".to_owned(), 5.into())));
        assert_eq!(claim("empty="), Ok(("empty".to_owned(), "".into())));
        assert!(claim("name").is_err());
        assert!(claim("=value").is_err());
    }

    #[test]
    fn claims_name_the_user_and_what_the_server_demands() {
        let user = UserId::new("alice").expect("an id");
        let mut config = Config::default();
        config.auth.issuer = Some("app".to_owned());
        config.auth.audience = vec!["chat".to_owned(), "other".to_owned()];
        let made =
            claims(&user, Duration::from_mins(1), vec![("aud".to_owned(), "other".into())], &config).expect("claims");
        assert_eq!(
            (&made["id"], &made["sub"], &made["iss"], &made["aud"]),
            (&"alice".into(), &"alice".into(), &"app".into(), &"other".into())
        );
        assert_eq!(made["exp"].as_i64(), made["iat"].as_i64().map(|iat| iat + 60));
        for name in ["id", "sub", "iat", "exp"] {
            assert!(
                claims(&user, Duration::from_mins(1), vec![(name.to_owned(), 1.into())], &config).is_err(),
                "{name}"
            );
        }
    }
}
