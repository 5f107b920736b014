//! `config.example.toml`.

use std::fmt::Write as _;

use super::{
    default_of,
    settings::{self, SETTINGS, Setting},
    value::{Kind, unit},
};

const HEAD: &str = "\
# Settings of Hobnob, each with its default. Remove the # before a key to change it.
# Printed by: hobnob default-config
#
# Read from the file that --config names, else ./config.toml, else /etc/hobnob/config.toml.
# Variables of the environment (or of a .env file in the working directory) win over this file, flags over both.
# A secret can also be given as the name of a file, jwt_secret_file = \"...\" or JWT_SECRET_FILE, or as a systemd credential.
";

/// The text of `config.example.toml`: every setting, commented out, with its meaning, its variables and its default.
#[must_use]
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for section in settings::sections() {
        write!(text, "\n[{section}]\n").unwrap_or_default();
        for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
            text.push('\n');
            text.push_str(&entry(setting));
        }
    }
    text
}

fn entry(setting: &Setting) -> String {
    let help = setting.help.replace('\n', "\n# ");
    let variables: Vec<_> = setting.env.iter().map(ToString::to_string).chain([setting.variable()]).collect();
    let range = match setting.kind {
        Kind::Number { min, max } => format!("From {min} to {max}{}. ", unit(setting.key)),
        Kind::Switch | Kind::Text { .. } | Kind::List { .. } | Kind::Listen | Kind::Limits => String::new(),
    };
    let default = default_of(setting.key).map_or_else(|| "\"...\"".to_owned(), |value| value.to_string());
    format!("# {help}\n# {range}Environment: {}\n#{} = {default}\n", variables.join(", "), setting.name())
}
