//! The Socket.IO handlers of conversations.

use std::sync::Arc;

use super::{
    Conversations, Kind,
    events::{
        AddMembers, ConversationAck, CreateConversation, Empty, JoinConversation, LeaveConversation, RemoveMembers,
        RenameConversation,
    },
    rooms,
};
use crate::{
    features::auth::SignedIn,
    server::{Refusal, Routes, Socket},
};

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, conversations: &Arc<Conversations>) -> Routes {
    let with = || Arc::clone(conversations);
    let (create_in, add_in, remove_in, leave_in, rename_in, join_in) = (with(), with(), with(), with(), with(), with());
    routes
        .on::<CreateConversation, _, _>(move |socket, event| create(Arc::clone(&create_in), socket, event))
        .on::<AddMembers, _, _>(move |socket, event| add(Arc::clone(&add_in), socket, event))
        .on::<RemoveMembers, _, _>(move |socket, event| remove(Arc::clone(&remove_in), socket, event))
        .on::<LeaveConversation, _, _>(move |socket, event| leave(Arc::clone(&leave_in), socket, event))
        .on::<RenameConversation, _, _>(move |socket, event| rename(Arc::clone(&rename_in), socket, event))
        .on::<JoinConversation, _, _>(move |socket, event| std::future::ready(join(&join_in, &socket, &event)))
}

/// Handles `conversation:create`.
async fn create(
    conversations: Arc<Conversations>,
    socket: Arc<Socket>,
    event: CreateConversation,
) -> Result<ConversationAck, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    let conversation = match (event.kind, event.participants.as_slice()) {
        (Kind::Direct, [other]) => conversations.direct(user, other).await?.0,
        (Kind::Direct, _) => return Err(Refusal::invalid("participants", "expected one user")),
        (Kind::Group, members) => conversations.create_group(user, members, event.name).await?,
    };
    Ok(ConversationAck { conversation: conversations.view(conversation)? })
}

/// Handles `conversation:add-members`.
async fn add(
    conversations: Arc<Conversations>,
    socket: Arc<Socket>,
    event: AddMembers,
) -> Result<ConversationAck, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    conversations.add_members(user, event.conversation_id, &event.members).await?;
    Ok(ConversationAck { conversation: conversations.view(event.conversation_id)? })
}

/// Handles `conversation:remove-members`.
async fn remove(
    conversations: Arc<Conversations>,
    socket: Arc<Socket>,
    event: RemoveMembers,
) -> Result<ConversationAck, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    conversations.remove_members(user, event.conversation_id, &event.members).await?;
    Ok(ConversationAck { conversation: conversations.view(event.conversation_id)? })
}

/// Handles `conversation:leave`.
async fn leave(
    conversations: Arc<Conversations>,
    socket: Arc<Socket>,
    event: LeaveConversation,
) -> Result<Empty, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    conversations.leave(user, event.conversation_id).await?;
    Ok(Empty {})
}

/// Handles `conversation:rename`.
async fn rename(
    conversations: Arc<Conversations>,
    socket: Arc<Socket>,
    event: RenameConversation,
) -> Result<ConversationAck, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    conversations.rename(user, event.conversation_id, event.name).await?;
    Ok(ConversationAck { conversation: conversations.view(event.conversation_id)? })
}

/// Handles `join-conversation`.
fn join(conversations: &Conversations, socket: &Arc<Socket>, event: &JoinConversation) -> Result<Empty, Refusal> {
    let user = &SignedIn::of(socket)?.user;
    let conversation = event.conversation_id;
    conversations.access(user, conversation)?;
    rooms::join_conversations(socket, &[conversation]);
    // Whoever was removed between the check and the join must not stay.
    conversations.access(user, conversation).inspect_err(|_| rooms::leave_conversations(socket, &[conversation]))?;
    Ok(Empty {})
}
