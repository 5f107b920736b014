//! Which bucket an event is counted in, and how large that is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Config, Limit};

/// Events that clients send as a matter of course, often one for each that they get. Each has a bucket of its own, so that they neither
/// use up what is meant for the user's doing nor keep each other out.
pub(super) const LIGHT: &[&str] = &[
    "heartbeat",
    "metrics:get",
    "message:delivered",
    "message:read",
    "user:typing",
    "typing:stop",
    "conversation:view",
    "join-conversation",
    "notification:read",
    "auth:refresh",
];

/// How many times the general limit such a bucket holds.
const LIGHT_FACTOR: u32 = 10;

/// The bucket of a user that something is counted in. Its names come from the program and the settings, never from clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// All events without a bucket of their own.
    General,
    /// One event.
    Light(&'static str),
    /// One event with a limit from the settings.
    Event(Arc<str>),
    /// REST requests.
    Rest,
}

/// The names of events: each, old ones too, with the present one.
pub(super) type Names = HashMap<&'static str, &'static str>;

/// The settings, ready for use.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) config: Config,
    /// Limits of single events by present name.
    events: BTreeMap<Arc<str>, Limit>,
}

impl Policy {
    /// Limits written under an old name of an event count for the event.
    pub(super) fn new(config: Config, names: &Names) -> Self {
        let present = |name: &str| Arc::from(names.get(name).copied().unwrap_or(name));
        let events = config.events.iter().map(|(name, limit)| (present(name), *limit)).collect();
        Self { config, events }
    }

    /// The bucket and the limit of an event, told by its present name; `None` without a limit.
    pub(super) fn of(&self, name: &str, roles: &[String]) -> Option<(Counted, Limit)> {
        if let Some((name, limit)) = self.events.get_key_value(name) {
            return Some((Counted::Event(Arc::clone(name)), limit.enabled()?));
        }
        let general = self.general(roles)?;
        match LIGHT.iter().find(|light| **light == name) {
            Some(light) => Some((Counted::Light(light), general.times(LIGHT_FACTOR))),
            None => Some((Counted::General, general)),
        }
    }

    /// The limit of a user with these roles: the largest that one of them gives, in place of the general one.
    pub(super) fn general(&self, roles: &[String]) -> Option<Limit> {
        let given = roles.iter().filter_map(|role| self.config.roles.get(role)).copied();
        let largest = given.reduce(|largest, limit| if limit.exceeds(&largest) { limit } else { largest });
        largest.unwrap_or_else(|| self.config.general()).enabled()
    }

    /// Names in the settings that no event has.
    pub(super) fn unknown<'a>(&'a self, names: &'a Names) -> impl Iterator<Item = &'a str> {
        self.config.events.keys().map(String::as_str).filter(|name| !names.contains_key(name))
    }
}
