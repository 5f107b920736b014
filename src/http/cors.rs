//! Which web pages may call from a browser.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hyper::{
    Method,
    header::{self, HeaderName},
    http::HeaderValue,
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may remember a preflight's answer.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Headers of answers that pages may read, beside those that they always may.
const EXPOSED: [&str; 6] =
    ["retry-after", "ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];

/// The origins that may call. Compared as a whole: a prefix, a suffix or another port is another origin.
#[derive(Clone, Debug)]
pub enum Origins {
    /// Any page. Only where tokens never travel in cookies.
    Any,
    /// These; an empty list admits pages of the server's own origin only, which browsers do not ask about.
    Listed(Vec<String>),
    /// Pages served from this machine, on any port: the default of a server that listens on a loopback address, so that an
    /// app under development works before anything is configured.
    Loopback,
    /// Those that were last [`set`](Self::set); clones follow.
    Changing(Arc<RwLock<Self>>),
}

impl Origins {
    /// Reads the setting: `*` for any, a list, or nothing.
    #[must_use]
    pub fn from_setting(listed: &[String], listens_on_loopback: bool) -> Self {
        match listed {
            [] if listens_on_loopback => Self::Loopback,
            listed if listed.iter().any(|origin| origin == "*") => Self::Any,
            listed => Self::Listed(listed.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect()),
        }
    }

    /// The same origins, which can be replaced by [`set`](Self::set).
    #[must_use]
    pub fn changing(self) -> Self {
        Self::Changing(Arc::new(RwLock::new(self)))
    }

    /// Replaces the origins for all clones; nothing happens to those that are not [`changing`](Self::changing).
    pub fn set(&self, origins: Self) {
        if let Self::Changing(present) = self {
            *present.write().unwrap_or_else(PoisonError::into_inner) = origins;
        }
    }

    /// Whether a page of `origin` may call.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|allowed| allowed == origin),
            Self::Loopback => is_loopback(origin),
            Self::Changing(present) => present.read().unwrap_or_else(PoisonError::into_inner).allows(origin),
        }
    }
}

fn is_loopback(origin: &str) -> bool {
    let Some(host) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else { return false };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => host,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// Answers preflights and marks answers for allowed origins. With credentials, the origin is named and never `*`.
pub fn cors(origins: Origins) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _| {
            origin.to_str().is_ok_and(|origin| origins.allows(origin))
        }))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .vary([header::ORIGIN, header::ACCESS_CONTROL_REQUEST_HEADERS])
        .max_age(MAX_AGE)
}

/// Whether a request that carries its token in a cookie may act: the page that caused it must be an allowed one.
///
/// Browsers send cookies along with requests that other sites cause; the headers `Origin` and `Sec-Fetch-Site` tell them
/// apart, and what has neither is no browser and can put its token elsewhere.
#[must_use]
pub fn cookie_counts(origin: Option<&str>, fetch_site: Option<&str>, origins: &Origins) -> bool {
    match origin {
        Some(origin) => origins.allows(origin),
        None => matches!(fetch_site, Some("same-origin" | "none")),
    }
}

/// Whether a request comes from a page that may call, or from no page at all.
///
/// A page of the server's own origin is known by `Sec-Fetch-Site` only, since that origin need not be listed. A foreign page that
/// loads a script names no origin, so it is refused even if it is listed.
#[must_use]
pub fn page_may_connect(origin: Option<&str>, fetch_site: Option<&str>, origins: &Origins) -> bool {
    match (origin, fetch_site) {
        (_, Some("same-origin")) => true,
        (Some(origin), _) => origins.allows(origin),
        (None, fetch_site) => matches!(fetch_site, None | Some("none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_a_whole() {
        let origins = Origins::from_setting(&["https://chat.example.org/".to_owned()], true);
        assert!(origins.allows("https://chat.example.org"));
        for foreign in [
            "https://chat.example.org.evil.test",
            "https://evil.test/https://chat.example.org",
            "http://chat.example.org",
            "https://chat.example.org:8443",
            "https://chat.example.org@evil.test",
            "null",
            "",
        ] {
            assert!(!origins.allows(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_page_connects_from_an_allowed_origin_and_what_is_no_page_from_anywhere() {
        let origins = Origins::Listed(vec!["https://a.example".to_owned()]);
        let may = |origin, fetch_site| page_may_connect(origin, fetch_site, &origins);
        assert!(may(Some("https://a.example"), Some("cross-site")) && may(Some("https://a.example"), None));
        assert!(may(Some("https://own.example"), Some("same-origin")) && may(None, Some("same-origin")));
        assert!(may(None, None) && may(None, Some("none")));
        assert!(!may(Some("https://b.example"), Some("cross-site")) && !may(Some("https://b.example"), None));
        assert!(!may(Some("null"), None) && !may(None, Some("cross-site")) && !may(None, Some("same-site")));
    }

    #[test]
    fn changing_origins_change_for_all_clones() {
        let origins = Origins::Any.changing();
        let clone = origins.clone();
        origins.set(Origins::Listed(vec!["https://a.example".to_owned()]));
        assert!(clone.allows("https://a.example") && !clone.allows("https://b.example"));
    }

    #[test]
    fn without_a_setting_only_a_loopback_listener_admits_pages_of_this_machine() {
        let local = Origins::from_setting(&[], true);
        assert!(local.allows("http://localhost:5173"));
        assert!(local.allows("http://127.0.0.1:8080"));
        assert!(local.allows("http://[::1]:8080"));
        assert!(!local.allows("http://localhost.evil.test"));
        assert!(!local.allows("http://localhost:5173@evil.test"));
        assert!(!Origins::from_setting(&[], false).allows("http://localhost:5173"));
    }
}
