//! The Socket.IO handler of missed messages.

use std::sync::Arc;

use super::{
    Recovery,
    events::{GetMissedMessages, MissedMessages},
};
use crate::{
    codes::ErrorCode,
    features::auth::SignedIn,
    server::{Refusal, Routes, Socket},
};

/// Adds the handler of this feature.
#[must_use]
pub fn routes(routes: Routes, recovery: &Arc<Recovery>) -> Routes {
    let recovery = Arc::clone(recovery);
    routes.on::<GetMissedMessages, _, _>(move |socket, event| missed(Arc::clone(&recovery), socket, event))
}

/// Handles `get-missed-messages` and `sync-messages`.
async fn missed(
    recovery: Arc<Recovery>,
    socket: Arc<Socket>,
    event: GetMissedMessages,
) -> Result<MissedMessages, Refusal> {
    let user = SignedIn::of(&socket)?.user.clone();
    // A page may read for milliseconds: not on a thread that others wait for.
    let page = tokio::task::spawn_blocking(move || recovery.page(&user, &event));
    page.await.map_err(|_| Refusal::new(ErrorCode::Internal, "the server failed to read the missed messages"))?
}
