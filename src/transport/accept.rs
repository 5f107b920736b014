//! What request headers ask for: the opening handshake of WebSocket (RFC 6455, section 4.2), compression.

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    Body, Config,
    deflate::{Deflate, negotiate},
};

/// True when the headers name the WebSocket protocol; whether they are complete is checked later.
pub(super) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let lists = |name: HeaderName, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    lists(header::UPGRADE, "websocket") && lists(header::CONNECTION, "upgrade")
}

/// The 101 answer and the compression that it agrees to; `None` when the request is no handshake of version 13.
pub(super) fn switch_protocols(headers: &HeaderMap, config: &Config) -> Option<(Response<Body>, Option<Deflate>)> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let is_key = key.len() == 24 && key.as_bytes().ends_with(b"==");
    let is_version_13 = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    if !is_key || !is_version_13 {
        return None;
    }
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
    let agreed = config.compression.then(|| negotiate(headers, config.compression_threshold_bytes)).flatten();
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let deflate = agreed.map(|(deflate, answer)| {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, answer);
        deflate
    });
    Some((response, deflate))
}

/// Whether an answer may be coded with gzip (RFC 9110, section 12.5.3).
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        // A quality of zero means: anything but this.
        let is_refused =
            |(name, q): (&str, &str)| name.eq_ignore_ascii_case("q") && q.parse().is_ok_and(|q: f32| q <= 0.0);
        is_gzip && !parts.any(|part| part.split_once('=').is_some_and(is_refused))
    })
}
