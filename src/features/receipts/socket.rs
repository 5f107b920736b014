//! The Socket.IO handlers of receipts.

use std::sync::Arc;

use super::{
    Receipts,
    events::{DeliveredMessage, ReadMessage},
    rules::UpTo,
};
use crate::{
    features::{auth::SignedIn, conversations::Empty},
    server::{Refusal, Routes, Socket},
};

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, receipts: &Arc<Receipts>) -> Routes {
    let (read_in, delivered_in) = (Arc::clone(receipts), Arc::clone(receipts));
    routes
        .on::<ReadMessage, _, _>(move |socket, event| read(Arc::clone(&read_in), socket, event))
        .on::<DeliveredMessage, _, _>(move |socket, event| delivered(Arc::clone(&delivered_in), socket, event))
}

/// Handles `message:read` and `message-read`.
async fn read(receipts: Arc<Receipts>, socket: Arc<Socket>, event: ReadMessage) -> Result<Empty, Refusal> {
    let up_to = UpTo::of(event.message_id, event.conversation_id, event.up_to_seq)?;
    receipts.read(&SignedIn::of(&socket)?.user, &up_to).await?;
    Ok(Empty {})
}

/// Handles `message:delivered`.
async fn delivered(receipts: Arc<Receipts>, socket: Arc<Socket>, event: DeliveredMessage) -> Result<Empty, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    if let Some(messages) = event.message_ids {
        receipts.delivered_many(user, &messages).await?;
    } else {
        let up_to = UpTo::of(event.message_id, event.conversation_id, event.up_to_seq)?;
        receipts.delivered(user, &up_to).await?;
    }
    Ok(Empty {})
}
