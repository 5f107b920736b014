//! What a setting accepts, whether it comes as text (environment, flags) or as a TOML value.

use std::net::SocketAddr;

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use crate::{
    cluster,
    features::{auth::Algorithm, rate_limits::Limit},
    http::Proxies,
    setting, telemetry,
};

/// Most events that a limit can allow.
const MAX_EVENTS: u32 = 1_000_000;

/// Longest window of a limit.
const MAX_WINDOW_MS: u64 = 86_400_000;

/// What a setting accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// True or false.
    Switch,
    /// A whole number in a range.
    Number {
        /// The least.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A text that passes a check.
    Text {
        /// The check in words.
        expected: &'static str,
        /// The check.
        accepts: fn(&str) -> bool,
    },
    /// Texts that each pass a check.
    List {
        /// The check in words.
        expected: &'static str,
        /// The check.
        accepts: fn(&str) -> bool,
    },
    /// An address with a port, or a port alone that keeps the address from before.
    Listen,
    /// A table of limits by name; JSON when it comes as text.
    Limits,
}

impl Kind {
    /// Type, range and unit in words, after "expected".
    pub(crate) fn expected(self, key: &str) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Number { min, max } => format!("a whole number from {min} to {max}{}", unit(key)),
            Self::Text { expected, .. } | Self::List { expected, .. } => expected.to_owned(),
            Self::Listen => "an IP address with a port such as 0.0.0.0:4000, or a port".to_owned(),
            Self::Limits => {
                format!(
                    "a table of names, each with max from 0 to {MAX_EVENTS} and window_ms from 1 to {MAX_WINDOW_MS}, and JSON in a variable"
                )
            }
        }
    }

    /// Reads a variable or a flag; `current` is the value that it replaces.
    pub(crate) fn read_text(self, text: &str, current: Option<&Value>) -> Option<Value> {
        match self {
            Self::Switch => switch(text).map(Value::Boolean),
            Self::Number { min, max } => whole_number(text).and_then(|number| in_range(number, min, max)),
            Self::Text { accepts, .. } => accepts(text).then(|| text.into()),
            Self::List { accepts, .. } => items(setting::split(text), accepts),
            Self::Listen => listen(text, current).map(|address| address.to_string().into()),
            Self::Limits => limits(serde_json::from_str(text).ok()?),
        }
    }

    /// Reads a value of the configuration file.
    pub(crate) fn read_toml(self, value: &DeValue<'_>, current: Option<&Value>) -> Option<Value> {
        match (self, value) {
            (Self::Switch, DeValue::Boolean(value)) => Some(Value::Boolean(*value)),
            (Self::Number { min, max }, DeValue::Integer(value)) => {
                u64::from_str_radix(value.as_str(), value.radix()).ok().and_then(|number| in_range(number, min, max))
            }
            (Self::Number { .. }, DeValue::Float(value)) => self.read_text(value.as_str(), current),
            (Self::Listen, DeValue::Integer(value)) => self.read_text(value.as_str(), current),
            (Self::Text { .. } | Self::List { .. } | Self::Listen, DeValue::String(text)) => {
                self.read_text(text, current)
            }
            (Self::List { accepts, .. }, DeValue::Array(array)) => {
                let texts = array.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
                items(texts.collect::<Option<_>>()?, accepts)
            }
            (Self::Limits, DeValue::Table(table)) => limits(plain(table)?),
            (Self::Limits, DeValue::String(text)) => self.read_text(text, current),
            _ => None,
        }
    }
}

/// The unit that the end of the key names, for messages.
pub(crate) fn unit(key: &str) -> &'static str {
    match key.rsplit('_').next() {
        Some("ms") => " milliseconds",
        Some("s") => " seconds",
        Some("bytes") => " bytes",
        _ => "",
    }
}

fn in_range(number: u64, min: u64, max: u64) -> Option<Value> {
    (min..=max).contains(&number).then(|| i64::try_from(number).ok().map(Value::Integer))?
}

fn items(texts: Vec<String>, accepts: fn(&str) -> bool) -> Option<Value> {
    texts.iter().all(|text| accepts(text)).then(|| texts.into())
}

/// The table if every entry is a limit.
fn limits(table: Table) -> Option<Value> {
    let is_limit = |value: &Value| {
        value
            .clone()
            .try_into()
            .is_ok_and(|Limit { max, window_ms }| max <= MAX_EVENTS && (1..=MAX_WINDOW_MS).contains(&window_ms))
    };
    table.iter().all(|(name, limit)| is_word(name) && is_limit(limit)).then_some(Value::Table(table))
}

/// The table without its places in the file; `None` when it has other values than numbers and tables of them.
fn plain(table: &DeTable<'_>) -> Option<Table> {
    let value = |value: &DeValue<'_>| match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Integer),
        DeValue::Table(table) => plain(table).map(Value::Table),
        _ => None,
    };
    table.iter().map(|(key, item)| Some((key.get_ref().clone().into_owned(), value(item.get_ref())?))).collect()
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Reads what JavaScript would read as a whole number: `1000000`, `1_000_000`, `1e6`, `2.5e4`, `10.0`.
fn whole_number(text: &str) -> Option<u64> {
    let text = text.trim().replace('_', "");
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let exponent: usize =
        exponent.strip_prefix('+').unwrap_or(exponent).parse().ok().filter(|exponent| *exponent <= 18)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let zeros = exponent.checked_sub(fraction.len())?;
    format!("{whole}{fraction}{}", "0".repeat(zeros)).parse().ok()
}

fn listen(text: &str, current: Option<&Value>) -> Option<SocketAddr> {
    let text = text.trim();
    let Ok(port) = text.parse::<u16>() else { return text.parse().ok() };
    let mut address: SocketAddr = current.and_then(Value::as_str).and_then(|text| text.parse().ok())?;
    address.set_port(port);
    Some(address)
}

/// True for any text that is not empty.
pub(super) fn is_word(text: &str) -> bool {
    !text.trim().is_empty()
}

pub(super) fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

pub(super) fn is_filter(text: &str) -> bool {
    telemetry::is_filter(text)
}

pub(super) fn is_choice_of_format(text: &str) -> bool {
    matches!(text, "auto" | "text" | "json")
}

pub(super) fn is_metrics_access(text: &str) -> bool {
    matches!(text, "loopback" | "public" | "off")
}

pub(super) fn is_confirm(text: &str) -> bool {
    matches!(text, "transport" | "explicit")
}

pub(super) fn is_token_algorithm(text: &str) -> bool {
    Algorithm::ALL.iter().any(|algorithm| algorithm.name() == text)
}

pub(super) fn is_proxy(text: &str) -> bool {
    Proxies::accepts(text)
}

pub(super) fn is_transport(text: &str) -> bool {
    matches!(text, "websocket" | "polling")
}

pub(super) fn is_redis_url(text: &str) -> bool {
    cluster::is_redis_url(text)
}

pub(super) fn is_key_prefix(text: &str) -> bool {
    cluster::is_key_prefix(text)
}

pub(super) fn is_node_id(text: &str) -> bool {
    cluster::is_node_id(text)
}

pub(super) fn is_host(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=253).contains(&text.len()) && text.bytes().all(is_plain)
}

/// True for scheme, host and perhaps a port. Nodes reach each other without TLS, in a network of their own.
pub(super) fn is_node_url(text: &str) -> bool {
    text.strip_prefix("http://").is_some_and(is_host)
}

pub(super) fn is_socketio_path(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'.' | b'-' | b'_' | b'~');
    (3..=128).contains(&text.len())
        && text.starts_with('/')
        && text.ends_with('/')
        && !text.contains("//")
        && text.bytes().all(is_plain)
}

/// True for `*`, and for what a browser sends as `Origin`: scheme, host, perhaps a port, and nothing else.
pub(super) fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let is_scheme = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
    let is_host = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !scheme.is_empty() && scheme.bytes().all(is_scheme) && !host.is_empty() && host.bytes().all(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_feature_document_writes_them() {
        for (text, number) in
            [("1e6", 1_000_000), ("1000000", 1_000_000), ("1_000", 1000), ("2.5E+4", 25_000), ("10.0", 10), ("0", 0)]
        {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
        for text in ["", "e6", "-1", "0x10", "1.5", "1e-3", "1e99", "١٢", "99999999999999999999", "1e", "1.2.3", "ten"]
        {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        for origin in
            ["*", "http://localhost:5173", "https://chat.example.org", "capacitor://localhost", "http://[::1]:8080"]
        {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "",
            "localhost:5173",
            "https://chat.example.org/",
            "https://a b",
            "https://user@host",
            "https://*.example.org",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }

    #[test]
    fn a_port_alone_keeps_the_address() {
        let current = Value::from("0.0.0.0:4000");
        assert_eq!(listen("8080", Some(&current)), "0.0.0.0:8080".parse().ok());
        assert_eq!(listen("[::]:80", Some(&current)), "[::]:80".parse().ok());
        assert_eq!(listen("65536", Some(&current)), None);
        assert_eq!(listen("localhost:80", Some(&current)), None);
    }

    #[test]
    fn the_endpoint_path_has_a_slash_at_both_ends() {
        assert!(is_socketio_path("/socket.io/"));
        assert!(is_socketio_path("/chat/socket.io/"));
        for other in ["", "/", "//", "socket.io/", "/socket.io", "/a//b/", "/a?b/", "/é/"] {
            assert!(!is_socketio_path(other), "{other}");
        }
    }
}
