//! Copies of a message in other conversations.

use serde_json::value::RawValue;

use super::{MESSAGES, MessageNew, MessageRecord, MessageView, Messages, rules::unwritable, view::Sender};
use crate::{
    clock::Timestamp,
    features::{
        auth::SignedIn,
        conversations::{Change, ChangeRecord, LOG},
    },
    ids::{ConversationId, MessageId},
    server::Refusal,
    storage::Batch,
};

/// Conversations that a message is forwarded to at once.
const MAX_TARGETS: usize = 20;

impl Messages {
    /// Puts copies of a message into other conversations: all of them or none. Returns the copies as JSON.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that is deleted or that the user may not see, and for a conversation that is not the user's;
    /// `too_long` for more than 20.
    pub async fn forward(
        &self,
        from: &SignedIn,
        id: MessageId,
        targets: &[ConversationId],
    ) -> Result<Vec<Box<RawValue>>, Refusal> {
        if targets.is_empty() {
            return Err(Refusal::invalid("conversationIds", "expected at least one"));
        }
        if targets.len() > MAX_TARGETS {
            return Err(Refusal::too_long("conversationIds", MAX_TARGETS, "conversations"));
        }
        let source = self.find(&from.user, id)?.value;
        if source.deleted.is_some() {
            return Err(Refusal::not_found("message"));
        }
        let mut batch = Batch::new();
        let mut copies = Vec::new();
        for target in targets {
            let access = self.conversations.access(&from.user, *target)?;
            let copy = MessageRecord { recipient: access.other, ..copy(from, *target, id, &source) };
            let fresh = MessageId::fresh();
            let entry = ChangeRecord { change: Change::New(fresh), at: copy.created_at };
            let appended = batch.append(&LOG, target, &entry);
            batch.put_stamped(&MESSAGES, &fresh, &copy, appended);
            self.announce_forward(&mut batch, from, fresh, &copy);
            copies.push((appended, MessageView::new(fresh, copy, Sender::Profile((*from.profile).clone()))));
        }
        let this = self.clone();
        let stored = self.store.commit_then(batch, move |committed| {
            let mut told = Vec::new();
            for (appended, mut view) in copies {
                view.seq = committed.seq(appended);
                let json = serde_json::value::to_raw_value(&view)?;
                let event = MessageNew::json(json.get(), view.seq);
                this.conversations.rooms().emit_change::<MessageNew>(view.conversation_id, view.seq, &event);
                this.listeners().for_each(|listener| listener.sent(&view));
                told.push(json);
            }
            this.after_announcements();
            Ok::<_, serde_json::Error>(told)
        });
        stored.await?.map_err(|error| unwritable(&error))
    }
}

/// What goes along: the text and the file, not whom it mentioned or what it answered.
fn copy(from: &SignedIn, target: ConversationId, id: MessageId, source: &MessageRecord) -> MessageRecord {
    MessageRecord {
        conversation: target,
        seq: 0,
        rev: 1,
        sender: from.user.clone(),
        recipient: None,
        kind: source.kind,
        content: source.content.clone(),
        media: source.media.clone(),
        reply_to: None,
        mentions: Vec::new(),
        client_id: None,
        data: source.data.clone(),
        created_at: Timestamp::now(),
        edited_at: None,
        deleted: None,
        expires_at: None,
        forwarded_from: Some(id),
        pinned: None,
    }
}
