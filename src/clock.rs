//! The only reader of time.
//!
//! Deadlines use [`Instant`] (monotonic), what is stored or shown uses [`Timestamp`] (wall clock). Under tokio's
//! paused test clock both move together, so a test can advance a timer and see the dates follow.

use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::json;
pub use tokio::time::Instant;

/// The monotonic time, for deadlines and intervals.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// A moment of the wall clock in milliseconds since 1970, UTC.
///
/// On the wire it is written as ISO-8601 with milliseconds (`2026-11-24T06:00:00.000Z`) and read from that or from epoch
/// milliseconds. In records it is the plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Longest text that is looked at; ISO-8601 with nanoseconds and offset has 35 characters.
    const MAX_TEXT: usize = 40;

    /// The present moment of the wall clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        // tokio's clock runs ahead of the real one only when a test has paused and advanced it.
        let ahead = now().into_std().saturating_duration_since(std::time::Instant::now());
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(millis(since_1970.saturating_add(ahead)))
    }

    /// The moment `millis` milliseconds after 1970, UTC.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970, UTC.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment moved back by `duration`, at the least representable moment if that underflows.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// This moment moved ahead by `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long after `earlier` this is; nothing when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }

    /// Reads ISO-8601 (with an offset or `Z`) of at most 40 characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_TEXT {
            return None;
        }
        text.parse::<jiff::Timestamp>().ok().map(|moment| Self(moment.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            // Beyond the year 9999 there is no ISO-8601 date to write.
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // Written as ISO-8601; read as that or as epoch milliseconds.
        let kind = if generator.contract().is_deserialize() { json!(["string", "number"]) } else { json!("string") };
        json_schema!({"type": kind, "format": "date-time"})
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(DateVisitor)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

struct DateVisitor;

impl de::Visitor<'_> for DateVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date (ISO-8601 or epoch milliseconds)")
    }

    fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Timestamp, E> {
        Ok(Timestamp(millis))
    }

    fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Timestamp, E> {
        i64::try_from(millis).map(Timestamp).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(millis), &self))
    }

    fn visit_f64<E: de::Error>(self, millis: f64) -> Result<Timestamp, E> {
        // JavaScript may write epoch milliseconds with a fraction (performance.timeOrigin and the like).
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked on the same line")]
        if millis.is_finite() && millis.abs() < 9e15 {
            Ok(Timestamp(millis as i64))
        } else {
            Err(E::invalid_value(de::Unexpected::Float(millis), &self))
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Other("text"), &self))
    }
}

/// Whole milliseconds of a duration, at most `i64::MAX`.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn timestamps_follow_the_paused_clock() {
        let before = Timestamp::now();
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(Timestamp::now() >= before.after(Duration::from_secs(3599)));
    }

    #[test]
    fn dates_are_written_with_milliseconds_and_read_in_both_forms() {
        let moment = Timestamp::from_millis(1_700_000_000_120);
        let text = serde_json::to_string(&moment).expect("a date is text");
        assert_eq!(text, "\"2023-11-14T22:13:20.120Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).expect("its own text"), moment);
        assert_eq!(serde_json::from_str::<Timestamp>("1700000000120").expect("epoch"), moment);
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
        assert!(serde_json::from_str::<Timestamp>("1e300").is_err());
    }
}
