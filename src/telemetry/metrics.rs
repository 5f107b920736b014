//! What is counted, in the text form of `OpenMetrics`.
//!
//! Every family is declared once, in the list below; names get the prefix `hobnob_` and counters the ending `_total`. Label
//! values come from the program (codes, declared events, namespaces), never from clients, and no label names a user.

use std::{
    fmt::{self, Debug},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use crate::{codes::ErrorCode, protocol::engineio::CloseReason};

/// The prefix of all names.
const PREFIX: &str = "hobnob";

/// The event name under which events are counted that the server does not know.
const UNKNOWN: &str = "unknown";

/// One family of metrics.
#[derive(Clone, Copy, Debug)]
pub struct FamilyDoc {
    /// Its name, without prefix and ending.
    pub name: &'static str,
    /// What it measures.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The label that splits it, if one does.
    pub label: Option<&'static str>,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises; with the server's start it begins anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often values were how large.
    Histogram,
}

/// One value of a family that is read when somebody asks for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The value of the family's label; nothing where it has none.
    pub label: Option<Arc<str>>,
    /// The value.
    pub value: u64,
}

impl Sample {
    /// A value without a label.
    #[must_use]
    pub const fn plain(value: u64) -> Self {
        Self { label: None, value }
    }

    /// A value with its label.
    #[must_use]
    pub fn labelled(label: impl Into<Arc<str>>, value: u64) -> Self {
        Self { label: Some(label.into()), value }
    }
}

macro_rules! families {
    ($($name:ident : $kind:ident $(by $label:literal)?, $help:literal;)*) => {
        /// All families.
        pub const FAMILIES: &[FamilyDoc] = &[
            $(FamilyDoc {
                name: stringify!($name),
                help: $help,
                kind: families!(@kind $kind),
                label: families!(@label $($label)?),
            },)*
        ];

        #[derive(Default)]
        struct Families {
            $($name: families!(@type $kind $($label)?),)*
        }

        impl Families {
            fn register(&self, registry: &mut Registry) {
                let mut docs = FAMILIES.iter();
                // The fields are in the order of the list, both being made from it.
                $(if let Some(doc) = docs.next() {
                    self.$name.register(doc, registry);
                })*
            }

            fn reading(&self, name: &str) -> Option<&Reading> {
                match name {
                    $(stringify!($name) => families!(@reading $kind, self.$name),)*
                    _ => None,
                }
            }
        }

        impl Metrics {
            $(families!(@accessor $kind $($label)?, $name, $help);)*
        }
    };
    (@label) => { None };
    (@label $label:literal) => { Some($label) };
    (@kind Counter) => { Kind::Counter };
    (@kind CounterRead) => { Kind::Counter };
    (@kind GaugeRead) => { Kind::Gauge };
    (@kind Histogram) => { Kind::Histogram };
    (@type Counter) => { Counter };
    (@type Counter $label:literal) => { Labelled };
    (@type CounterRead $($label:literal)?) => { Reading };
    (@type GaugeRead $($label:literal)?) => { Reading };
    (@type Histogram) => { Seconds };
    (@reading CounterRead, $field:expr) => { Some(&$field) };
    (@reading GaugeRead, $field:expr) => { Some(&$field) };
    (@reading $kind:ident, $field:expr) => { None };
    (@accessor Counter, $name:ident, $help:literal) => {
        #[doc = $help]
        #[must_use]
        pub fn $name(&self) -> &Counter {
            &self.shared.families.$name
        }
    };
    (@accessor $($rest:tt)*) => {};
}

families! {
    sessions: GaugeRead by "transport", "Open Engine.IO sessions.";
    sockets: GaugeRead by "namespace", "Sockets in a namespace.";
    users_online: GaugeRead, "Users with at least one socket.";
    sessions_closed: Counter by "reason", "Sessions that have ended.";
    slow_consumers: Counter, "Sessions closed because their client read too slowly.";
    volatile_dropped: CounterRead, "Events dropped for a slow reader because they are worthless when late.";
    events: Counter by "event", "Events received.";
    refusals: Counter by "code", "Requests refused.";
    auth_refusals: Counter by "code", "Clients that were not let in.";
    rate_limited: Counter by "event", "Events refused by a rate limit.";
    messages_stored: Counter, "Messages stored.";
    messages_missing: Counter, "Messages found missing although a conversation has them: damage of the database.";
    deliveries: Counter, "Messages queued for a receiver.";
    deliveries_confirmed: Counter, "Deliveries that were confirmed.";
    redeliveries: Counter, "Messages sent again because their delivery was not confirmed.";
    queue_truncated: Counter, "Messages dropped from the queue of a user who was away too long.";
    notifications_created: Counter, "Notifications created.";
    locks_held: GaugeRead, "Message locks held.";
    commits: Counter, "Commits of the database.";
    commit_duration_seconds: Histogram, "Time of a commit, sync included.";
    store_bytes: GaugeRead, "Size of the database file.";
    disk_free_bytes: GaugeRead, "Free space on the disk with the database.";
    memory_bytes: GaugeRead, "Resident memory of the process.";
    redis_connected: GaugeRead, "Whether the connections to Redis are there, on a node of a cluster.";
    cluster_nodes: GaugeRead, "Nodes of the cluster that are there, this one included.";
    bus_messages: CounterRead by "outcome", "Messages to and from other nodes.";
    spooled_entries: GaugeRead, "Entries that wait on this node's disk until Redis is back.";
    spooled_bytes: GaugeRead, "Their size.";
    spool_conflicts: CounterRead, "Spooled batches that other nodes had made pointless.";
    panics: CounterRead, "Requests that ended in a mistake of the program.";
    log_lines_lost: CounterRead by "reason", "Log lines that were not written.";
}

/// All metrics of this process. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    families: Families,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let families = Families::default();
        let mut registry = Registry::with_prefix(PREFIX);
        families.register(&mut registry);
        // Those whose values are known begin at 0, so that a first refusal is a rise.
        for code in ErrorCode::ALL {
            families.refusals.of(code.name());
        }
        for code in ErrorCode::ALL.iter().filter(|code| code.http_status() == 401) {
            families.auth_refusals.of(code.name());
        }
        families.events.of(UNKNOWN);
        families.rate_limited.of(UNKNOWN);
        families.sessions_closed.of(reason_name(CloseReason::ClientClose));
        Self { shared: Arc::new(Shared { families, registry }) }
    }
}

impl Metrics {
    /// The counter of an event; `None` for names that the server does not know. To be kept by whoever counts often.
    #[must_use]
    pub fn event(&self, name: Option<&'static str>) -> Counter {
        self.shared.families.events.of(name.unwrap_or(UNKNOWN))
    }

    /// A request was refused.
    pub fn refusal(&self, code: ErrorCode) {
        self.shared.families.refusals.of(code.name()).inc();
    }

    /// A client was not let in.
    pub fn auth_refusal(&self, code: ErrorCode) {
        self.shared.families.auth_refusals.of(code.name()).inc();
    }

    /// An event was refused by a rate limit; `None` for names that the server does not know.
    pub fn limited(&self, event: Option<&'static str>) {
        self.shared.families.rate_limited.of(event.unwrap_or(UNKNOWN)).inc();
    }

    /// A session has ended.
    pub fn closed(&self, reason: CloseReason) {
        self.shared.families.sessions_closed.of(reason_name(reason)).inc();
        if reason == CloseReason::SlowConsumer {
            self.slow_consumers().inc();
        }
    }

    /// A commit has succeeded.
    pub fn committed(&self, duration: Duration) {
        self.commits().inc();
        self.shared.families.commit_duration_seconds.0.observe(duration.as_secs_f64());
    }

    /// Says how the values of `family` (its name in [`FAMILIES`]) are found; `read` is called whenever somebody asks for the
    /// metrics. Families that are counted where things happen are left alone.
    pub fn read(&self, family: &str, read: impl Fn() -> Vec<Sample> + Send + Sync + 'static) {
        let reading = self.shared.families.reading(family);
        debug_assert!(reading.is_some(), "no such family is read: {family}");
        if let Some(reading) = reading {
            *reading.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(read));
        }
    }

    /// All metrics in the text form of `OpenMetrics` 1.0.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        text::encode(&mut text, &self.shared.registry).unwrap_or_default();
        text
    }
}

impl Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The reason as a label: the words of the log.
const fn reason_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::ClientClose => "client close",
        CloseReason::TransportError => "transport error",
        CloseReason::PingTimeout => "ping timeout",
        CloseReason::ParseError => "parse error",
        CloseReason::Overlap => "overlapping requests",
        CloseReason::TooLarge => "too large",
        CloseReason::ConnectTimeout => "connect timeout",
        CloseReason::SlowConsumer => "slow consumer",
        CloseReason::Flood => "flood",
        CloseReason::ServerClose => "server close",
        CloseReason::Shutdown => "server shutting down",
    }
}

/// What can be a field of [`Families`].
trait Register {
    fn register(&self, doc: &'static FamilyDoc, registry: &mut Registry);
}

/// The help without its full stop: the encoder writes one.
fn help(doc: &FamilyDoc) -> &'static str {
    doc.help.trim_end_matches('.')
}

impl Register for Counter {
    fn register(&self, doc: &'static FamilyDoc, registry: &mut Registry) {
        registry.register(doc.name, help(doc), self.clone());
    }
}

/// Counters by one label whose values are part of the program.
#[derive(Clone, Default)]
struct Labelled {
    family: Family<[(&'static str, &'static str); 1], Counter>,
    label: std::sync::OnceLock<&'static str>,
}

impl Labelled {
    fn of(&self, value: &'static str) -> Counter {
        let label = self.label.get().copied().unwrap_or_default();
        self.family.get_or_create_owned(&[(label, value)])
    }
}

impl Register for Labelled {
    fn register(&self, doc: &'static FamilyDoc, registry: &mut Registry) {
        self.label.get_or_init(|| doc.label.unwrap_or_default());
        registry.register(doc.name, help(doc), self.family.clone());
    }
}

/// A histogram of times from 0.1 ms to 13 s.
struct Seconds(Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.0001, 2.0, 18)))
    }
}

impl Register for Seconds {
    fn register(&self, doc: &'static FamilyDoc, registry: &mut Registry) {
        registry.register(doc.name, help(doc), self.0.clone());
    }
}

/// A family whose values somebody else keeps.
#[derive(Clone, Default)]
struct Reading(Arc<Mutex<Option<Read>>>);

type Read = Arc<dyn Fn() -> Vec<Sample> + Send + Sync>;

impl Register for Reading {
    fn register(&self, doc: &'static FamilyDoc, registry: &mut Registry) {
        registry.register_collector(Box::new(Collected { doc, reading: self.clone() }));
    }
}

struct Collected {
    doc: &'static FamilyDoc,
    reading: Reading,
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let read = self.reading.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let samples = read.map(|read| read()).unwrap_or_default();
        let is_counter = self.doc.kind == Kind::Counter;
        let kind = if is_counter { MetricType::Counter } else { MetricType::Gauge };
        let help = format!("{}.", help(self.doc));
        let mut encoder = encoder.encode_descriptor(self.doc.name, &help, None, kind)?;
        for Sample { label, value } in samples {
            match (self.doc.label, label) {
                (Some(name), Some(label)) => {
                    encode(encoder.encode_family(&[(name, &*label)])?, is_counter, value)?;
                }
                (None, None) => return encode(encoder, is_counter, value),
                _ => debug_assert!(false, "labels of {} as in the list", self.doc.name),
            }
        }
        Ok(())
    }
}

impl Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collected").field(&self.doc.name).finish()
    }
}

fn encode(encoder: MetricEncoder<'_>, is_counter: bool, value: u64) -> fmt::Result {
    if is_counter {
        ConstCounter::new(value).encode(encoder)
    } else {
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are samples, as name with labels, and value.
    fn samples(text: &str) -> Vec<(&str, f64)> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').expect("a value"))
            .map(|(name, value)| (name, value.parse().expect("a number")))
            .collect()
    }

    fn value(text: &str, name: &str) -> Option<f64> {
        samples(text).into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    #[test]
    fn every_declared_family_is_told_with_its_kind_and_help() {
        let text = Metrics::default().text();
        for FamilyDoc { name, help, kind, .. } in FAMILIES {
            let kind = format!("{kind:?}").to_lowercase();
            assert!(text.contains(&format!("# HELP hobnob_{name} {help}\n")), "{name}: {text}");
            assert!(text.contains(&format!("# TYPE hobnob_{name} {kind}\n")), "{name}: {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(text.matches("# TYPE").count(), FAMILIES.len());
        assert!(samples(&text).len() > FAMILIES.len());
    }

    #[test]
    fn what_happens_is_counted_under_its_name() {
        let metrics = Metrics::default();
        metrics.event(Some("message:send")).inc_by(2);
        metrics.event(None).inc();
        metrics.refusal(ErrorCode::Forbidden);
        metrics.auth_refusal(ErrorCode::TokenExpired);
        metrics.limited(Some("user:typing"));
        metrics.closed(CloseReason::SlowConsumer);
        metrics.clone().messages_stored().inc();
        metrics.committed(Duration::from_millis(5));
        let text = metrics.text();
        for name in [
            "hobnob_events_total{event=\"unknown\"}",
            "hobnob_refusals_total{code=\"forbidden\"}",
            "hobnob_auth_refusals_total{code=\"token_expired\"}",
            "hobnob_rate_limited_total{event=\"user:typing\"}",
            "hobnob_sessions_closed_total{reason=\"slow consumer\"}",
            "hobnob_slow_consumers_total",
            "hobnob_messages_stored_total",
            "hobnob_commits_total",
            "hobnob_commit_duration_seconds_count",
            "hobnob_commit_duration_seconds_bucket{le=\"0.0064\"}",
        ] {
            assert_eq!(value(&text, name), Some(1.0), "{name}: {text}");
        }
        assert_eq!(value(&text, "hobnob_events_total{event=\"message:send\"}"), Some(2.0));
        assert_eq!(value(&text, "hobnob_refusals_total{code=\"locked\"}"), Some(0.0));
    }

    #[test]
    fn what_somebody_else_keeps_is_read_when_asked_for() {
        let metrics = Metrics::default();
        assert_eq!(value(&metrics.text(), "hobnob_users_online"), None);
        let users = Arc::new(std::sync::atomic::AtomicU64::new(3));
        let read = Arc::clone(&users);
        metrics.read("users_online", move || vec![Sample::plain(read.load(std::sync::atomic::Ordering::Relaxed))]);
        metrics.read("sockets", || vec![Sample::labelled("/", 2), Sample::labelled("/messages", 0)]);
        metrics.read("panics", || vec![Sample::plain(0)]);
        users.store(4, std::sync::atomic::Ordering::Relaxed);
        let text = metrics.text();
        assert_eq!(value(&text, "hobnob_users_online"), Some(4.0));
        assert_eq!(value(&text, "hobnob_sockets{namespace=\"/\"}"), Some(2.0));
        assert_eq!(value(&text, "hobnob_panics_total"), Some(0.0));
    }
}
