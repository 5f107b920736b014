//! Notifications of what came while somebody was away: made when they come back or ask, one for each conversation. So a message to a
//! thousand absent members is still one write.

use std::pin::Pin;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::{OfflineQueue, positions::Position};
use crate::{
    features::{
        conversations::Kind as ConversationKind,
        messages::{LoggedChange, MessageNew},
        notifications::{Absences, Draft, Kind, message_key},
    },
    ids::{ConversationId, UserId},
    server::{Refusal, ServerEvent},
};

/// Changes that are looked at for what to show; there may be more.
const MAX_LOOKED_AT: usize = 100;
/// Conversations whose cursors are moved side by side, which costs as much as moving one.
const NOTED_TOGETHER: usize = 64;

impl OfflineQueue {
    /// Makes a notification for each conversation in which somebody wrote to `user` since he was last there and since the last one was
    /// made.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or written.
    pub(super) async fn note_absence(&self, user: &UserId) -> Result<(), Refusal> {
        let shared = &self.shared;
        let conversations = shared.conversations.of_user(user)?;
        let (mut noted, mut drafts) = (Vec::new(), Vec::new());
        for (id, cursor, head) in shared.conversations.standing(user, &conversations)? {
            let stored = Position { delivered: cursor.delivered, sent: cursor.sent };
            let from = shared.position(user, id, stored).delivered.max(cursor.noted);
            if head > from {
                noted.push((id, from, head));
                drafts.extend(self.draft(user, id, from, head)?);
            }
        }
        shared.notifications.put_all(user, &drafts).await?;
        for together in noted.chunks(NOTED_TOGETHER) {
            try_join_all(together.iter().map(|(id, from, head)| self.noted(user, *id, *from, *head))).await?;
        }
        Ok(())
    }

    /// Notifications of a conversation are made up to `head`, where they were up to `from`.
    async fn noted(&self, user: &UserId, id: ConversationId, from: u64, head: u64) -> Result<(), Refusal> {
        let moved = self.shared.conversations.move_cursor(user, id, |cursor| {
            let is_new = cursor.noted < head;
            cursor.noted = cursor.noted.max(head);
            is_new
        });
        // Somebody who read it meanwhile did so before there was anything to mark.
        if let Some((_, after)) = moved.await?.filter(|(_, after)| after.read > from) {
            self.shared.messages.note_read(user, id, after.read).await?;
        }
        Ok(())
    }

    /// The same; a failure costs the notifications of this time and nothing else.
    pub(super) async fn note_absence_or_log(&self, user: &UserId) {
        if let Err(error) = self.note_absence(user).await {
            tracing::warn!(%error, "notifications of what a user has missed could not be made; trying again the next time");
        }
    }

    /// What to tell of a conversation: the newest message of somebody else, and how many there are.
    fn draft(&self, user: &UserId, id: ConversationId, from: u64, head: u64) -> Result<Option<Draft>, Refusal> {
        let shared = &self.shared;
        let mut changes = shared.conversations.changes_back(id, head, MAX_LOOKED_AT)?;
        changes.retain(|(seq, _)| *seq > from);
        let changes: Vec<_> =
            changes.into_iter().map(|(seq, entry)| LoggedChange { conversation: id, seq, entry }).collect();
        let replayed = shared.messages.replay(&changes)?;
        let messages: Vec<_> = replayed
            .into_iter()
            .flatten()
            .filter(|event| event.name == MessageNew::NAME && event.by != *user)
            .collect();
        let Some(newest) = messages.first() else { return Ok(None) };
        let message: Value = serde_json::from_str(&newest.json).unwrap_or_default();
        let text = |path: &str| message.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let view = shared.conversations.view(id)?;
        let group = (view.kind == ConversationKind::Group).then_some(id);
        let title = view.name.unwrap_or_else(|| text("/sender/username").to_owned());
        let data = json!({
            "messageId": newest.message,
            "conversationId": id,
            "groupId": group,
            "fromUserId": newest.by,
            "metadata": {"count": messages.len()},
        });
        let draft = Draft::new(Kind::Message, &title, "").about(newest.message);
        Ok(Some(draft.with_data(&data).collapsing(message_key(id))))
    }
}

impl Absences for OfflineQueue {
    fn settle<'a>(&'a self, user: &'a UserId) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            // Whoever is here sees the messages themselves.
            if !self.shared.conversations.rooms().is_connected(user) {
                self.note_absence_or_log(user).await;
            }
        })
    }
}
