//! Where a token may be: in the auth object, the query, the `Authorization` header or the cookie `token`.

use hyper::{HeaderMap, header};
use serde::Deserialize;

use super::Config;
use crate::{
    http::{Origins, cookie_counts},
    server::ConnectRequest,
};

/// What a client showed, borrowed from its request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The auth object of a CONNECT packet, as JSON text.
    pub auth: Option<&'a str>,
    /// Queries to look through, in order: that of the namespace (Engine.IO 3), that of the first request.
    pub queries: [Option<&'a str>; 2],
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `Cookie` header.
    pub cookie: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` header.
    pub fetch_site: Option<&'a str>,
    /// Whether the header goes before everything else (HTTP).
    pub header_first: bool,
}

impl<'a> Credentials<'a> {
    /// Those of a CONNECT.
    #[must_use]
    pub fn of_connect(request: &'a ConnectRequest) -> Self {
        let handshake = &*request.handshake;
        Self {
            auth: request.auth.as_deref(),
            queries: [request.query.as_deref(), Some(&handshake.query)],
            authorization: handshake.authorization.as_deref(),
            cookie: handshake.cookie.as_deref(),
            origin: handshake.origin.as_deref(),
            fetch_site: handshake.fetch_site.as_deref(),
            header_first: false,
        }
    }

    /// Those of an HTTP request.
    #[must_use]
    pub fn of_http(headers: &'a HeaderMap, query: Option<&'a str>) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            auth: None,
            queries: [query, None],
            authorization: text(header::AUTHORIZATION.as_str()),
            cookie: text(header::COOKIE.as_str()),
            origin: text(header::ORIGIN.as_str()),
            fetch_site: text("sec-fetch-site"),
            header_first: true,
        }
    }

    /// The first token found, in the order that the contract gives.
    pub(super) fn token(&self, config: &Config, origins: &Origins) -> Option<String> {
        let bearer = || self.bearer().map(str::to_owned);
        let rest = || {
            self.in_auth()
                .or_else(|| config.query_token.then(|| self.in_queries()).flatten())
                .or_else(bearer)
                .or_else(|| config.cookie_token.then(|| self.in_cookie(origins)).flatten())
        };
        if self.header_first { bearer().or_else(rest) } else { rest() }
    }

    fn in_auth(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Auth {
            token: String,
        }
        // A token of the wrong type is no token; an empty one is what apps send before anybody has signed in.
        let auth: Auth = serde_json::from_str(self.auth?).ok()?;
        let token = auth.token.strip_prefix("Bearer ").unwrap_or(&auth.token);
        (!token.is_empty()).then(|| token.to_owned())
    }

    fn in_queries(&self) -> Option<String> {
        let queries = self.queries.iter().flatten();
        let mut pairs = queries.flat_map(|query| form_urlencoded::parse(query.as_bytes()));
        pairs.find(|(name, value)| name == "token" && !value.is_empty()).map(|(_, value)| value.into_owned())
    }

    fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.authorization?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
    }

    fn in_cookie(&self, origins: &Origins) -> Option<String> {
        if !cookie_counts(self.origin, self.fetch_site, origins) {
            return None;
        }
        let mut pairs = self.cookie?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, value)| *name == "token" && !value.is_empty()).map(|(_, value)| value.to_owned())
    }
}
