//! The commands: one file each.

mod check_config;
mod config;
mod conn;
mod consent;
mod default_config;
mod door;
mod health;
mod lock;
mod log;
mod notify;
mod output;
mod queue;
mod schema;
mod serve;
mod token;
mod user;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use crate::{
    app::exit::{ExitCode, ExitError},
    config::{Config as Settings, ConfigError, Flags},
};

/// Self-hosted real-time server for chat: one binary, one database file, any Socket.IO client.
#[derive(Debug, Parser)]
#[command(name = "hobnob", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Make tokens for users
    #[command(subcommand)]
    Token(token::Token),
    /// Check the settings, and show the ones that are not at their defaults
    CheckConfig(check_config::CheckConfig),
    /// Show the settings
    #[command(subcommand)]
    Config(config::Config),
    /// Print a configuration file with every setting at its default
    DefaultConfig,
    /// Print what the server takes and sends, for programs and people
    Schema(schema::Schema),
    /// Ask a running server whether it is ready
    Health(health::Health),
    /// Look after what waits for people who are away
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Look after the locks of people who edit messages
    #[command(subcommand)]
    Lock(lock::Lock),
    /// Look after users
    #[command(subcommand)]
    User(user::User),
    /// Look after connections
    #[command(subcommand)]
    Conn(conn::Conn),
    /// Tell users something
    #[command(subcommand)]
    Notify(notify::Notify),
    /// Change what a running server logs
    #[command(subcommand)]
    Log(log::Log),
}

/// Where the settings are.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// Configuration file [default: ./config.toml, else /etc/hobnob/config.toml, if they exist]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory [default: ./hobnob-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

impl SettingsArgs {
    fn load(self, listen: Option<String>) -> Result<Settings, ConfigError> {
        Settings::load(&self.flags(listen))
    }

    fn flags(self, listen: Option<String>) -> Flags {
        Flags { config: self.config, listen, data_dir: self.data_dir }
    }
}

/// Runs the command that `arguments` (the program's name first) ask for.
///
/// # Errors
///
/// When the command failed: [`ExitError`] somewhere in the chain says with which exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    match Cli::try_parse_from(arguments) {
        Ok(Cli { command }) => match command {
            Command::Serve(serve) => serve.run(),
            Command::Token(token) => token.run(),
            Command::CheckConfig(check_config) => check_config.run(),
            Command::Config(config) => config.run(),
            Command::DefaultConfig => default_config::run(),
            Command::Schema(schema) => schema.run(),
            Command::Health(health) => health.run(),
            Command::Queue(queue) => queue.run(),
            Command::Lock(lock) => lock.run(),
            Command::User(user) => user.run(),
            Command::Conn(conn) => conn.run(),
            Command::Notify(notify) => notify.run(),
            Command::Log(log) => log.run(),
        },
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output::print(&error.to_string()),
            _ => Err(ExitError::new(ExitCode::Usage, usage(&error)).into()),
        },
    }
}

/// What clap has to say, on one line.
fn usage(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "what to do? Try `hobnob serve`, or `hobnob --help` for all commands".to_owned();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said: Vec<_> = said.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    format!("{}; see `hobnob --help`", said.join("; ").replace(":; ", ": "))
}
