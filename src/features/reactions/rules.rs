//! The rules of reactions.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        auth::SignedIn,
        conversations::{Change, ChangeRecord, LOG},
        messages::{Messages, REACTIONS, ReactionUpdated, ReactionView, ReactionsRecord},
    },
    ids::{MessageId, UserId},
    server::Refusal,
    storage::{Batch, CommitError, Store, Versioned},
};

/// Longest emoji in bytes: families and flags are long.
const MAX_EMOJI_BYTES: usize = 32;
/// Different emoji under one message. More are refused.
const MAX_EMOJI: usize = 20;
/// How often a change is tried again because another one was faster.
const ATTEMPTS: usize = 32;

/// What a user wants with an emoji.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ReactionAction")]
pub enum Action {
    /// On when it is off, off when it is on.
    #[default]
    Toggle,
    /// On.
    Add,
    /// Off.
    Remove,
}

/// The reactions.
#[derive(Clone)]
pub struct Reactions {
    store: Store,
    messages: Arc<Messages>,
}

impl Reactions {
    /// Reactions to `messages`.
    #[must_use]
    pub fn new(store: Store, messages: Arc<Messages>) -> Self {
        Self { store, messages }
    }

    /// Changes the user's reaction and tells everybody in the conversation. When it is so already nothing happens. Returns all
    /// reactions to the message.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that is deleted or in a foreign conversation; `invalid_payload` or `too_long` for the emoji;
    /// `queue_full` for too many different ones.
    pub async fn react(
        &self,
        from: &SignedIn,
        id: MessageId,
        emoji: &str,
        action: Action,
    ) -> Result<Vec<ReactionView>, Refusal> {
        check_emoji(emoji)?;
        for _ in 0..ATTEMPTS {
            let message = self.messages.find(&from.user, id)?.value;
            if message.deleted.is_some() {
                return Err(Refusal::not_found("message"));
            }
            let found = self.store.get_versioned(&REACTIONS, &id)?;
            let mut record = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
            let Some(added) = apply(&mut record, &from.user, emoji, action)? else { return Ok(record.view()) };
            let mut batch = Self::batch(id, found.as_ref(), &record);
            let change = Change::Reacted { message: id, by: from.user.clone(), emoji: emoji.to_owned(), added };
            let entry = ChangeRecord { change, at: Timestamp::now() };
            let conversation = message.conversation;
            let appended = batch.append(&LOG, &conversation, &entry);
            if added && message.sender != from.user {
                self.messages.announce_reaction(&mut batch, from, id, &message, emoji);
            }
            let (this, user, emoji) = (self.clone(), from.user.clone(), emoji.to_owned());
            let stored = self.store.commit_then(batch, move |committed| {
                let (seq, reactions) = (committed.seq(appended), record.view());
                let event = ReactionUpdated::new((id, conversation), &user, (&emoji, added), reactions.clone(), seq);
                this.messages.tell(conversation, seq, &event);
                this.messages.after_announcements();
                reactions
            });
            match stored.await {
                Err(CommitError::Conflict) => {}
                result => return result.map_err(Refusal::from),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// All reactions to a message.
    ///
    /// # Errors
    ///
    /// `not_found` for a message in a foreign conversation.
    pub fn of(&self, user: &UserId, id: MessageId) -> Result<Vec<ReactionView>, Refusal> {
        self.messages.find(user, id)?;
        Ok(self.store.get(&REACTIONS, &id)?.unwrap_or_default().view())
    }

    fn batch(id: MessageId, found: Option<&Versioned<ReactionsRecord>>, record: &ReactionsRecord) -> Batch {
        let mut batch = Batch::new();
        match found {
            Some(found) => batch.require_unchanged(&REACTIONS, &id, found),
            None => batch.require_absent(&REACTIONS, &id),
        }
        if record.by_emoji.is_empty() {
            batch.delete(&REACTIONS, &id);
        } else {
            batch.put(&REACTIONS, &id, record);
        }
        batch
    }
}

/// Changes the record; `None` when it is so already, else whether the emoji is on now.
fn apply(record: &mut ReactionsRecord, user: &UserId, emoji: &str, action: Action) -> Result<Option<bool>, Refusal> {
    let different = record.by_emoji.len();
    let place = record.by_emoji.iter().position(|(known, _)| known == emoji);
    let users = place.and_then(|place| record.by_emoji.get_mut(place)).map(|(_, users)| users);
    let is_on = users.as_ref().is_some_and(|users| users.contains(user));
    let on = match action {
        Action::Toggle => !is_on,
        Action::Add => true,
        Action::Remove => false,
    };
    if on == is_on {
        return Ok(None);
    }
    match users {
        Some(users) if on => users.push(user.clone()),
        Some(users) => users.retain(|other| other != user),
        None if different >= MAX_EMOJI => {
            let message = format!("at most {MAX_EMOJI} different emoji under a message");
            return Err(Refusal::new(ErrorCode::QueueFull, message).with("limit", MAX_EMOJI));
        }
        None => record.by_emoji.push((emoji.to_owned(), vec![user.clone()])),
    }
    record.by_emoji.retain(|(_, users)| !users.is_empty());
    Ok(Some(on))
}

fn check_emoji(emoji: &str) -> Result<(), Refusal> {
    if emoji.trim().is_empty() || emoji.chars().any(char::is_control) {
        return Err(Refusal::invalid("emoji", "expected 1 to 32 bytes without control characters"));
    }
    if emoji.len() > MAX_EMOJI_BYTES {
        return Err(Refusal::too_long("emoji", MAX_EMOJI_BYTES, "bytes"));
    }
    Ok(())
}
