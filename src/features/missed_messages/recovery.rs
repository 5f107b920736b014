//! Reads the logs of a user's conversations, merged by date, one page at a time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    Config,
    cursor::PageCursor,
    events::{GetMissedMessages, MissedMessages},
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{
        conversations::{ChangeRecord, Conversations, LOG, TrimmedRecord, seq_before, trimmed},
        messages::{ChangeEvent, MESSAGES, MessageRecord, MessageView, Messages},
    },
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::{Reader, Store},
};

/// Log entries read of one conversation at a time.
const CHUNK: usize = 16;
/// Log entries looked at for one page, those passed over included; beyond, the page ends and another follows.
const MAX_SCANNED: usize = 5000;
/// What a message costs on the wire beside its text.
const MESSAGE_OVERHEAD_BYTES: usize = 700;
/// What a reaction costs on the wire beside its users.
const REACTION_OVERHEAD_BYTES: usize = 80;

/// Recovery of missed messages.
#[derive(Clone)]
pub struct Recovery {
    store: Store,
    messages: Arc<Messages>,
    conversations: Arc<Conversations>,
    config: Config,
}

/// What is wanted of the log.
enum Filter<'a> {
    /// Every change.
    Everything,
    /// Messages of others after this moment.
    Since { date: Timestamp, user: &'a UserId },
}

/// A conversation being read.
struct Source {
    id: ConversationId,
    /// The last number handled.
    cursor: u64,
    waiting: VecDeque<(u64, ChangeRecord)>,
    /// What the retention has taken of it.
    trimmed: TrimmedRecord,
}

/// A page being filled.
#[derive(Default)]
struct Page {
    messages: Vec<(MessageId, MessageRecord)>,
    seen: HashSet<MessageId>,
    changes: Vec<(u64, ChangeRecord, MessageRecord)>,
    bytes: usize,
    scanned: usize,
    /// Conversations of which something is gone that had been wanted, with the oldest number that is there.
    truncated: BTreeMap<ConversationId, u64>,
}

impl Recovery {
    /// Reads the conversations in `store`.
    #[must_use]
    pub fn new(store: Store, messages: Arc<Messages>, conversations: Arc<Conversations>, config: Config) -> Self {
        Self { store, messages, conversations, config }
    }

    /// One page of what `user` has missed. Reads for a few milliseconds: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// `not_found` for a conversation that is not the user's; `invalid_payload` for a cursor that lies beyond the end of its conversation,
    /// which an empty answer would hide.
    pub fn page(&self, user: &UserId, request: &GetMissedMessages) -> Result<MissedMessages, Refusal> {
        let conversations = match request.conversation_id {
            Some(id) => {
                self.conversations.access(user, id)?;
                vec![id]
            }
            None => self.conversations.of_user(user)?,
        };
        let gone = self.gone(user, request)?;
        let limit = request.limit.unwrap_or(self.config.max_page).clamp(1, self.config.max_page);
        let earlier = request.cursor.as_deref().map(PageCursor::decode).transpose()?;
        // Every page is read as the first one was asked for, whatever comes beside its cursor.
        let date = match &earlier {
            Some(earlier) => earlier.date,
            None => request.last_sync_date.filter(|_| request.cursors.is_none()),
        };
        let filter = date.map_or(Filter::Everything, |date| Filter::Since { date, user });
        let reader = self.store.read()?;
        let mut sources = Vec::with_capacity(conversations.len());
        let mut truncated = earlier.as_ref().map(|earlier| earlier.truncated.clone()).unwrap_or_default();
        for id in conversations {
            let trimmed = trimmed(&reader, id)?;
            let cursor = match (&earlier, &request.cursors, date) {
                (Some(earlier), _, _) => earlier.cursors.get(&id).copied().unwrap_or(0),
                (None, Some(cursors), _) => check_cursor(&reader, id, cursors.get(&id).copied().unwrap_or(0))?,
                (None, None, Some(date)) => seq_before(&reader, id, date)?,
                (None, None, None) => 0,
            };
            let is_cut = match (&earlier, date) {
                // A search by date may end before what is gone; what counts is whether any of that is younger.
                (None, Some(date)) => trimmed.at > date,
                (Some(_), _) | (None, None) => cursor < trimmed.up_to,
            };
            if let Some(before) = trimmed.before().filter(|_| is_cut) {
                truncated.insert(id, before);
            }
            sources.push(Source { id, cursor: cursor.max(trimmed.up_to), waiting: VecDeque::new(), trimmed });
        }
        let page = Page { truncated, ..Page::default() };
        let (page, has_more) = self.fill(&reader, &mut sources, page, (&filter, limit))?;
        drop(reader);
        let cursors: BTreeMap<_, _> = sources.iter().map(|source| (source.id, source.cursor)).collect();
        let mut answer = self.answer(page, cursors, has_more, date)?;
        answer.conversation_id = request.conversation_id;
        answer.gone = gone;
        Ok(answer)
    }

    /// Those of the cursors' conversations that are not the user's: leaving them out would look as if nothing had happened there, and
    /// a refusal would keep somebody who was removed from one conversation from all others.
    fn gone(&self, user: &UserId, request: &GetMissedMessages) -> Result<Vec<ConversationId>, Refusal> {
        let mut gone = Vec::new();
        for id in request.cursors.iter().flat_map(BTreeMap::keys) {
            match self.conversations.access(user, *id) {
                Ok(_) => {}
                Err(refusal) if refusal.code == ErrorCode::NotFound => gone.push(*id),
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(gone)
    }

    /// Takes the oldest entry of all conversations again and again, until the page is full or nothing is left.
    fn fill(
        &self,
        reader: &Reader<'_>,
        sources: &mut [Source],
        mut page: Page,
        (filter, limit): (&Filter<'_>, usize),
    ) -> Result<(Page, bool), Refusal> {
        let mut oldest = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(at) = source.peek(reader)? {
                oldest.push(Reverse((at, index)));
            }
        }
        while let Some(Reverse((_, index))) = oldest.pop() {
            let full = page.messages.len() + page.changes.len() >= limit || page.bytes >= self.config.max_page_bytes;
            if full || page.scanned >= MAX_SCANNED {
                return Ok((page, true));
            }
            let Some(source) = sources.get_mut(index) else { continue };
            if let Some((seq, entry)) = source.waiting.pop_front() {
                source.cursor = seq;
                self.take(&mut page, reader, source, (seq, entry), filter)?;
            }
            if let Some(at) = source.peek(reader)? {
                oldest.push(Reverse((at, index)));
            }
        }
        Ok((page, false))
    }

    fn answer(
        &self,
        page: Page,
        cursors: BTreeMap<ConversationId, u64>,
        has_more: bool,
        date: Option<Timestamp>,
    ) -> Result<MissedMessages, Refusal> {
        let sent = page.messages.iter().map(|(id, record)| (*id, record));
        let edited = page.changes.iter().map(|(_, entry, record)| (entry.change.message(), record));
        let around = self.messages.around(sent.chain(edited), true)?;
        let messages: Vec<MessageView> =
            page.messages.into_iter().map(|(id, record)| around.show(id, record)).collect();
        let changes = page.changes.iter();
        let changes = changes.map(|(seq, entry, record)| ChangeEvent::new(*seq, &entry.change, record, &around));
        let truncated_before = page.truncated;
        let next_cursor = has_more
            .then(|| PageCursor { cursors: cursors.clone(), date, truncated: truncated_before.clone() }.encode());
        Ok(MissedMessages {
            count: messages.len(),
            messages,
            changes: changes.collect(),
            has_more,
            next_cursor,
            cursors,
            complete: !has_more && truncated_before.is_empty(),
            truncated_before,
            gone: Vec::new(),
            conversation_id: None,
        })
    }
}

impl Recovery {
    fn take(
        &self,
        page: &mut Page,
        reader: &Reader<'_>,
        source: &Source,
        (seq, entry): (u64, ChangeRecord),
        filter: &Filter<'_>,
    ) -> Result<(), Refusal> {
        page.scanned += 1;
        let id = entry.change.message();
        let is_new = entry.change.brings().is_some();
        // A change of a message that is on this page already is part of its present state.
        if !is_new && page.seen.contains(&id) {
            return Ok(());
        }
        let Some(record) = reader.get(&MESSAGES, &id)? else {
            self.messages.check_missing(source.id, std::iter::once(id))?;
            let before = source.trimmed.before().unwrap_or_default();
            page.truncated.insert(source.id, before);
            return Ok(());
        };
        let wanted = match filter {
            Filter::Everything => true,
            Filter::Since { date, user } => is_new && record.created_at > *date && record.sender != **user,
        };
        if !wanted {
            return Ok(());
        }
        page.bytes += size_of_message(&record);
        if is_new {
            page.seen.insert(id);
            page.messages.push((id, record));
        } else {
            page.changes.push((seq, entry, record));
        }
        Ok(())
    }
}

impl Source {
    /// The date of the next entry; reads more of the log when none waits.
    fn peek(&mut self, reader: &Reader<'_>) -> Result<Option<Timestamp>, Refusal> {
        if self.waiting.is_empty() {
            self.waiting = reader.scan_log(&LOG, &self.id, self.cursor, CHUNK)?.into();
        }
        Ok(self.waiting.front().map(|(_, entry)| entry.at))
    }
}

/// About how many bytes a message has on the wire.
fn size_of_message(record: &MessageRecord) -> usize {
    let data = record.data.as_ref().map_or(0, String::len);
    let size_of_reaction = |users: &[UserId]| users.iter().map(|user| user.as_str().len() + 3).sum::<usize>();
    let reactions: usize =
        record.reactions.iter().map(|one| REACTION_OVERHEAD_BYTES + size_of_reaction(&one.users)).sum();
    record.content.len() + data + reactions + MESSAGE_OVERHEAD_BYTES
}

/// A cursor that lies beyond the end was never given out for this conversation.
fn check_cursor(reader: &Reader<'_>, id: ConversationId, cursor: u64) -> Result<u64, Refusal> {
    let head = reader.head(&LOG, &id)?;
    if cursor > head {
        let expected = format!("expected at most {head}, the end of the conversation");
        return Err(Refusal::invalid(&format!("cursors.{id}"), &expected).with("limit", head));
    }
    Ok(cursor)
}
