//! The conventions of events over HTTP: routes declared once with their documentation, refusals as answers, payloads that name the
//! field that is wrong.

use axum::{
    Extension, Router,
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request, rejection::RawPathParamsRejection},
    handler::Handler,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use hyper::{Method, StatusCode, header, http::request::Parts};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Refusal, SchemaFn, decode_json, registry::schema_of};
use crate::codes::ErrorCode;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The code goes along for whoever counts refusals.
        (status, [(header::CONTENT_TYPE, "application/json")], Extension(self.code), self.to_body()).into_response()
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
                let field = reason.split_once(": ").map_or("query", |(field, _)| field);
                Err(Refusal::new(ErrorCode::InvalidPayload, reason.to_owned()).with("field", field))
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

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Anyone,
    /// A signed-in user: `Authorization: Bearer` or the cookie `token`.
    User,
    /// The app's backend: `X-Api-Key`.
    Backend,
}

/// A route as the generated documents show it. A user's, unless said otherwise, answered with 200.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// What it does, one sentence.
    pub summary: &'static str,
    /// Who may use it.
    pub access: Access,
    /// The query, if it takes one.
    pub params: Option<SchemaFn>,
    /// The JSON body, if it takes one.
    pub body: Option<SchemaFn>,
    /// The JSON answer, if there is one.
    pub answer: Option<SchemaFn>,
    /// The status of success.
    pub status: StatusCode,
}

impl Endpoint {
    /// `GET path`.
    #[must_use]
    pub fn get(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, path, summary)
    }

    /// `POST path`.
    #[must_use]
    pub fn post(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::POST, path, summary)
    }

    /// `PUT path`.
    #[must_use]
    pub fn put(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::PUT, path, summary)
    }

    /// `DELETE path`.
    #[must_use]
    pub fn delete(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::DELETE, path, summary)
    }

    fn new(method: Method, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            access: Access::User,
            params: None,
            body: None,
            answer: None,
            status: StatusCode::OK,
        }
    }

    /// Who may use it.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The query is a `T`.
    #[must_use]
    pub fn params<T: JsonSchema>(self) -> Self {
        Self { params: Some(schema_of::<T>), ..self }
    }

    /// The body is a `T`.
    #[must_use]
    pub fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(schema_of::<T>), ..self }
    }

    /// The answer is a `T`.
    #[must_use]
    pub fn answer<T: JsonSchema>(self) -> Self {
        Self { answer: Some(schema_of::<T>), ..self }
    }

    /// The status of success.
    #[must_use]
    pub fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

/// Routes with their documentation: each is declared once and both served and printed from here.
#[derive(Default)]
pub struct Rest {
    router: Router,
    endpoints: Vec<Endpoint>,
}

impl Rest {
    /// No routes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `endpoint` with `handler`, which finds `state` in axum's `State`.
    #[must_use]
    pub fn on<S, T, H>(mut self, endpoint: Endpoint, state: &S, handler: H) -> Self
    where
        S: Clone + Send + Sync + 'static,
        T: 'static,
        H: Handler<T, S>,
    {
        // Only the four methods that `Endpoint` makes; they all have a filter.
        let filter = MethodFilter::try_from(endpoint.method.clone()).unwrap_or(MethodFilter::GET);
        self.router = self.router.route(endpoint.path, on(filter, handler).with_state(state.clone()));
        self.endpoints.push(endpoint);
        self
    }

    /// Adds the routes of another feature.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.endpoints.extend(other.endpoints);
        self
    }

    /// What is served, for the generated documents.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The router.
    pub fn into_router(self) -> Router {
        self.router.layer(from_fn(refuse_unreadable))
    }
}

/// A part of the path that is no text names nothing, and is answered like any other that names nothing.
async fn refuse_unreadable(
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    match params {
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => Refusal::not_found("path").into_response(),
        // Routes without such parts have none to read.
        Ok(_) | Err(_) => next.run(request).await,
    }
}
