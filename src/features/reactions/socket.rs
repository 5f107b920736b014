//! The Socket.IO handler of reactions.

use std::sync::Arc;

use super::{
    Reactions,
    events::{React, ReactedAck},
};
use crate::{
    features::auth::SignedIn,
    server::{Refusal, Routes, Socket},
};

/// Adds the handler of this feature.
#[must_use]
pub fn routes(routes: Routes, reactions: &Arc<Reactions>) -> Routes {
    let reactions = Arc::clone(reactions);
    routes.on::<React, _, _>(move |socket, event| react(Arc::clone(&reactions), socket, event))
}

/// Handles `message:react`.
async fn react(reactions: Arc<Reactions>, socket: Arc<Socket>, event: React) -> Result<ReactedAck, Refusal> {
    let (reactions, _) = reactions.react(SignedIn::of(&socket)?, event.message_id, &event.emoji, event.action).await?;
    Ok(ReactedAck { reactions })
}
