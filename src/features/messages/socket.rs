//! The Socket.IO handlers of messages.

use std::sync::Arc;

use super::{
    Draft, Messages, Sent,
    events::{
        DeleteMessage, DeletedAck, EditMessage, EditedAck, ForwardMessage, ForwardedAck, LegacySendMessage, PinMessage,
        SendMessage, SentAck, UnpinMessage,
    },
};
use crate::{
    features::{auth::SignedIn, conversations::Empty},
    ids::MessageId,
    server::{Refusal, Routes, Socket},
};

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, messages: &Arc<Messages>) -> Routes {
    let with = || Arc::clone(messages);
    let (send_in, legacy_in, edit_in, delete_in) = (with(), with(), with(), with());
    let (forward_in, pin_in, unpin_in) = (with(), with(), with());
    routes
        .on::<SendMessage, _, _>(move |socket, event| send(Arc::clone(&send_in), socket, event.0, false))
        .on::<LegacySendMessage, _, _>(move |socket, event| send(Arc::clone(&legacy_in), socket, event.0, true))
        .on::<EditMessage, _, _>(move |socket, event| edit(Arc::clone(&edit_in), socket, event))
        .on::<DeleteMessage, _, _>(move |socket, event| delete(Arc::clone(&delete_in), socket, event))
        .on::<ForwardMessage, _, _>(move |socket, event| forward(Arc::clone(&forward_in), socket, event))
        .on::<PinMessage, _, _>(move |socket, event| pin(Arc::clone(&pin_in), socket, event.message_id, true))
        .on::<UnpinMessage, _, _>(move |socket, event| pin(Arc::clone(&unpin_in), socket, event.message_id, false))
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

/// Handles `message:forward`.
async fn forward(messages: Arc<Messages>, socket: Arc<Socket>, event: ForwardMessage) -> Result<ForwardedAck, Refusal> {
    let from = SignedIn::of(&socket)?;
    let sent = messages.forward(from, event.message_id, &event.conversation_ids, event.client_id).await?;
    Ok(ForwardedAck { messages: sent.into_iter().map(|sent| sent.message).collect() })
}

/// Handles `message:pin` and `message:unpin`.
async fn pin(messages: Arc<Messages>, socket: Arc<Socket>, id: MessageId, pinned: bool) -> Result<Empty, Refusal> {
    messages.pin(&SignedIn::of(&socket)?.user, id, pinned).await?;
    Ok(Empty {})
}
