//! What lies past a user's delivery cursors, read oldest first over all conversations.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use super::{Config, positions::Position};
use crate::{
    clock::Timestamp,
    features::{
        conversations::{ChangeRecord, LOG, seq_before, trimmed},
        messages::LoggedChange,
    },
    ids::ConversationId,
    storage::{Reader, StorageError, Store},
};

/// Log entries that are read of one conversation at a time.
const CHUNK: usize = 32;

/// The backlog of one user, being read.
#[derive(Debug)]
pub(super) struct Backlog {
    store: Store,
    sources: BTreeMap<ConversationId, Source>,
    /// Changes that are not told because they are too old or too many.
    dropped: u64,
}

/// One conversation.
#[derive(Debug, Default)]
struct Source {
    /// The last number handled.
    cursor: u64,
    /// What was on its way once already.
    sent: u64,
    waiting: VecDeque<(u64, ChangeRecord)>,
}

/// Some of a backlog.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Changes, oldest first.
    pub(super) changes: Vec<LoggedChange>,
    /// Conversations of which nothing more was there.
    pub(super) ended: Vec<ConversationId>,
}

impl Backlog {
    /// Opens the backlog of these conversations, and leaves out what is too old or too much. Reads for a while: call it where
    /// blocking is allowed.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) fn open(
        store: &Store,
        config: &Config,
        from: impl IntoIterator<Item = (ConversationId, Position)>,
    ) -> Result<Self, StorageError> {
        let sources = from.into_iter().map(|(id, position)| {
            let source = Source { cursor: position.delivered, sent: position.sent, waiting: VecDeque::new() };
            (id, source)
        });
        let mut backlog = Self { store: store.clone(), sources: sources.collect(), dropped: 0 };
        let store = store.clone();
        let reader = store.read()?;
        backlog.drop_trimmed(&reader)?;
        backlog.drop_expired(&reader, config)?;
        backlog.drop_overflow(&reader, config)?;
        Ok(backlog)
    }

    /// How many changes were left out since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// How far each conversation has been read.
    pub(super) fn cursors(&self) -> impl Iterator<Item = (ConversationId, u64)> + '_ {
        self.sources.iter().map(|(id, source)| (*id, source.cursor))
    }

    /// How far one conversation has been read; `None` once it is not part of the backlog any more.
    pub(super) fn cursor(&self, conversation: ConversationId) -> Option<u64> {
        self.sources.get(&conversation).map(|source| source.cursor)
    }

    /// Whether this change was on its way once already.
    pub(super) fn was_sent(&self, conversation: ConversationId, seq: u64) -> bool {
        self.sources.get(&conversation).is_some_and(|source| seq <= source.sent)
    }

    /// Takes a conversation out.
    pub(super) fn close(&mut self, conversation: ConversationId) {
        self.sources.remove(&conversation);
    }

    /// True when no conversation is left.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The next changes, `limit` at most. A conversation is among `ended` as soon as nothing more of it is there.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) fn page(&mut self, limit: usize) -> Result<Page, StorageError> {
        let store = self.store.clone();
        let reader = store.read()?;
        // The retention may have taken some since the last page.
        self.drop_trimmed(&reader)?;
        let mut page = Page::default();
        self.walk(&reader, limit as u64, |conversation, seq, entry| {
            page.changes.push(LoggedChange { conversation, seq, entry });
        })?;
        for (id, source) in &mut self.sources {
            if source.peek(&reader, *id)?.is_none() {
                page.ended.push(*id);
            }
        }
        Ok(page)
    }

    /// Passes over what the retention has taken.
    fn drop_trimmed(&mut self, reader: &Reader<'_>) -> Result<(), StorageError> {
        for (id, source) in &mut self.sources {
            let up_to = trimmed(reader, *id)?.up_to;
            if up_to > source.cursor {
                self.dropped += up_to - source.cursor;
                source.cursor = up_to;
                source.waiting.retain(|(seq, _)| *seq > up_to);
            }
        }
        Ok(())
    }

    /// Passes over what is older than the configured age.
    fn drop_expired(&mut self, reader: &Reader<'_>, config: &Config) -> Result<(), StorageError> {
        let oldest = Timestamp::now().before(config.expiry());
        for (id, source) in &mut self.sources {
            if source.peek(reader, *id)?.is_some_and(|at| at < oldest) {
                let start = seq_before(reader, *id, oldest)?.max(source.cursor);
                self.dropped += start - source.cursor;
                *source = Source { cursor: start, sent: source.sent, waiting: VecDeque::new() };
            }
        }
        Ok(())
    }

    /// Passes over the oldest of what is more than the configured number.
    fn drop_overflow(&mut self, reader: &Reader<'_>, config: &Config) -> Result<(), StorageError> {
        let mut waiting = 0;
        for (id, source) in &self.sources {
            waiting += reader.head(&LOG, id)?.saturating_sub(source.cursor);
        }
        let over = waiting.saturating_sub(config.max_per_user as u64);
        self.walk(reader, over, |_, _, _| {})?;
        self.dropped += over;
        Ok(())
    }

    /// Takes the oldest change of all conversations, again and again, `limit` times at most.
    fn walk(
        &mut self,
        reader: &Reader<'_>,
        limit: u64,
        mut take: impl FnMut(ConversationId, u64, ChangeRecord),
    ) -> Result<(), StorageError> {
        let mut oldest = BinaryHeap::new();
        if limit > 0 {
            for (id, source) in &mut self.sources {
                oldest.extend(source.peek(reader, *id)?.map(|at| Reverse((at, *id))));
            }
        }
        for _ in 0..limit {
            let Some(Reverse((_, id))) = oldest.pop() else { break };
            let Some(source) = self.sources.get_mut(&id) else { continue };
            if let Some((seq, entry)) = source.waiting.pop_front() {
                source.cursor = seq;
                take(id, seq, entry);
            }
            oldest.extend(source.peek(reader, id)?.map(|at| Reverse((at, id))));
        }
        Ok(())
    }
}

impl Source {
    /// The date of the next change; reads more of the log when none waits.
    fn peek(&mut self, reader: &Reader<'_>, id: ConversationId) -> Result<Option<Timestamp>, StorageError> {
        if self.waiting.is_empty() {
            self.waiting = reader.scan_log(&LOG, &id, self.cursor, CHUNK)?.into();
        }
        Ok(self.waiting.front().map(|(_, entry)| entry.at))
    }
}
