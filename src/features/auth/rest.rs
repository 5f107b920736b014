//! Who makes a REST request: a signed-in user, or the app's backend.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use hyper::http::request::Parts;

use super::{Auth, Credentials, RequestListener, SignedIn};
use crate::{codes::ErrorCode, server::Refusal};

/// The user who makes a REST request. A handler that takes one is for signed-in users only.
pub struct Caller(pub SignedIn);

/// The app's backend, by its key in the header `X-Api-Key`. A handler that takes one is for backends only: no token of a user and
/// no secret of the configuration is looked at.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The public part of the key.
    pub key_id: String,
    /// What the operator calls the key.
    pub name: String,
}

/// The header with the key of the app's backend.
const API_KEY: &str = "x-api-key";

impl Auth {
    /// The authentication that a request's extensions carry.
    pub(super) fn of(parts: &Parts) -> Result<Arc<Self>, Refusal> {
        let auth = parts.extensions.get::<Arc<Self>>().cloned();
        auth.ok_or_else(|| Refusal::new(ErrorCode::Internal, "the server has no authentication here"))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let auth = Auth::of(parts)?;
        let credentials = Credentials::of_http(&parts.headers, parts.uri.query());
        let signed_in = auth.sign_in(&credentials).await?;
        if let Some(listener) = parts.extensions.get::<Arc<dyn RequestListener>>() {
            listener.user(&signed_in)?;
        }
        Ok(Self(signed_in))
    }
}

impl<S: Sync> FromRequestParts<S> for Backend {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let auth = Auth::of(parts)?;
        let text = parts.headers.get(API_KEY).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (key_id, name) = auth.api_keys().verify(text)?;
        if let Some(listener) = parts.extensions.get::<Arc<dyn RequestListener>>() {
            listener.backend(&key_id)?;
        }
        Ok(Self { key_id, name })
    }
}
