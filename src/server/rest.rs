//! The conventions of events over HTTP: refusals as answers, payloads that name the field that is wrong.

use axum::{
    extract::{FromRequest, FromRequestParts, Query, Request},
    response::{IntoResponse, Response},
};
use hyper::{StatusCode, header, http::request::Parts};
use serde::de::DeserializeOwned;

use super::{Refusal, decode_json};
use crate::codes::ErrorCode;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/json")], self.to_body()).into_response()
    }
}

/// The query of a request.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                // "Failed to deserialize query string: limit: invalid digit found in string"
                let reason = rejection.body_text();
                let reason = reason.rsplit_once("string: ").map_or(&*reason, |(_, reason)| reason);
                Err(Refusal::new(ErrorCode::InvalidPayload, reason.to_owned()).with("field", "query"))
            }
        }
    }
}

/// The JSON object in the body of a request.
pub struct Payload<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // A form or plain text is what a foreign page can send without asking; JSON it cannot.
        if !content_type.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json")) {
            return Err(Refusal::invalid("Content-Type", "expected application/json"));
        }
        let body = String::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Refusal::new(ErrorCode::TooLarge, "the body of the request is too large")
            } else {
                Refusal::invalid("payload", "expected JSON in UTF-8")
            }
        })?;
        decode_json(&body).map(Self)
    }
}
