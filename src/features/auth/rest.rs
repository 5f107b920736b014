//! The signed-in user of a REST request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use hyper::http::request::Parts;

use super::{Auth, Credentials, RequestListener, SignedIn};
use crate::{codes::ErrorCode, server::Refusal};

/// The user who makes a REST request. A handler that takes one is for signed-in users only.
pub struct Caller(pub SignedIn);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let auth = parts.extensions.get::<Arc<Auth>>().cloned();
        let auth = auth.ok_or_else(|| Refusal::new(ErrorCode::Internal, "the server has no authentication here"))?;
        let credentials = Credentials::of_http(&parts.headers, parts.uri.query());
        let signed_in = auth.sign_in(&credentials).await?;
        if let Some(listener) = parts.extensions.get::<Arc<dyn RequestListener>>() {
            listener.user(&signed_in)?;
        }
        Ok(Self(signed_in))
    }
}
