//! Forwarding: copies of a message in other conversations, in all of them or in none.

use super::{
    MESSAGES, MessageRecord, MessageView, Messages, Sent,
    alter::ATTEMPTS,
    rules::{draft_new, unwritable},
    store::{CLIENT_IDS, ClientIdRecord},
    view::Sender,
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{auth::SignedIn, conversations::Access},
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::{Batch, CommitError, Versioned},
};

/// Conversations that a message is forwarded to at once.
pub const MAX_TARGETS: usize = 20;
/// Longest client key in bytes.
const MAX_CLIENT_ID_BYTES: usize = 128;

/// A message on its way to other conversations.
struct Forwarding<'a> {
    from: &'a SignedIn,
    source: MessageId,
    targets: Vec<(ConversationId, Access)>,
    client_id: Option<String>,
    /// What the client key stands for: this message to these conversations.
    fingerprint: u64,
}

impl Messages {
    /// Sends a copy of a message to each of `conversations`: its text, file and data, not whom it mentions or answers. The copy goes
    /// by itself when the message does. Nothing happens unless all can be sent.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that is deleted or in a foreign conversation, and for a target that is not the user's; `too_long`
    /// for too many; `conflict` for a client key that was used for something else.
    pub async fn forward(
        &self,
        from: &SignedIn,
        source: MessageId,
        conversations: &[ConversationId],
        client_id: Option<String>,
    ) -> Result<Vec<Sent>, Refusal> {
        check(conversations, client_id.as_deref())?;
        let mut targets: Vec<(ConversationId, Access)> = Vec::with_capacity(conversations.len());
        for id in conversations {
            if targets.iter().all(|(target, _)| target != id) {
                let access = self.conversations.access(&from.user, *id);
                targets.push((*id, access.map_err(|refusal| refusal.with("conversationId", id.to_string()))?));
            }
        }
        let fingerprint = fingerprint(source, conversations);
        let forwarding = Forwarding { from, source, targets, client_id, fingerprint };
        // A text must not be copied while it is being deleted.
        let _turn = self.turns.of(source).await;
        for _ in 0..ATTEMPTS {
            let found = self.find(&from.user, source)?;
            if found.value.deleted.is_some() {
                return Err(Refusal::not_found("message"));
            }
            if let Some(repeated) = self.repeated_forward(&forwarding)? {
                return Ok(repeated);
            }
            match self.store_copies(&forwarding, &found).await {
                Err(CommitError::Conflict) => {}
                result => return result?.map_err(|error| unwritable(&error)),
            }
        }
        Err(CommitError::Conflict.into())
    }

    fn store_copies(
        &self,
        forwarding: &Forwarding<'_>,
        found: &Versioned<MessageRecord>,
    ) -> impl Future<Output = Result<serde_json::Result<Vec<Sent>>, CommitError>> + Send + 'static + use<> {
        let from = forwarding.from;
        let mut batch = Batch::new();
        batch.require_unchanged(&MESSAGES, &forwarding.source, found);
        let mut copies = Vec::with_capacity(forwarding.targets.len());
        for (conversation, access) in &forwarding.targets {
            let id = MessageId::fresh();
            let record = MessageRecord {
                conversation: *conversation,
                recipient: access.other.clone(),
                client_id: forwarding.client_id.clone(),
                ..copy(&found.value, forwarding.source, &from.user)
            };
            if let Some(key) = forwarding.key(*conversation) {
                batch.require_absent(&CLIENT_IDS, &key);
                let fingerprint = forwarding.fingerprint;
                batch.put(&CLIENT_IDS, &key, &ClientIdRecord { message: id, fingerprint });
            }
            self.announce_forward(&mut batch, from, id, &record);
            let appended = draft_new(&mut batch, id, &record);
            copies.push((appended, MessageView::new(id, record, Sender::Profile((*from.profile).clone()))));
        }
        let this = self.clone();
        self.store.commit_then(batch, move |committed| {
            let tell = |(appended, mut message): (_, MessageView)| {
                message.seq = committed.seq(appended);
                this.tell_new(&message)
            };
            let told = copies.into_iter().map(tell).collect();
            this.after_announcements();
            told
        })
    }

    /// What was sent under this client key before.
    fn repeated_forward(&self, forwarding: &Forwarding<'_>) -> Result<Option<Vec<Sent>>, Refusal> {
        let keys: Vec<_> = forwarding.targets.iter().filter_map(|(id, _)| forwarding.key(*id)).collect();
        let known: Vec<ClientIdRecord> = self.store.get_many(&CLIENT_IDS, &keys)?.into_iter().flatten().collect();
        if known.is_empty() {
            return Ok(None);
        }
        if known.iter().any(|known| known.fingerprint != forwarding.fingerprint) {
            return Err(Refusal::new(ErrorCode::Conflict, "this clientId was used for something else"));
        }
        let ids: Vec<MessageId> = known.iter().map(|known| known.message).collect();
        let sent = self.load(&ids)?.iter().map(|message| Sent::new(message, true)).collect::<Result<_, _>>();
        sent.map(Some).map_err(|error| unwritable(&error))
    }
}

impl Forwarding<'_> {
    /// The client key of one copy: each has its own, since a key stands for one message.
    fn key(&self, conversation: ConversationId) -> Option<(UserId, String)> {
        let client_id = self.client_id.as_ref()?;
        Some((self.from.user.clone(), format!("forward:{client_id}:{conversation}")))
    }
}

fn check(conversations: &[ConversationId], client_id: Option<&str>) -> Result<(), Refusal> {
    if conversations.is_empty() {
        return Err(Refusal::invalid("conversationIds", "expected 1 to 20 conversations"));
    }
    if conversations.len() > MAX_TARGETS {
        return Err(Refusal::too_long("conversationIds", MAX_TARGETS, "conversations"));
    }
    match client_id.map(str::len) {
        Some(0) => Err(Refusal::invalid("clientId", "expected 1 to 128 bytes")),
        Some(length) if length > MAX_CLIENT_ID_BYTES => {
            Err(Refusal::too_long("clientId", MAX_CLIENT_ID_BYTES, "bytes"))
        }
        Some(_) | None => Ok(()),
    }
}

/// What a copy takes over. Where it goes is for the caller to say.
fn copy(message: &MessageRecord, source: MessageId, sender: &UserId) -> MessageRecord {
    MessageRecord {
        seq: 0,
        rev: 1,
        sender: sender.clone(),
        reply_to: None,
        mentions: Vec::new(),
        created_at: Timestamp::now(),
        edited_at: None,
        forwarded_from: Some(source),
        pinned: None,
        reactions: Vec::new(),
        ..message.clone()
    }
}

/// A number for what is forwarded where, whatever the order.
fn fingerprint(source: MessageId, conversations: &[ConversationId]) -> u64 {
    let mut targets: Vec<_> = conversations.iter().map(ConversationId::as_bytes).collect();
    targets.sort_unstable();
    targets.dedup();
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(source.as_bytes());
    for target in targets {
        hasher.update(target);
    }
    hasher.digest()
}
