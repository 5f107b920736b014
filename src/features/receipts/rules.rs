//! The rules of receipts.

use std::{collections::BTreeMap, sync::Arc};

use super::events::{MessageDelivered, MessageRead};
use crate::{
    clock::Timestamp,
    features::{conversations::Conversations, messages::Messages},
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
};

/// In groups with more members nobody is told of single receipts: a message to a thousand members would bring a thousand of them to
/// its sender, and a million to everybody when all have read it.
pub const MAX_TOLD_MEMBERS: usize = 64;
/// Log entries that are looked at for the senders to be told; those of older messages learn it from the message object.
const MAX_TOLD_ENTRIES: usize = 200;
/// Messages of one `message:delivered`.
const MAX_MESSAGES: usize = 500;

/// What a receipt is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// Everything up to this message.
    Message(MessageId),
    /// Everything up to this number.
    Seq(ConversationId, u64),
}

impl UpTo {
    /// Reads the fields that clients send.
    pub(super) fn of(
        message: Option<MessageId>,
        conversation: Option<ConversationId>,
        seq: Option<u64>,
    ) -> Result<Self, Refusal> {
        match (message, conversation, seq) {
            (Some(message), _, None) => Ok(Self::Message(message)),
            (None, Some(conversation), Some(seq)) => Ok(Self::Seq(conversation, seq)),
            (Some(_), _, Some(_)) => Err(Refusal::invalid("upToSeq", "not together with messageId")),
            (None, Some(_), None) => Err(Refusal::invalid("upToSeq", "required beside conversationId")),
            (None, None, _) => Err(Refusal::invalid("messageId", "required, or else conversationId and upToSeq")),
        }
    }
}

/// The receipts.
#[derive(Clone)]
pub struct Receipts {
    messages: Arc<Messages>,
    conversations: Arc<Conversations>,
}

impl Receipts {
    /// Receipts for `messages`, told to the rooms of `conversations`.
    #[must_use]
    pub fn new(messages: Arc<Messages>, conversations: Arc<Conversations>) -> Self {
        Self { messages, conversations }
    }

    /// `user` has read everything up to there, and has seen the conversation just now. What was read has arrived, too. A cursor that
    /// is further already stays.
    ///
    /// # Errors
    ///
    /// `not_found` for a message or a conversation that is not the user's; `invalid_payload` for a number beyond the end.
    pub async fn read(&self, user: &UserId, up_to: &UpTo) -> Result<(), Refusal> {
        let (conversation, seq) = self.resolve(user, up_to)?;
        let now = Timestamp::now();
        let moved = self.conversations.move_cursor(user, conversation, |cursor| {
            cursor.seen_at = Some(now);
            if cursor.read < seq {
                cursor.read = seq;
                cursor.read_at = Some(now);
            }
            cursor.deliver(seq);
            true
        });
        let Some((before, after)) = moved.await? else { return Ok(()) };
        if after.read > before.read {
            let message_id = match up_to {
                UpTo::Message(id) => Some(*id),
                UpTo::Seq(..) => self.last_message(conversation, seq)?,
            };
            self.tell_read(&MessageRead {
                message_id,
                conversation_id: conversation,
                read_by: user.clone(),
                up_to_seq: after.read,
                read_at: now,
            })?;
        }
        self.messages.note_read(user, conversation, after.read).await
    }

    /// `user` has read everything there is in a conversation.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members.
    pub async fn read_all(&self, user: &UserId, conversation: ConversationId) -> Result<(), Refusal> {
        self.conversations.access(user, conversation)?;
        let head = self.conversations.head(conversation)?;
        self.read(user, &UpTo::Seq(conversation, head)).await
    }

    /// Everything up to there has arrived at `user`. A cursor that is further already stays.
    ///
    /// # Errors
    ///
    /// As [`Receipts::read`].
    pub async fn delivered(&self, user: &UserId, up_to: &UpTo) -> Result<(), Refusal> {
        let (conversation, seq) = self.resolve(user, up_to)?;
        self.confirm(user, conversation, seq, 0).await
    }

    /// The same for several messages, of which only the last one of each conversation matters.
    ///
    /// # Errors
    ///
    /// As [`Receipts::read`]; `too_long` for more than 500. Nothing is moved then.
    pub async fn delivered_many(&self, user: &UserId, messages: &[MessageId]) -> Result<(), Refusal> {
        if messages.len() > MAX_MESSAGES {
            return Err(Refusal::too_long("messageIds", MAX_MESSAGES, "messages"));
        }
        let mut ends: BTreeMap<ConversationId, u64> = BTreeMap::new();
        for id in messages {
            let located = self.messages.locate(user, *id)?;
            let end = ends.entry(located.conversation).or_default();
            *end = located.seq.max(*end);
        }
        for (conversation, seq) in ends {
            self.confirm(user, conversation, seq, 0).await?;
        }
        Ok(())
    }

    /// Moves the delivery cursor of a member to `seq`, and the mark of what was on its way to `sent`, then tells the senders of
    /// what has arrived.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or written.
    pub(crate) async fn confirm(
        &self,
        user: &UserId,
        conversation: ConversationId,
        seq: u64,
        sent: u64,
    ) -> Result<(), Refusal> {
        let moved = self.conversations.move_cursor(user, conversation, |cursor| {
            let before = (cursor.delivered, cursor.sent);
            cursor.deliver(seq);
            cursor.sent = cursor.sent.max(sent);
            before != (cursor.delivered, cursor.sent)
        });
        if let Some((before, after)) = moved.await?
            && after.delivered > before.delivered
        {
            self.tell_delivered(user, conversation, before.delivered, after.delivered)?;
        }
        Ok(())
    }

    fn resolve(&self, user: &UserId, up_to: &UpTo) -> Result<(ConversationId, u64), Refusal> {
        match up_to {
            UpTo::Message(id) => {
                let located = self.messages.locate(user, *id)?;
                Ok((located.conversation, located.seq))
            }
            UpTo::Seq(conversation, seq) => {
                self.conversations.access(user, *conversation)?;
                let head = self.conversations.head(*conversation)?;
                if *seq > head {
                    let expected = format!("expected at most {head}, the end of the conversation");
                    return Err(Refusal::invalid("upToSeq", &expected).with("limit", head));
                }
                Ok((*conversation, *seq))
            }
        }
    }

    /// The last message up to `seq`, if it is among the last changes.
    fn last_message(&self, conversation: ConversationId, seq: u64) -> Result<Option<MessageId>, Refusal> {
        let entries = self.conversations.changes_back(conversation, seq, MAX_TOLD_ENTRIES)?;
        // Newest first.
        Ok(self.messages.senders(&entries)?.first().map(|(_, id)| *id))
    }

    fn tell_read(&self, event: &MessageRead) -> Result<(), Refusal> {
        let rooms = self.conversations.rooms();
        if self.conversations.has_more_members_than(event.conversation_id, MAX_TOLD_MEMBERS)? {
            // The reader's other devices still have to know.
            rooms.emit_to_user(&event.read_by, event);
        } else {
            rooms.emit_to_conversation(event.conversation_id, event);
        }
        Ok(())
    }

    fn tell_delivered(
        &self,
        user: &UserId,
        conversation: ConversationId,
        after: u64,
        up_to: u64,
    ) -> Result<(), Refusal> {
        if self.conversations.has_more_members_than(conversation, MAX_TOLD_MEMBERS)? {
            return Ok(());
        }
        let mut entries = self.conversations.changes_back(conversation, up_to, MAX_TOLD_ENTRIES)?;
        entries.retain(|(seq, _)| *seq > after);
        let mut told: BTreeMap<UserId, MessageId> = BTreeMap::new();
        for (sender, id) in self.messages.senders(&entries)? {
            if sender != *user {
                // Newest first: the first one found is the last one sent.
                told.entry(sender).or_insert(id);
            }
        }
        for (sender, message_id) in told {
            self.conversations.rooms().emit_to_user(
                &sender,
                &MessageDelivered {
                    message_id,
                    conversation_id: conversation,
                    delivered_to: user.clone(),
                    up_to_seq: up_to,
                },
            );
        }
        Ok(())
    }
}
