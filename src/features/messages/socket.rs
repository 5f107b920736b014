//! The Socket.IO handlers of messages.

use std::sync::Arc;

use super::{
    Draft, Messages, Sent,
    events::{DeleteMessage, DeletedAck, EditMessage, EditedAck, LegacySendMessage, SendMessage, SentAck},
};
use crate::{
    features::auth::SignedIn,
    server::{Refusal, Routes, Socket},
};

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, messages: &Arc<Messages>) -> Routes {
    let with = || Arc::clone(messages);
    let (send_in, legacy_in, edit_in, delete_in) = (with(), with(), with(), with());
    routes
        .on::<SendMessage, _, _>(move |socket, event| send(Arc::clone(&send_in), socket, event.0, false))
        .on::<LegacySendMessage, _, _>(move |socket, event| send(Arc::clone(&legacy_in), socket, event.0, true))
        .on::<EditMessage, _, _>(move |socket, event| edit(Arc::clone(&edit_in), socket, event))
        .on::<DeleteMessage, _, _>(move |socket, event| delete(Arc::clone(&delete_in), socket, event))
}

/// Handles `message:send` and `send-message`.
async fn send(messages: Arc<Messages>, socket: Arc<Socket>, draft: Draft, legacy: bool) -> Result<SentAck, Refusal> {
    let Sent { id, seq, message, duplicate } = messages.send(SignedIn::of(&socket)?, draft, legacy).await?;
    Ok(SentAck { id, seq, message, duplicate })
}

/// Handles `message:edit`.
async fn edit(messages: Arc<Messages>, socket: Arc<Socket>, event: EditMessage) -> Result<EditedAck, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    let message = messages.edit(user, event.message_id, &event.content, event.rev, event.fence).await?;
    Ok(EditedAck { message })
}

/// Handles `message:delete`.
async fn delete(messages: Arc<Messages>, socket: Arc<Socket>, event: DeleteMessage) -> Result<DeletedAck, Refusal> {
    messages.delete(&SignedIn::of(&socket)?.user, event.message_id).await?;
    Ok(DeletedAck { message_id: event.message_id })
}
