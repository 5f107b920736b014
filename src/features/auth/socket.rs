//! The Socket.IO handler of authentication.

use std::sync::Arc;

use super::{
    Auth,
    events::{RefreshToken, Refreshed},
};
use crate::server::{Refusal, Routes, Socket};

/// Adds the handler of this feature. It belongs into every namespace.
#[must_use]
pub fn routes(routes: Routes, auth: &Arc<Auth>) -> Routes {
    let auth = Arc::clone(auth);
    routes.on::<RefreshToken, _, _>(move |socket, event| refresh(Arc::clone(&auth), socket, event))
}

/// Handles `auth:refresh`.
async fn refresh(auth: Arc<Auth>, socket: Arc<Socket>, event: RefreshToken) -> Result<Refreshed, Refusal> {
    let expires_at = auth.refresh(&socket, &event.token).await?;
    Ok(Refreshed { expires_at })
}
