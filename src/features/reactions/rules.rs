//! The rules of reactions.

use std::sync::Arc;

use super::{
    events::Action,
    tally::{MAX_NAMED, count_in, count_out},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        auth::SignedIn,
        conversations::Change,
        messages::{
            Alteration, MAX_REACTIONS, MessageRecord, Messages, REACTIONS, ReactionRecord, ReactionView, reactions,
        },
    },
    ids::{MessageId, UserId},
    server::Refusal,
    storage::{Batch, Direction, KeyRange, StorageError, Store},
};

/// Bytes of an emoji: room for a family with skin tones.
pub const MAX_EMOJI_BYTES: usize = 32;
/// Different emoji on one message. Another one is refused; those that are there can be joined.
pub const MAX_EMOJI: usize = 20;

/// A place in the list of all reactions of a message.
type RowKey = (MessageId, String, UserId);

/// The reactions.
#[derive(Clone)]
pub struct Reactions {
    pub(super) store: Store,
    messages: Arc<Messages>,
}

/// One page of the reactions of a message.
pub(super) struct Listed {
    /// Rows in the order of emoji and user.
    pub(super) rows: Vec<(RowKey, ReactionRecord)>,
    /// The counts of all.
    pub(super) counts: Vec<ReactionView>,
    /// Where to go on.
    pub(super) next: Option<RowKey>,
}

impl Reactions {
    /// Reactions on `messages`, in the same store.
    #[must_use]
    pub fn new(store: Store, messages: Arc<Messages>) -> Self {
        Self { store, messages }
    }

    /// Changes what a user thinks of a message, and tells everybody in the conversation if it is new. Returns all reactions of the
    /// message, and whether the user's is among them now.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that is deleted or in a foreign conversation; `invalid_payload` or `too_long` for what cannot be an emoji;
    /// `queue_full` for too many.
    pub async fn react(
        &self,
        from: &SignedIn,
        id: MessageId,
        emoji: &str,
        action: Action,
    ) -> Result<(Vec<ReactionView>, bool), Refusal> {
        check_emoji(emoji)?;
        let user = &from.user;
        let key = (id, emoji.to_owned(), user.clone());
        let altered = self.messages.alter(Some(user), id, |found| {
            if found.deleted.is_some() {
                return Err(Refusal::not_found("message"));
            }
            let has = self.store.contains(&REACTIONS, &key)?;
            let wants = match action {
                Action::Toggle => !has,
                Action::Add => true,
                Action::Remove => false,
            };
            if wants == has {
                return Ok(None);
            }
            if wants { self.adding(from, &key, found).map(Some) } else { self.removing(&key, found).map(Some) }
        });
        let record = altered.await?;
        let has = self.store.contains(&REACTIONS, &key)?;
        Ok((reactions(record.reactions), has))
    }

    /// The reactions of a message after `after`, at most `limit`, with one emoji or all.
    ///
    /// # Errors
    ///
    /// `not_found` for a message that is deleted or in a foreign conversation.
    pub(super) fn list(
        &self,
        user: &UserId,
        id: MessageId,
        emoji: Option<&str>,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Listed, Refusal> {
        let message = self.messages.show(user, id)?;
        let mut range: KeyRange<RowKey> = match emoji {
            Some(emoji) => KeyRange::prefix(&(id, emoji.to_owned())),
            None => KeyRange::prefix(&id),
        };
        if let Some(after) = after {
            range = range.after(after);
        }
        let mut rows = self.store.scan(&REACTIONS, range, limit.saturating_add(1), Direction::Forward)?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|(key, _)| key.clone());
        Ok(Listed { rows, counts: message.reactions, next })
    }

    fn adding(&self, from: &SignedIn, key: &RowKey, found: &MessageRecord) -> Result<Alteration, Refusal> {
        let (id, emoji, user) = key;
        let is_new = found.reactions.iter().all(|reacted| reacted.emoji != *emoji);
        if is_new && found.reactions.len() >= MAX_EMOJI {
            return Err(full(MAX_EMOJI, "different emoji"));
        }
        let count: u64 = found.reactions.iter().map(|reacted| u64::from(reacted.count)).sum();
        if count >= MAX_REACTIONS as u64 {
            return Err(full(MAX_REACTIONS, "reactions"));
        }
        let mut batch = Batch::new();
        batch.put(&REACTIONS, key, &ReactionRecord { at: Timestamp::now() });
        let mut record = found.clone();
        count_in(&mut record.reactions, emoji, user);
        if found.sender != *user {
            self.messages.announce_reaction(&mut batch, from, *id, found, emoji);
        }
        Ok(Alteration { record, change: reacted(key, true), batch })
    }

    fn removing(&self, key: &RowKey, found: &MessageRecord) -> Result<Alteration, Refusal> {
        let (_, emoji, user) = key;
        let mut batch = Batch::new();
        batch.delete(&REACTIONS, key);
        let mut record = found.clone();
        let is_cut = |count: u32, named: usize| usize::try_from(count).is_ok_and(|count| count > named);
        let others = match found.reactions.iter().find(|reacted| reacted.emoji == *emoji) {
            Some(reacted) if is_cut(reacted.count, reacted.users.len()) => self.some_users(key)?,
            Some(_) | None => Vec::new(),
        };
        count_out(&mut record.reactions, emoji, user, &others);
        Ok(Alteration { record, change: reacted(key, false), batch })
    }

    /// So many of those with the same reaction that one of them is not named in the message, if there is one.
    fn some_users(&self, key: &RowKey) -> Result<Vec<UserId>, StorageError> {
        let (id, emoji, _) = key.clone();
        let rows = self.store.scan_prefix(&REACTIONS, &(id, emoji), MAX_NAMED + 2, Direction::Forward)?;
        Ok(rows.into_iter().map(|((_, _, user), _)| user).collect())
    }
}

fn full(limit: usize, what: &str) -> Refusal {
    Refusal::new(ErrorCode::QueueFull, format!("at most {limit} {what} on a message")).with("limit", limit)
}

fn reacted((message, emoji, by): &RowKey, added: bool) -> Change {
    Change::Reacted { message: *message, by: by.clone(), emoji: emoji.clone(), added }
}

/// 1 to 32 bytes that can be shown. Which characters are emoji is for the app to know: they become more every year.
pub(super) fn check_emoji(emoji: &str) -> Result<(), Refusal> {
    if emoji.len() > MAX_EMOJI_BYTES {
        return Err(Refusal::too_long("emoji", MAX_EMOJI_BYTES, "bytes"));
    }
    if emoji.trim().is_empty() || emoji.chars().any(char::is_control) {
        return Err(Refusal::invalid("emoji", "expected 1 to 32 bytes without control characters"));
    }
    Ok(())
}
