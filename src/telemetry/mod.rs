//! Log output: `tracing` events on standard error, as text for people or as one JSON object per line.
//!
//! Whatever a client can put into a field (event names, ids, user agents) is cut at 1 KiB and loses its control characters, so
//! that nobody can write lines or move the cursor in somebody's terminal.

mod config;
mod format;

use std::io::{self, IsTerminal as _};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, Targets},
    fmt::layer,
    layer::SubscriberExt as _,
    util::{SubscriberInitExt as _, TryInitError},
};

pub use self::config::{Config, Format};
use self::format::{Fields, Lines, Style};

/// The target of lines about single connections and events: off unless `log.socket_events` is set.
pub const SOCKET_EVENTS: &str = "socket_events";

/// Libraries whose debug lines repeat what clients sent.
const QUIET: &[&str] = &["tungstenite", "tokio_tungstenite"];

/// Starts logging to standard error. To be called once.
///
/// # Errors
///
/// When logging has been started already. A filter that cannot be read counts as `info`; [`is_filter`] tells beforehand.
pub fn init(config: &Config) -> Result<(), TryInitError> {
    let style = match config.format {
        Format::Auto | Format::Text if io::stderr().is_terminal() => coloured(),
        Format::Text => Style::Plain,
        Format::Auto | Format::Json => Style::Json,
    };
    let output = layer()
        .fmt_fields(Fields(style))
        .event_format(Lines(style))
        // A closed pipe must not turn a log line into a panic.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_filter(filter(config).and(caps(config)));
    tracing_subscriber::registry().with(output).try_init()
}

fn coloured() -> Style {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_unwanted { Style::Plain } else { Style::Coloured }
}

/// Whether `text` is a level, or levels per module.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    !text.trim().is_empty() && EnvFilter::try_new(text).is_ok_and(|filter| filter.max_level_hint().is_some())
}

fn filter(config: &Config) -> EnvFilter {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let events = format!("{SOCKET_EVENTS}=info").parse();
    match events {
        Ok(directive) if config.socket_events => filter.add_directive(directive),
        Ok(_) | Err(_) => filter,
    }
}

/// What is never logged, however the filter is set.
fn caps(config: &Config) -> Targets {
    let events = if config.socket_events { LevelFilter::TRACE } else { LevelFilter::OFF };
    let quiet = QUIET.iter().map(|target| (*target, Level::INFO));
    Targets::new().with_default(Level::TRACE).with_targets(quiet).with_target(SOCKET_EVENTS, events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_a_list_of_directives() {
        for filter in ["info", "off", "info,hobnob::transport=debug", "hobnob=trace"] {
            assert!(is_filter(filter), "{filter}");
        }
        for other in ["", " ", "hobnob=loud", "info,x=y=z"] {
            assert!(!is_filter(other), "{other}");
        }
    }

    #[test]
    fn libraries_that_repeat_payloads_stay_quiet() {
        let caps = caps(&Config::default());
        assert!(!caps.would_enable("tungstenite::protocol", &Level::DEBUG));
        assert!(caps.would_enable("tungstenite::protocol", &Level::INFO));
        assert!(caps.would_enable("hobnob::transport", &Level::TRACE));
    }

    #[test]
    fn lines_about_single_events_are_off_unless_asked_for() {
        assert!(!caps(&Config::default()).would_enable(SOCKET_EVENTS, &Level::ERROR));
        assert!(caps(&Config { socket_events: true, ..Config::default() }).would_enable(SOCKET_EVENTS, &Level::INFO));
    }
}
