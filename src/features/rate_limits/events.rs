//! The event of a limit that is reached.

use schemars::JsonSchema;
use serde::Serialize;

use crate::server::{ServerEvent, ServerEventDoc};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] = &[ServerEventDoc::of::<RateLimitExceeded<'_>>()];

/// An event was refused because its user has sent too many; to the socket that sent it, once a second at most.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitExceeded<'a> {
    /// The event that was refused, as the client called it.
    pub event: &'a str,
    /// A sentence.
    pub message: &'static str,
    /// Most events within the window.
    pub limit: u32,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// How many may still be sent: none.
    pub remaining: u32,
    /// When the next one may be sent, in whole seconds from now.
    pub retry_after: u64,
    /// The same in milliseconds.
    pub retry_after_ms: u64,
}

impl ServerEvent for RateLimitExceeded<'_> {
    const NAME: &'static str = "rate-limit-exceeded";
}
