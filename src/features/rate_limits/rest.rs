//! REST requests: counted for who makes them, and told how much is left.
//!
//! Spec: RFC 6585, section 4; draft-ietf-httpapi-ratelimit-headers, and the three headers that were in use before it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use hyper::{
    StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    RateLimits,
    bucket::Verdict,
    limits::{Exceeded, whole_seconds},
};
use crate::{
    features::auth::{RequestListener, SignedIn},
    http::ClientAddress,
    server::Refusal,
};

/// What a request was counted as, once it is known who makes it.
struct Ticket {
    limits: Arc<RateLimits>,
    counted: OnceLock<(&'static str, Verdict)>,
}

impl Ticket {
    fn admit(&self, name: &'static str, verdict: Option<Verdict>) -> Result<(), Refusal> {
        let Some(verdict) = verdict else { return Ok(()) };
        // A request has one caller; should a handler ask for two, the first one is told.
        self.counted.get_or_init(|| (name, verdict));
        if verdict.allowed { Ok(()) } else { Err(Exceeded(verdict).into()) }
    }
}

impl RequestListener for Ticket {
    fn user(&self, user: &SignedIn) -> Result<(), Refusal> {
        self.admit("user", self.limits.request(&user.user))
    }

    fn backend(&self, key_id: &str) -> Result<(), Refusal> {
        self.admit("backend", self.limits.backend_request(key_id))
    }
}

/// Around every route of the features: has the request counted, and tells in the answer how much is left.
pub async fn limit_requests(State(limits): State<Arc<RateLimits>>, mut request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ClientAddress>().map(|ClientAddress(address)| *address);
    let ticket = Arc::new(Ticket { limits, counted: OnceLock::new() });
    request.extensions_mut().insert::<Arc<dyn RequestListener>>(Arc::clone(&ticket) as _);
    let mut response = next.run(request).await;
    if let Some((name, verdict)) = ticket.counted.get() {
        tell(&mut response, name, verdict);
        return response;
    }
    if response.status() != StatusCode::UNAUTHORIZED {
        return response;
    }
    // Whoever shows no good token counts by his address; one who does is not kept out by his neighbours.
    let charged = ticket.limits.charge(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    match charged {
        Some(verdict) if !verdict.allowed => {
            let mut response = Refusal::from(Exceeded(verdict)).into_response();
            tell(&mut response, "address", &verdict);
            response
        }
        Some(_) | None => response,
    }
}

/// Writes the headers.
fn tell(response: &mut Response, name: &str, verdict: &Verdict) {
    let Verdict { limit, remaining, .. } = *verdict;
    let reset = whole_seconds(verdict.reset);
    let mut texts = vec![
        ("ratelimit-limit", limit.max.to_string()),
        ("ratelimit-remaining", remaining.to_string()),
        ("ratelimit-reset", reset.to_string()),
        ("ratelimit-policy", format!("\"{name}\";q={};w={}", limit.max, whole_seconds(limit.window()))),
        ("ratelimit", format!("\"{name}\";r={remaining};t={reset}")),
    ];
    if !verdict.allowed {
        texts.push((header::RETRY_AFTER.as_str(), whole_seconds(verdict.retry_after).max(1).to_string()));
    }
    for (name, text) in texts {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(text)) {
            response.headers_mut().insert(name, value);
        }
    }
}
