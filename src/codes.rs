//! The public error codes: one list, with the HTTP status of each and whether the same request may be repeated.
//!
//! An edge (ack, `request-failed`, `CONNECT_ERROR`, REST body) carries [`ErrorCode::name`]; clients may match on it, the
//! sentence beside it is for people.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $status:literal, $retry:ident;)*) => {
        /// A stable code of `docs/codes.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as clients see it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Whether, and when, the same request may be sent again.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }

            /// What it means, one sentence per line of its documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc, "\n"),*),)* }
            }
        }
    };
}

/// Whether a refused request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would be refused again: the request has to change.
    Never,
    /// After signing in again or refreshing the token.
    AfterLogin,
    /// Later, with the same client key.
    Later,
}

error_codes! {
    /// The request needs a signed-in user.
    Unauthorized = "unauthorized", 401, AfterLogin;
    /// No token was sent: put it into `auth.token`, the query, the `Authorization` header or the cookie `token`.
    TokenMissing = "token_missing", 401, AfterLogin;
    /// The token is no JWT, or longer than 4 KiB.
    TokenMalformed = "token_malformed", 401, AfterLogin;
    /// The token's `exp` has passed.
    TokenExpired = "token_expired", 401, AfterLogin;
    /// The token's signature, algorithm or claims are not accepted here.
    TokenInvalid = "token_invalid", 401, AfterLogin;
    /// The user has been blocked by the operator.
    UserBlocked = "user_blocked", 403, Never;
    /// The user may see the object but not do this to it.
    Forbidden = "forbidden", 403, Never;
    /// The object does not exist, or this user may not see it: both look the same.
    NotFound = "not_found", 404, Never;
    /// A field has the wrong type or value; the sentence begins with its name.
    InvalidPayload = "invalid_payload", 400, Never;
    /// The server has no such event in this namespace.
    UnknownEvent = "unknown_event", 404, Never;
    /// The request is larger than its limit in bytes; the answer names the limit.
    TooLarge = "too_large", 413, Never;
    /// A text or a list is longer than its limit; the answer names the limit.
    TooLong = "too_long", 400, Never;
    /// More requests than allowed; the answer says when to come again.
    RateLimited = "rate_limited", 429, Later;
    /// Somebody else holds the edit lock.
    Locked = "locked", 423, Later;
    /// The object has changed meanwhile, or the client key was used with other content.
    Conflict = "conflict", 409, Never;
    /// A queue of this connection is full.
    QueueFull = "queue_full", 429, Later;
    /// The connection read too slowly and was closed; its messages wait in the store.
    SlowConsumer = "slow_consumer", 429, Later;
    /// The disk is full: nothing can be stored for now.
    StorageFull = "storage_full", 507, Later;
    /// The request could not be finished for now; with a client key the same request is safe to repeat.
    Unavailable = "unavailable", 503, Later;
    /// The server failed; the log says why.
    Internal = "internal", 500, Later;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl JsonSchema for ErrorCode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ErrorCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes = Self::ALL.iter();
        let codes: Vec<_> = codes
            .map(|code| json_schema!({"type": "string", "const": code.name(), "description": code.meaning().trim()}))
            .collect();
        json_schema!({"description": "Why a request was refused. There may be more in later versions.", "oneOf": codes})
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_code_says_what_it_means() {
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.iter().all(|code| !code.meaning().trim().is_empty()));
        assert!(ErrorCode::ALL.iter().all(|code| (400..600).contains(&code.http_status())));
    }
}
