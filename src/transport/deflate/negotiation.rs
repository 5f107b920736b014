//! The negotiation of permessage-deflate (RFC 7692, section 7.1): which offer is taken, and the answer to it.

use std::fmt::Write as _;

use hyper::{
    HeaderMap,
    header::{HeaderValue, SEC_WEBSOCKET_EXTENSIONS},
};

use super::{Deflate, LARGEST_WINDOW, SMALLEST_WINDOW};

/// Takes the client's first offer that can be met. What is not understood, or not possible, is declined.
pub(crate) fn negotiate(headers: &HeaderMap, threshold_bytes: usize) -> Option<(Deflate, HeaderValue)> {
    let values = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    let offer = values.flat_map(|value| split(value, ',')).find_map(Offer::parse)?;
    let answer = HeaderValue::try_from(offer.answer()).ok()?;
    let threshold = u32::try_from(threshold_bytes).unwrap_or(u32::MAX);
    Some((Deflate { window_bits: offer.server_bits.unwrap_or(LARGEST_WINDOW), threshold }, answer))
}

#[derive(Debug, Default)]
struct Offer {
    server_bits: Option<u8>,
    client_bits: Option<u8>,
}

impl Offer {
    fn parse(offer: &str) -> Option<Self> {
        let mut parameters = split(offer, ';').map(str::trim);
        if parameters.next()? != "permessage-deflate" {
            return None;
        }
        let (mut parsed, mut seen) = (Self::default(), Vec::new());
        for parameter in parameters {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(unquote(value.trim_start())?)),
                None => (parameter, None),
            };
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            match (name, value) {
                // No context is kept in either direction, asked for or not. The window of the client could be limited; it is not.
                ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(value)) => parsed.client_bits = Some(window_bits(value)?),
                ("server_max_window_bits", Some(value)) => {
                    // An offer of 8 is declined: a window that small cannot be written.
                    parsed.server_bits = Some(window_bits(value).filter(|bits| *bits >= SMALLEST_WINDOW)?);
                }
                _ => return None,
            }
        }
        Some(parsed)
    }

    /// Both sides forget each message. A client that did not offer that has to be able to (section 7.1.1.2).
    fn answer(&self) -> String {
        let mut answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        let limits = [("server_max_window_bits", self.server_bits), ("client_max_window_bits", self.client_bits)];
        for (name, bits) in limits {
            if let Some(bits) = bits {
                // Writing into a string cannot fail.
                write!(answer, "; {name}={bits}").ok();
            }
        }
        answer
    }
}

/// From 8 to 15, in decimal digits without a zero in front.
fn window_bits(text: &str) -> Option<u8> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|bits| is_plain && (8..=LARGEST_WINDOW).contains(bits))
}

/// The parts between separators that are not within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let is_escaped = std::mem::take(&mut escaped);
        match c {
            '"' if !is_escaped => quoted = !quoted,
            '\\' if quoted && !is_escaped => escaped = true,
            _ => {}
        }
        c == separator && !quoted
    })
}

/// A value, which may be quoted. No value that means anything here needs an escape.
fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(value),
    }
}
