//! How a request is refused: a stable code, a sentence for people, and what a client needs to do better.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ServerEvent;
use crate::{
    codes::ErrorCode,
    storage::{CommitError, StorageError},
};

/// A refused request, the same over ack, `request-failed`, `CONNECT_ERROR` and REST.
///
/// Spec: contract, section 1, "Ack", and section 8.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The stable code.
    pub code: ErrorCode,
    /// One sentence; for `invalid_payload` it begins with the field: `content: expected a string`.
    pub message: String,
    details: Map<String, Value>,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Map::new() }
    }

    /// A field has the wrong type or value.
    pub fn invalid(field: &str, expected: &str) -> Self {
        Self::new(ErrorCode::InvalidPayload, format!("{field}: {expected}")).with("field", field)
    }

    /// A field is longer than its limit; `unit` says what is counted.
    pub fn too_long(field: &str, limit: usize, unit: &str) -> Self {
        Self::new(ErrorCode::TooLong, format!("{field}: at most {limit} {unit}"))
            .with("field", field)
            .with("limit", limit)
    }

    /// The object does not exist for this user.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} not found"))
    }

    /// Adds a detail: `limit`, `retryAfterMs`, `lockedBy` and the like.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The object of an ack: `{ok:false, error, code, ...}`.
    #[must_use]
    pub fn to_ack(&self) -> String {
        self.to_object(&[("ok", Value::Bool(false))])
    }

    /// The payload of `request-failed`: the same with the event's name instead of `ok`.
    #[must_use]
    pub fn to_event(&self, event: &str) -> String {
        self.to_object(&[("event", Value::from(event))])
    }

    /// The body of a REST answer: `{error, code, ...}`.
    #[must_use]
    pub fn to_body(&self) -> String {
        self.to_object(&[])
    }

    /// The `data` of a `CONNECT_ERROR`: the code, where it is documented, and the details.
    #[must_use]
    pub fn to_connect_data(&self) -> String {
        let mut object = self.details.clone();
        object.insert("code".to_owned(), json!(self.code));
        object.insert("docs".to_owned(), json!(format!("docs/codes.md#{}", self.code)));
        Value::Object(object).to_string()
    }

    fn to_object(&self, first: &[(&str, Value)]) -> String {
        let mut object = self.details.clone();
        object.extend(first.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        object.insert("error".to_owned(), Value::from(self.message.as_str()));
        object.insert("code".to_owned(), json!(self.code));
        Value::Object(object).to_string()
    }
}

/// The body of a REST answer that refuses. Some codes add details: `field`, `limit`, `retryAfterMs` and the like.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// One sentence for people.
    pub error: String,
    /// The stable code.
    pub code: ErrorCode,
    /// What a client needs to do better.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// The ack of a refused request. Some codes add details: `field`, `limit`, `retryAfterMs` and the like.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Refused {
    /// False.
    #[schemars(extend("const" = false))]
    pub ok: bool,
    /// One sentence for people.
    pub error: String,
    /// The stable code.
    pub code: ErrorCode,
    /// What a client needs to do better.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// A request without an ack was refused; to the calling socket. Some codes add details: `field`, `limit`, `retryAfterMs` and the
/// like.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RequestFailed {
    /// The event that was refused.
    pub event: String,
    /// One sentence for people.
    pub error: String,
    /// The stable code.
    pub code: ErrorCode,
    /// What a client needs to do better.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl ServerEvent for RequestFailed {
    const NAME: &'static str = "request-failed";
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "a request failed because the store could not be read");
        match error {
            StorageError::Unavailable => Self::new(ErrorCode::Unavailable, "the server is shutting down"),
            StorageError::Damaged { .. } | StorageError::UnknownVersion { .. } | StorageError::Io(_) => {
                Self::new(ErrorCode::Internal, "the server could not read its store")
            }
        }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::new(ErrorCode::Conflict, "the object has changed meanwhile, try again"),
            CommitError::TooLarge { .. } => Self::new(ErrorCode::TooLarge, "too large to be stored"),
            // The operator hears of it once, when it begins.
            CommitError::Full => Self::new(ErrorCode::StorageFull, "the disk is full: nothing can be stored for now"),
            // Told once, when it begins.
            CommitError::Degraded => {
                Self::new(ErrorCode::Unavailable, "could not be stored for now, repeat it with the same clientId")
            }
            error => {
                tracing::error!(%error, "a request failed because it could not be stored");
                Self::new(ErrorCode::Unavailable, "could not be stored for now, repeat it with the same clientId")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_carries_the_code_and_the_details() {
        let refusal = Refusal::too_long("content", 5000, "characters");
        let ack: Value = serde_json::from_str(&refusal.to_ack()).expect("an object");
        assert_eq!(
            ack,
            json!({"ok": false, "error": "content: at most 5000 characters", "code": "too_long", "field": "content", "limit": 5000})
        );
        let event: Value = serde_json::from_str(&refusal.to_event("message:send")).expect("an object");
        assert_eq!(event["event"], "message:send");
        let data: Value = serde_json::from_str(&refusal.to_connect_data()).expect("an object");
        assert_eq!(data["docs"], "docs/codes.md#too_long");
    }
}
