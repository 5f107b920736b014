//! The rules of messages.

use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use super::{
    Config, Draft, MESSAGES, MessageListener, MessageNew, MessageRecord, MessageView, REACTIONS,
    alter::{Alteration, Turns},
    draft::check_content,
    store::{CLIENT_IDS, ClientIdRecord, Deletion, EXPIRING, ExpiringRecord, PINS},
    view::Sender,
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        auth::SignedIn,
        conversations::{Access, Change, ChangeRecord, Conversations, LOG},
        notifications::Notifications,
        users::Users,
    },
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::{Appended, Batch, CommitError, Direction, Store, Versioned},
    telemetry::Metrics,
};

/// Reactions on one message: so many rows at most go together with it.
pub const MAX_REACTIONS: usize = 10_000;

/// A message that is stored.
#[derive(Debug)]
pub struct Sent {
    /// Its id.
    pub id: MessageId,
    /// Its place in the conversation's log.
    pub seq: u64,
    /// The message as JSON, written once for the ack and the event.
    pub message: Box<RawValue>,
    /// True when the same client key had been used for it before.
    pub duplicate: bool,
}

impl Sent {
    pub(super) fn new(message: &MessageView, duplicate: bool) -> serde_json::Result<Self> {
        let json = serde_json::value::to_raw_value(message)?;
        Ok(Self { id: message.id, seq: message.seq, message: json, duplicate })
    }
}

/// The messages.
#[derive(Clone)]
pub struct Messages {
    pub(super) store: Store,
    pub(super) users: Users,
    pub(super) conversations: Arc<Conversations>,
    pub(super) config: Config,
    listeners: Arc<OnceLock<Vec<Arc<dyn MessageListener>>>>,
    pub(super) metrics: Metrics,
    pub(super) notifications: Arc<Notifications>,
    pub(super) turns: Arc<Turns>,
}

impl Messages {
    /// Messages in `store`, told to the rooms of `conversations`.
    #[must_use]
    pub fn new(
        store: Store,
        users: Users,
        (conversations, notifications): (Arc<Conversations>, Arc<Notifications>),
        config: Config,
        metrics: &Metrics,
    ) -> Self {
        let metrics = metrics.clone();
        Self {
            store,
            users,
            conversations,
            config,
            listeners: Arc::default(),
            metrics,
            notifications,
            turns: Arc::default(),
        }
    }

    /// Who is asked and told about messages from now on. Set once, when the server is put together.
    pub fn set_listeners(&self, listeners: Vec<Arc<dyn MessageListener>>) {
        let already = self.listeners.set(listeners).is_err();
        debug_assert!(!already, "listeners are set once");
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = &dyn MessageListener> {
        self.listeners.get().into_iter().flatten().map(|listener| &**listener)
    }

    /// Stores a message, then tells everybody in the conversation. `legacy`: the sender is told as a plain id.
    ///
    /// # Errors
    ///
    /// `not_found` for a conversation that is not the sender's; `conflict` for a client key that was used for something else;
    /// what [`Draft`] says of its fields.
    pub async fn send(&self, from: &SignedIn, draft: Draft, legacy: bool) -> Result<Sent, Refusal> {
        draft.check(&self.config)?;
        let (conversation, access) = self.destination(&from.user, &draft).await?;
        self.check_reply(&draft, conversation)?;
        let fingerprint = if draft.client_id.is_some() { draft.fingerprint() } else { 0 };
        let mut record = record(from, conversation, access, draft);
        record.mentions = self.members_among(conversation, record.mentions)?;
        let key = record.client_id.clone().map(|client_id| (from.user.clone(), client_id));
        if record.expires_at.is_some_and(|at| at <= Timestamp::now()) {
            return self.too_late(key.as_ref(), fingerprint);
        }
        let mut batch = Batch::new();
        // It is right whatever else is stored before it.
        batch.may_wait();
        let id = MessageId::fresh();
        self.announce_mentions(&mut batch, from, id, &record);
        let mentions = !record.mentions.is_empty();
        if let Some(key) = &key {
            batch.require_absent(&CLIENT_IDS, key);
            batch.put(&CLIENT_IDS, key, &ClientIdRecord { message: id, fingerprint });
        }
        let appended = draft_new(&mut batch, id, &record);
        let sender = if legacy { Sender::Id(from.user.clone()) } else { Sender::Profile((*from.profile).clone()) };
        let mut message = MessageView::new(id, record, sender);
        let this = self.clone();
        let stored = self.store.commit_then(batch, move |committed| {
            message.seq = committed.seq(appended);
            let sent = this.tell_new(&message);
            if mentions {
                this.after_announcements();
            }
            sent
        });
        match (stored.await, key) {
            (Ok(sent), _) => sent.map_err(|error| unwritable(&error)),
            (Err(CommitError::Conflict), Some(key)) => self.repeated(&key, fingerprint),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Changes the text of a message, then tells everybody.
    ///
    /// # Errors
    ///
    /// `not_found` for a message of a foreign conversation or a deleted one, `forbidden` for somebody else's, `conflict` when
    /// `rev` is not the present one or the lock with `fence` has ended, `locked` while somebody else is editing.
    pub async fn edit(
        &self,
        user: &UserId,
        id: MessageId,
        content: &str,
        rev: Option<u32>,
        fence: Option<u64>,
    ) -> Result<MessageView, Refusal> {
        let edited = self.alter(Some(user), id, |found| {
            if found.sender != *user {
                return Err(Refusal::new(ErrorCode::Forbidden, "only the sender may edit a message"));
            }
            if found.deleted.is_some() {
                return Err(Refusal::not_found("message"));
            }
            if rev.is_some_and(|rev| rev != found.rev) {
                let message = "the message was edited meanwhile";
                return Err(Refusal::new(ErrorCode::Conflict, message).with("rev", found.rev));
            }
            check_content(content, found.media.is_some(), &self.config)?;
            let mut batch = Batch::new();
            self.listeners().try_for_each(|listener| listener.may_edit(user, id, fence, &mut batch))?;
            let mut record = found.clone();
            content.clone_into(&mut record.content);
            record.rev = record.rev.saturating_add(1);
            record.edited_at = Some(Timestamp::now());
            Ok(Some(Alteration { record, change: Change::Edited(id), batch }))
        });
        let record = edited.await?;
        Ok(self.around(std::iter::once((id, &record)), false)?.show(id, record))
    }

    /// Deletes a message for everybody and tells them. Deleting it again changes nothing.
    ///
    /// # Errors
    ///
    /// `not_found` for a message of a foreign conversation, `forbidden` for everybody but its sender and the group's admins.
    pub async fn delete(&self, user: &UserId, id: MessageId) -> Result<(), Refusal> {
        let deleted = self.alter(Some(user), id, |found| {
            if found.sender != *user && !self.conversations.is_admin(user, found.conversation)? {
                return Err(Refusal::new(ErrorCode::Forbidden, "only the sender or an admin may delete a message"));
            }
            self.deletion(user, id, found)
        });
        deleted.await.map(|_| ())
    }

    /// Deletes a message whose time has come, in the name of its sender.
    pub(super) async fn expire(&self, at: Timestamp, id: MessageId) -> Result<(), Refusal> {
        match self.store.get(&MESSAGES, &id)? {
            Some(found) if found.deleted.is_none() => {
                self.alter(None, id, |found| self.deletion(&found.sender, id, found)).await.map(|_| ())
            }
            Some(_) | None => {
                let mut batch = Batch::new();
                batch.delete(&EXPIRING, &(at, id));
                self.store.commit(batch).await.map(|_| ()).map_err(Refusal::from)
            }
        }
    }

    /// Messages of a conversation, the newest last: the `limit` ones before `before`, or after `after`, or the last ones.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members.
    pub fn history(
        &self,
        user: &UserId,
        id: ConversationId,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Vec<MessageView>, Refusal> {
        self.conversations.access(user, id)?;
        let up_to = self.conversations.trimmed(id)?.up_to;
        let mut found = Vec::new();
        match range {
            HistoryRange::After(seq) => {
                let mut cursor = seq.max(up_to);
                while found.len() < limit {
                    let entries = self.store.scan_log(&LOG, &id, cursor, limit)?;
                    let Some((last, _)) = entries.last() else { break };
                    cursor = *last;
                    found.extend(entries.into_iter().filter_map(|(_, entry)| entry.change.brings()));
                }
                found.truncate(limit);
            }
            HistoryRange::Before { seq, skip } => {
                let wanted = limit.saturating_add(skip);
                let mut before = seq;
                while found.len() < wanted {
                    let entries = self.store.scan_log_back(&LOG, &id, before, wanted)?;
                    let Some((last, _)) = entries.last() else { break };
                    before = Some(*last);
                    let there = entries.into_iter().filter(|(seq, _)| *seq > up_to);
                    found.extend(there.filter_map(|(_, entry)| entry.change.brings()));
                }
                found.truncate(wanted);
                found.drain(..skip.min(found.len()));
                found.reverse();
            }
        }
        let messages = self.load(&found)?;
        if messages.len() < found.len() {
            self.check_missing(id, found.into_iter().filter(|id| messages.iter().all(|message| message.id != *id)))?;
        }
        Ok(messages)
    }

    /// The oldest number that is left of a conversation, when the retention has taken some; for members.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members.
    pub fn truncated_before(&self, user: &UserId, id: ConversationId) -> Result<Option<u64>, Refusal> {
        self.conversations.access(user, id)?;
        Ok(self.conversations.trimmed(id)?.before())
    }

    /// The present state of these messages, in this order.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn load(&self, ids: &[MessageId]) -> Result<Vec<MessageView>, Refusal> {
        let records = self.store.get_many(&MESSAGES, ids)?;
        let found: Vec<_> =
            ids.iter().zip(records).filter_map(|(id, record)| record.map(|record| (*id, record))).collect();
        let around = self.around(found.iter().map(|(id, record)| (*id, record)), true)?;
        Ok(found.into_iter().map(|(id, record)| around.show(id, record)).collect())
    }

    /// Where a message goes, and whether its sender may write there.
    async fn destination(&self, user: &UserId, draft: &Draft) -> Result<(ConversationId, Access), Refusal> {
        let id = match (draft.conversation_id, &draft.to) {
            (Some(id), None) => id,
            (None, Some(to)) => self.conversations.direct(user, to).await?.0,
            (Some(_), Some(_)) => return Err(Refusal::invalid("to", "not together with conversationId")),
            (None, None) => return Err(Refusal::invalid("conversationId", "required, or else to")),
        };
        Ok((id, self.conversations.access(user, id)?))
    }

    fn check_reply(&self, draft: &Draft, conversation: ConversationId) -> Result<(), Refusal> {
        let Some(id) = draft.reply_to else { return Ok(()) };
        match self.store.get(&MESSAGES, &id)? {
            Some(message) if message.conversation == conversation => Ok(()),
            Some(_) | None => Err(Refusal::invalid("replyTo", "expected a message of the same conversation")),
        }
    }

    /// A message that `user` may see, with its version.
    pub(crate) fn find(&self, user: &UserId, id: MessageId) -> Result<Versioned<MessageRecord>, Refusal> {
        let not_found = || Refusal::not_found("message");
        let found = self.store.get_versioned(&MESSAGES, &id)?.ok_or_else(not_found)?;
        self.conversations.access(user, found.value.conversation).map_err(|_| not_found())?;
        Ok(found)
    }

    /// The client key was used before: for the same message, or by mistake.
    fn repeated(&self, key: &(UserId, String), fingerprint: u64) -> Result<Sent, Refusal> {
        let known = self.store.get(&CLIENT_IDS, key)?.ok_or(CommitError::Conflict)?;
        if known.fingerprint != fingerprint {
            let message = "this clientId was used for another message";
            return Err(Refusal::new(ErrorCode::Conflict, message).with("id", known.message.to_string()));
        }
        let message = self.load(&[known.message])?.pop().ok_or_else(|| Refusal::not_found("message"))?;
        Sent::new(&message, true).map_err(|error| unwritable(&error))
    }

    /// A message whose time is over when it comes is refused, unless it repeats one that came in time.
    fn too_late(&self, key: Option<&(UserId, String)>, fingerprint: u64) -> Result<Sent, Refusal> {
        match key {
            Some(key) if self.store.contains(&CLIENT_IDS, key)? => self.repeated(key, fingerprint),
            Some(_) | None => Err(Refusal::invalid("expiresAt", "expected a date to come")),
        }
    }

    /// Those of `users` who are members, each once. Mentioning somebody else says nothing of whether there is such a user.
    fn members_among(&self, conversation: ConversationId, users: Vec<UserId>) -> Result<Vec<UserId>, Refusal> {
        let mut members: Vec<UserId> = Vec::with_capacity(users.len());
        for user in users {
            if members.contains(&user) {
                continue;
            }
            match self.conversations.access(&user, conversation) {
                Ok(_) => members.push(user),
                Err(refusal) if refusal.code == ErrorCode::NotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(members)
    }

    /// The end of a message, with all that hangs on it; `None` when it has come already.
    fn deletion(&self, by: &UserId, id: MessageId, found: &MessageRecord) -> Result<Option<Alteration>, Refusal> {
        if found.deleted.is_some() {
            return Ok(None);
        }
        let mut batch = Batch::new();
        if let Some(at) = found.expires_at {
            batch.delete(&EXPIRING, &(at, id));
        }
        if found.pinned.is_some() {
            batch.delete(&PINS, &(found.conversation, id));
        }
        if !found.reactions.is_empty() {
            for (key, _) in self.store.scan_prefix(&REACTIONS, &id, MAX_REACTIONS, Direction::Forward)? {
                batch.delete(&REACTIONS, &key);
            }
        }
        let change = Change::Deleted { message: id, by: by.clone() };
        Ok(Some(Alteration { record: tombstone(found, by), change, batch }))
    }

    /// Tells everybody in the conversation of a message that has just been stored. Called in commit order.
    pub(super) fn tell_new(&self, message: &MessageView) -> serde_json::Result<Sent> {
        let sent = Sent::new(message, false)?;
        let event = MessageNew::json(sent.message.get(), sent.seq);
        let rooms = self.conversations.rooms();
        let receivers = rooms.emit_change::<MessageNew>(message.conversation_id, sent.seq, &event);
        self.metrics.messages_stored().inc();
        self.metrics.deliveries().inc_by(receivers as u64);
        self.listeners().for_each(|listener| listener.sent(message));
        Ok(sent)
    }
}

/// Adds a new message to `batch`.
pub(super) fn draft_new(batch: &mut Batch, id: MessageId, record: &MessageRecord) -> Appended {
    if let Some(at) = record.expires_at {
        batch.put(&EXPIRING, &(at, id), &ExpiringRecord);
    }
    let change = ChangeRecord { change: Change::New(id), at: record.created_at };
    let appended = batch.append(&LOG, &record.conversation, &change);
    batch.put_stamped(&MESSAGES, &id, record, appended);
    appended
}

/// Which part of a conversation's history is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryRange {
    /// What comes after this number, the oldest first to be counted.
    After(u64),
    /// What comes before this number, or the end; the newest `skip` messages are passed over.
    Before {
        /// The number; `None` for the end.
        seq: Option<u64>,
        /// Messages passed over.
        skip: usize,
    },
}

/// A message that is stored but cannot be shown. Its types rule that out.
pub(super) fn unwritable(error: &serde_json::Error) -> Refusal {
    tracing::error!(%error, "a message could not be written as JSON");
    Refusal::new(ErrorCode::Internal, "the message is stored but cannot be shown")
}

/// What stays of a deleted message: that it was there, where, and whose it was.
fn tombstone(message: &MessageRecord, by: &UserId) -> MessageRecord {
    MessageRecord {
        content: String::new(),
        media: None,
        data: None,
        mentions: Vec::new(),
        pinned: None,
        reactions: Vec::new(),
        deleted: Some(Deletion { by: by.clone(), at: Timestamp::now() }),
        ..message.clone()
    }
}

fn record(from: &SignedIn, conversation: ConversationId, access: Access, draft: Draft) -> MessageRecord {
    MessageRecord {
        conversation,
        seq: 0,
        rev: 1,
        sender: from.user.clone(),
        recipient: access.other,
        kind: draft.kind,
        media: draft.media(),
        content: draft.content,
        reply_to: draft.reply_to,
        mentions: draft.mentions,
        client_id: draft.client_id,
        data: draft.data.map(|data| String::from(Box::<str>::from(data))),
        created_at: Timestamp::now(),
        edited_at: None,
        deleted: None,
        expires_at: draft.expires_at,
        forwarded_from: None,
        pinned: None,
        reactions: Vec::new(),
    }
}
