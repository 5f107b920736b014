//! How many lines of a kind: a flood of refusals must not become a flood of lines.

use std::{
    collections::HashMap,
    fmt::{Debug, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tracing::{
    Event, Level, Metadata,
    callsite::Identifier,
    field::{Field, Visit},
};

use crate::clock::Instant;

/// Most lines of one kind within [`WINDOW`].
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Kinds that are remembered. At more all counts begin anew, which lets a few lines more pass.
const MAX_KINDS: usize = 1024;

/// The field that tells kinds of refusals apart that are logged at the same place.
const CODE: &str = "code";

/// Counts the lines of each kind: the place in the code, and the field `code` if there is one.
///
/// Debug and trace lines are not counted, nor are the lines about single events (unless they are refusals): the operator
/// has asked for each of them.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    kinds: Mutex<HashMap<(Identifier, String), Count>>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl Limiter {
    /// `None` when the line is one too many. Else how many like it were left out since the last one.
    pub(super) fn admit(&self, event: &Event<'_>, now: Instant) -> Option<u64> {
        let metadata = event.metadata();
        if !is_limited(metadata) {
            return Some(0);
        }
        let mut code = Code::default();
        if metadata.fields().field(CODE).is_some() {
            event.record(&mut code);
        }
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        let fresh = || Count { since: now, lines: 0, suppressed: 0 };
        let count = kinds.entry((metadata.callsite(), code.0)).or_insert_with(fresh);
        if now.saturating_duration_since(count.since) >= WINDOW {
            (count.since, count.lines) = (now, 0);
        }
        count.lines = count.lines.saturating_add(1);
        if count.lines > LINES {
            count.suppressed = count.suppressed.saturating_add(1);
            return None;
        }
        Some(std::mem::take(&mut count.suppressed))
    }
}

fn is_limited(metadata: &Metadata<'_>) -> bool {
    let asked_for = *metadata.level() > Level::INFO || metadata.target() == super::SOCKET_EVENTS;
    !asked_for || metadata.fields().field(CODE).is_some()
}

/// The field `code`.
#[derive(Default)]
struct Code(String);

impl Visit for Code {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == CODE {
            write!(self.0, "{value:?}").unwrap_or_default();
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == CODE {
            value.clone_into(&mut self.0);
        }
    }
}
