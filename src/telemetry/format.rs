//! How one event becomes one line.

use std::fmt::{self, Debug, Write as _};

use tracing::{
    Event, Level,
    field::{Field, Visit},
};
use tracing_subscriber::field::RecordFields;

use crate::clock::Timestamp;

/// Longest value of a field in bytes; what follows is cut.
const MAX_VALUE_BYTES: usize = 256;

/// Longest message in bytes: it is our own sentence, and may hold a path or the words of a library.
const MAX_MESSAGE_BYTES: usize = 1024;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Text with colours.
    Coloured,
    /// Text.
    Plain,
    /// `{"level":"info","message":"...",fields...,"timestamp":"2026-11-24T06:00:00.000Z"}`
    Json,
}

/// The line of `event`: the fields of the `spans` around it first, as [`fields`] writes them, then its own. `suppressed` lines
/// like it were left out before it.
pub(super) fn line(style: Style, event: &Event<'_>, spans: &str, suppressed: u64) -> String {
    let mut parts = Parts::new(style);
    parts.fields.push_str(spans);
    event.record(&mut parts);
    let level = *event.metadata().level();
    let target = event.metadata().target();
    if !target.starts_with("hobnob") && target != super::SOCKET_EVENTS {
        parts.field("target", &Value::Text(target));
    }
    if suppressed > 0 {
        parts.field("suppressed", &Value::Literal(format_args!("{suppressed}")));
    }
    let Parts { message, fields, .. } = parts;
    let now = Timestamp::now();
    match style {
        Style::Json => {
            let message = json_text(&message);
            format!("{{\"level\":\"{}\",\"message\":{message}{fields},\"timestamp\":\"{now}\"}}\n", lower_case(level))
        }
        Style::Plain => format!("{now} {level:>5} {message}{fields}\n"),
        Style::Coloured => {
            format!("\x1b[2m{now}\x1b[0m \x1b[{}m{level:>5}\x1b[0m {message}{fields}\n", colour(level))
        }
    }
}

/// The fields of a span so that they fit into a line: `,"key":value` or ` key=value` each.
pub(super) fn fields(style: Style, fields: impl RecordFields) -> String {
    let mut parts = Parts::new(style);
    fields.record(&mut parts);
    parts.fields
}

const fn lower_case(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

const fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

enum Value<'a> {
    Text(&'a str),
    /// A number or a truth value, which JSON writes as it is.
    Literal(fmt::Arguments<'a>),
}

/// Message and fields of one event, ready for the line.
struct Parts {
    style: Style,
    message: String,
    fields: String,
}

impl Parts {
    const fn new(style: Style) -> Self {
        Self { style, message: String::new(), fields: String::new() }
    }

    fn text(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => {
                let text = cut(text, MAX_MESSAGE_BYTES);
                self.message = if self.style == Style::Json { text.to_owned() } else { escape(text) };
            }
            name => self.field(name, &Value::Text(cut(text, MAX_VALUE_BYTES))),
        }
    }

    fn field(&mut self, name: &str, value: &Value<'_>) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let fields = &mut self.fields;
        let written = match (self.style, value) {
            (Style::Json, Value::Text(text)) => write!(fields, r#","{name}":{}"#, json_text(text)),
            (Style::Json, Value::Literal(value)) => write!(fields, r#","{name}":{value}"#),
            (Style::Plain, Value::Text(text)) => write!(fields, " {name}={}", quote(text)),
            (Style::Plain, Value::Literal(value)) => write!(fields, " {name}={value}"),
            (Style::Coloured, Value::Text(text)) => write!(fields, " \x1b[2m{name}=\x1b[0m{}", quote(text)),
            (Style::Coloured, Value::Literal(value)) => write!(fields, " \x1b[2m{name}=\x1b[0m{value}"),
        };
        // Writing to a String cannot fail.
        written.unwrap_or_default();
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Capped::default();
        // The only failure is the cap; what was written before it is kept.
        write!(text, "{value:?}").unwrap_or_default();
        self.text(field, &text.0);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field.name(), &Value::Literal(format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field.name(), &Value::Literal(format_args!("{value}")));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field.name(), &Value::Literal(format_args!("{value}")));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.field(field.name(), &Value::Literal(format_args!("{value}")));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause.filter(|_| text.len() <= MAX_MESSAGE_BYTES) {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.text(field, &text);
    }
}

/// A text that stops to take more once it is longer than the longest message.
#[derive(Default)]
struct Capped(String);

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() > MAX_MESSAGE_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(cut(text, MAX_MESSAGE_BYTES + 4));
        Ok(())
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// True for what moves the cursor, starts a line, or changes the direction of writing.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

/// The text as it is when it is one plain word, else in quotes.
fn quote(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !is_control(c) && !matches!(c, '"' | '\\' | '=');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("\"{}\"", escape(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn json_text(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    let mut units = [0; 2];
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\n' => json.push_str("\\n"),
            c if is_control(c) => {
                for unit in c.encode_utf16(&mut units) {
                    write!(json, "\\u{unit:04x}").unwrap_or_default();
                }
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::telemetry::output::testing::logged;

    fn as_json(line: &str) -> serde_json::Value {
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        serde_json::from_str(line).expect("JSON")
    }

    #[test]
    fn a_json_line_has_the_shape_of_the_feature_document() {
        let line = logged(Style::Json, || {
            tracing::info!(
                eventName = "message:send",
                namespace = "/messages",
                count = 3,
                ok = true,
                "Socket event received"
            );
        });
        let json = as_json(&line);
        assert!(
            line.starts_with(r#"{"level":"info","message":"Socket event received","eventName":"message:send""#),
            "{line}"
        );
        assert_eq!((&json["count"], &json["ok"]), (&3.into(), &true.into()));
        let timestamp = json["timestamp"].as_str().expect("a text");
        assert!(
            Timestamp::parse(timestamp).is_some() && timestamp.len() == 24 && timestamp.ends_with('Z'),
            "{timestamp}"
        );
    }

    #[test]
    fn fields_of_spans_are_fields_of_the_line() {
        let line = logged(Style::Json, || {
            let span = tracing::info_span!("session", sid = "abc");
            let _entered = span.enter();
            tracing::warn!(reason = "slow", "closed");
        });
        let json = as_json(&line);
        assert_eq!((&json["sid"], &json["reason"], &json["level"]), (&"abc".into(), &"slow".into(), &"warn".into()));
    }

    #[test]
    fn text_from_clients_cannot_write_lines_or_escape_codes() {
        let hostile = "a\n{\"level\":\"error\"}\r\u{1b}[2J\u{9b}\u{202e}\"b\\";
        for style in [Style::Json, Style::Plain] {
            let line = logged(style, || tracing::info!(user = hostile, shown = %hostile, "hello {hostile}"));
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.trim_end().chars().any(is_control), "{line:?}");
        }
        let line = logged(Style::Json, || tracing::info!(user = hostile, "x"));
        assert_eq!(as_json(&line)["user"], hostile);
    }

    #[test]
    fn long_values_are_cut() {
        let long = "é".repeat(100_000);
        let line = logged(Style::Json, || tracing::info!(text = long, shown = %long, debug = ?long, "{long}"));
        let json = as_json(&line);
        for key in ["text", "shown", "debug", "message"] {
            let length = json[key].as_str().expect("a text").len();
            let most = if key == "message" { MAX_MESSAGE_BYTES } else { MAX_VALUE_BYTES };
            assert!((most - 10..=most).contains(&length), "{key}: {length}");
        }
    }

    #[test]
    fn text_lines_quote_what_is_not_a_word() {
        let line = logged(Style::Plain, || tracing::info!(a = "word", b = "two words", c = "", "listening"));
        assert!(line.ends_with(" INFO listening a=word b=\"two words\" c=\"\"\n"), "{line}");
    }

    #[test]
    fn an_error_is_logged_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read x")]
        struct Unreadable(#[source] io::Error);

        let error: &(dyn std::error::Error + 'static) = &Unreadable(io::Error::other("gone"));
        let line = logged(Style::Json, || tracing::error!(error, "failed"));
        assert_eq!(as_json(&line)["error"], "cannot read x: gone");
    }
}
