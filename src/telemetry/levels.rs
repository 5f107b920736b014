//! What is logged, changed while the server runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{EnvFilter, filter::Targets};

use super::{Config, SOCKET_EVENTS};

/// Libraries whose debug lines repeat what clients sent, and the most detailed level that does not.
const QUIET: &[(&str, Level)] = &[
    ("tungstenite", Level::INFO),
    ("tokio_tungstenite", Level::INFO),
    ("hyper", Level::DEBUG),
    ("axum", Level::INFO),
    ("tower_http", Level::INFO),
];

/// Levels set at run time, at most: one per target.
const MAX_TARGETS: usize = 64;

/// Not a level, nor levels per module.
#[derive(Debug, Error)]
#[error("expected a level (error, warn, info, debug, trace, off), or levels such as hobnob::transport=debug")]
pub struct BadFilter;

/// Changes the levels of the log. Clones share it.
#[derive(Clone)]
pub struct Levels {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    apply: Box<dyn Fn(EnvFilter, Targets) + Send + Sync>,
}

#[derive(Clone)]
struct State {
    /// What the configuration says.
    filter: String,
    /// What was set later, by target; the empty target is the level of all others.
    set: Vec<(String, String)>,
    socket_events: bool,
}

impl Levels {
    /// Levels as `config` has them; `apply` is called with each change.
    pub(super) fn new(config: &Config, apply: impl Fn(EnvFilter, Targets) + Send + Sync + 'static) -> Self {
        let state = State { filter: config.filter.clone(), set: Vec::new(), socket_events: config.socket_events };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), apply: Box::new(apply) }) }
    }

    /// Sets levels until the next start or reload: `debug`, `hobnob::transport=debug`, or several with commas.
    ///
    /// # Errors
    ///
    /// When that is no level, and when too many targets have one already. Nothing has changed then.
    pub fn set(&self, levels: &str) -> Result<(), BadFilter> {
        let levels: Vec<&str> = levels.split(',').map(str::trim).collect();
        if !is_filter(&levels.join(",")) {
            return Err(BadFilter);
        }
        self.change(|state| {
            for level in levels {
                let target = level.split_once('=').map_or("", |(target, _)| target);
                state.set.retain(|(known, _)| known != target);
                state.set.push((target.to_owned(), level.to_owned()));
            }
        })
    }

    /// Turns the lines about single connections and events on or off, until the next start or reload.
    pub fn set_socket_events(&self, on: bool) {
        self.change(|state| state.socket_events = on).unwrap_or_default();
    }

    /// Goes back to what `config` says.
    pub(super) fn reset(&self, config: &Config) {
        let state = State { filter: config.filter.clone(), set: Vec::new(), socket_events: config.socket_events };
        self.change(|present| *present = state).unwrap_or_default();
    }

    /// The levels in force, as one filter, and whether single events are logged.
    #[must_use]
    pub fn current(&self) -> (String, bool) {
        let state = self.state();
        (state.text(), state.socket_events)
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), BadFilter> {
        let mut state = self.state();
        let mut changed = state.clone();
        change(&mut changed);
        if changed.set.len() > MAX_TARGETS || !is_filter(&changed.text()) {
            return Err(BadFilter);
        }
        // Under the lock, so that the filter in force is always the one that is shown.
        (self.shared.apply)(changed.filter(), changed.caps());
        *state = changed;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Levels").field(&self.current()).finish()
    }
}

/// Whether `text` is a level, or levels per module.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    !text.trim().is_empty() && EnvFilter::try_new(text).is_ok_and(|filter| filter.max_level_hint().is_some())
}

/// The filter and the caps of `config`.
pub(super) fn initial(config: &Config) -> (EnvFilter, Targets) {
    let state = State { filter: config.filter.clone(), set: Vec::new(), socket_events: config.socket_events };
    (state.filter(), state.caps())
}

impl State {
    /// The configured filter, then what was set later, which wins.
    fn text(&self) -> String {
        let set = self.set.iter().map(|(_, level)| level.as_str());
        std::iter::once(self.filter.as_str()).chain(set).collect::<Vec<_>>().join(",")
    }

    fn filter(&self) -> EnvFilter {
        let filter = EnvFilter::try_new(self.text()).unwrap_or_else(|_| EnvFilter::new("info"));
        let events = format!("{SOCKET_EVENTS}=info").parse();
        match events {
            Ok(directive) if self.socket_events => filter.add_directive(directive),
            Ok(_) | Err(_) => filter,
        }
    }

    /// What is never logged, however the filter is set.
    fn caps(&self) -> Targets {
        // Refusals and forced ends are warnings: they are told, thinned out, in any case.
        let events = if self.socket_events { LevelFilter::TRACE } else { LevelFilter::WARN };
        let quiet = QUIET.iter().copied();
        Targets::new().with_default(Level::TRACE).with_targets(quiet).with_target(SOCKET_EVENTS, events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels() -> Levels {
        Levels::new(&Config::default(), |_, _| ())
    }

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
        let (_, caps) = initial(&Config { filter: "trace".to_owned(), ..Config::default() });
        assert!(!caps.would_enable("tungstenite::protocol", &Level::DEBUG));
        assert!(caps.would_enable("tungstenite::protocol", &Level::INFO));
        assert!(!caps.would_enable("hyper::proto", &Level::TRACE));
        assert!(caps.would_enable("hobnob::transport", &Level::TRACE));
    }

    #[test]
    fn lines_about_single_events_are_off_unless_asked_for_or_refusals() {
        let (_, caps) = initial(&Config::default());
        assert!(!caps.would_enable(SOCKET_EVENTS, &Level::INFO));
        assert!(caps.would_enable(SOCKET_EVENTS, &Level::WARN));
        let (_, caps) = initial(&Config { socket_events: true, ..Config::default() });
        assert!(caps.would_enable(SOCKET_EVENTS, &Level::INFO));
    }

    #[test]
    fn levels_set_later_win_replace_each_other_and_end_with_a_reset() {
        let levels = levels();
        levels.set("hobnob=debug").expect("a level");
        levels.set("hobnob::transport=trace, hobnob=warn").expect("levels");
        levels.set_socket_events(true);
        assert_eq!(levels.current(), ("info,hobnob::transport=trace,hobnob=warn".to_owned(), true));
        assert!(levels.set("hobnob=loud").is_err());
        levels.reset(&Config { filter: "error".to_owned(), ..Config::default() });
        assert_eq!(levels.current(), ("error".to_owned(), false));
    }

    #[test]
    fn only_so_many_targets_can_be_set() {
        let levels = levels();
        for n in 0..MAX_TARGETS {
            levels.set(&format!("a{n}=debug")).expect("room");
        }
        assert!(levels.set("one_too_many=debug").is_err());
        levels.set("a0=info").expect("known already");
    }
}
