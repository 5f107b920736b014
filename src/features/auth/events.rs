//! The events of authentication.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] =
    &[ServerEventDoc::of::<AuthExpiring>(), ServerEventDoc::of::<AuthExpired>()];

/// Another token for the same user, in place of the one that is about to end. It counts for all namespaces of the connection; that of another user is
/// `forbidden`.
#[derive(Deserialize, JsonSchema)]
pub struct RefreshToken {
    /// The token, as in the auth object.
    pub token: String,
}

impl ClientEvent for RefreshToken {
    const NAME: &'static str = "auth:refresh";
    type Ack = Refreshed;
}

/// The new token counts.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refreshed {
    /// When it ends; `null` for a token without an end.
    pub expires_at: Option<Timestamp>,
}

/// The token ends in a minute or less: time for `auth:refresh`; to the socket.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthExpiring {
    /// When the token ends.
    pub expires_at: Timestamp,
}

impl ServerEvent for AuthExpiring {
    const NAME: &'static str = "auth:expiring";
}

/// The token counts no more, at most 5 s after its end with the default leeway; to the socket, whose connection is closed behind this
/// event.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthExpired {
    /// When the token ended, or was taken back.
    pub expires_at: Timestamp,
    /// Why.
    pub reason: EndReason,
}

impl ServerEvent for AuthExpired {
    const NAME: &'static str = "auth:expired";
}

/// Why a token counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
    /// The user was locked out.
    Blocked,
}
