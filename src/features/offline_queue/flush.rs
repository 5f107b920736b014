//! One socket gets what its user has missed.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::try_join_all;
use tokio::sync::Notify;

use super::{
    OfflineQueue,
    backlog::{Backlog, Page},
    events::{QueueTruncated, QueuedMessages},
    positions::Position,
};
use crate::{
    codes::ErrorCode,
    features::{
        conversations::{LOG, go_live},
        messages::{LoggedChange, MessageNew, Replayed},
    },
    ids::{ConversationId, UserId},
    server::{Refusal, ServerEvent, Socket},
    storage::{Batch, CommitError},
};

/// Changes of one page. The next one waits for the proof that this one has arrived, so that no more than this comes again when the
/// connection breaks, and live traffic of other conversations gets its turn.
const PAGE: usize = 100;
/// Bytes after which a page is interrupted in the same way: with the names of the reference app they go out twice, and long texts must
/// not fill what may wait for a client.
const PAGE_BYTES: usize = 131_072;
/// Changes whose messages are read at a time.
const READ_TOGETHER: usize = 8;
/// What may be told in one go where a conversation goes live. More is another page.
const MAX_REST: usize = 16;
/// Conversations that go live in one commit. Nobody else's commit goes on while they do.
const SETTLED_TOGETHER: usize = 64;

/// What became of a conversation whose backlog was told.
enum Settled {
    /// Everything after what the socket was told comes live.
    Live,
    /// Something more had come by then.
    Behind,
    /// The user is no member any more, or the socket has gone.
    Gone,
}

/// The flush of one socket.
pub(super) struct Flush {
    queue: OfflineQueue,
    socket: Arc<Socket>,
    user: UserId,
    held: Arc<Held>,
}

/// The conversations that are held back from a socket, each with the end of its log when the socket connected.
pub(super) type Held = HashMap<ConversationId, u64>;

impl Flush {
    pub(super) fn new(queue: OfflineQueue, socket: Arc<Socket>, user: UserId, held: Held) -> Self {
        Self { queue, socket, user, held: Arc::new(held) }
    }

    /// Tells everything from `starts` on. When the store fails the socket is closed, since these conversations are held back from
    /// it and it would wait for ever; the client comes back.
    pub(super) async fn run(self, starts: &[(ConversationId, Position)]) {
        let proved = Arc::new(Notify::new());
        self.queue.shared.flushing.insert(self.socket.id().clone(), Arc::clone(&proved));
        let result = self.tell_all(starts, &proved).await;
        // A session that goes on has a socket with the same id.
        self.queue.shared.flushing.remove_if(self.socket.id(), |_, own| Arc::ptr_eq(own, &proved));
        if let Err(error) = result {
            tracing::error!(%error, "what a user has missed could not be told; the connection is closed");
            self.socket.close_session();
        }
    }

    async fn tell_all(&self, starts: &[(ConversationId, Position)], proved: &Notify) -> Result<(), Refusal> {
        self.queue.note_absence_or_log(&self.user).await;
        let mut backlog = self.open(starts).await?;
        while !backlog.is_empty() && self.socket.is_connected() {
            let (read, page) = read_page(backlog).await?;
            backlog = read;
            self.tell_dropped(backlog.take_dropped());
            let told = self.tell(&backlog, &page, proved).await?;
            for ended in page.ended.chunks(SETTLED_TOGETHER) {
                for (id, settled) in ended.iter().zip(self.settle_all(&backlog, ended).await?) {
                    match settled {
                        Settled::Live | Settled::Gone => backlog.close(*id),
                        Settled::Behind => {}
                    }
                }
            }
            if told && !backlog.is_empty() {
                self.wait_for(proved).await;
            }
        }
        self.socket.session().ask_for_proof();
        Ok(())
    }

    /// Opens the backlog and tells the client, and the store, of what is left to the history.
    async fn open(&self, starts: &[(ConversationId, Position)]) -> Result<Backlog, Refusal> {
        let shared = &self.queue.shared;
        let (store, config, starts) = (shared.store.clone(), shared.config.clone(), starts.to_vec());
        let mut backlog = blocking(move || Backlog::open(&store, &config, starts)).await??;
        let dropped = backlog.take_dropped();
        if dropped > 0 {
            let passed = backlog.cursors().map(|(id, cursor)| shared.conversations.pass_over(&self.user, id, cursor));
            match try_join_all(passed).await {
                // Told again the next time.
                Err(refusal) if refusal.code == ErrorCode::StorageFull => {}
                passed => drop(passed?),
            }
            self.tell_dropped(dropped);
        }
        Ok(backlog)
    }

    /// Tells the client how much was left out, if anything.
    fn tell_dropped(&self, dropped: u64) {
        if dropped > 0 {
            self.queue.shared.metrics.queue_truncated().inc_by(dropped);
            self.socket.emit(&QueueTruncated { dropped });
        }
    }

    /// The same for changes whose messages the retention has taken by now.
    fn tell_gone(&self, replayed: &[Option<Replayed>]) {
        self.tell_dropped(replayed.iter().filter(|event| event.is_none()).count() as u64);
    }

    /// Waits until the client has what it was told.
    async fn wait_for(&self, proved: &Notify) {
        if self.socket.is_connected() {
            self.socket.session().ask_for_proof();
            proved.notified().await;
        }
    }

    /// Tells one page. False when there was nothing to tell.
    async fn tell(&self, backlog: &Backlog, page: &Page, proved: &Notify) -> Result<bool, Refusal> {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let mut told = false;
        // In small steps: what is not told yet while a slow client is waited for should not be in memory.
        for changes in page.changes.chunks(READ_TOGETHER) {
            if bytes >= PAGE_BYTES {
                bytes = 0;
                self.tell_together(&std::mem::take(&mut messages));
                self.wait_for(proved).await;
            }
            let replayed = self.queue.shared.messages.replay(changes)?;
            self.tell_gone(&replayed);
            for (change, event) in changes.iter().zip(replayed) {
                // Somebody who was removed a moment ago gets no more.
                let Some(event) = event.filter(|_| self.may_see(change.conversation)) else { continue };
                if self.is_no_news(change, &event) {
                    continue;
                }
                told = true;
                let is_message = event.name == MessageNew::NAME;
                let json = self.tell_one(backlog, change, event);
                bytes += json.len();
                messages.extend(is_message.then_some(json));
            }
        }
        self.tell_together(&messages);
        Ok(told)
    }

    /// Tells messages once more, for clients of the reference app.
    fn tell_together(&self, messages: &[String]) {
        if !messages.is_empty() && self.queue.shared.conversations.rooms().sends_twins() {
            let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
            self.socket.emit(&QueuedMessages { count: messages.len(), messages: &messages });
        }
    }

    /// Tells one change and gives its payload back.
    fn tell_one(&self, backlog: &Backlog, change: &LoggedChange, event: Replayed) -> String {
        let (id, seq) = (change.conversation, change.seq);
        let again = backlog.was_sent(id, seq) || self.queue.shared.is_doubtful(change.entry.at);
        let json = if again {
            self.queue.shared.metrics.redeliveries().inc();
            redelivered(&event.json)
        } else {
            event.json
        };
        self.socket.emit_tracked(event.name, &[&json], *id.as_bytes(), seq);
        json
    }

    /// Settles conversations in one go: they would wait for the disk one after the other.
    async fn settle_all(&self, backlog: &Backlog, ids: &[ConversationId]) -> Result<Vec<Settled>, Refusal> {
        try_join_all(ids.iter().map(|id| self.settle(backlog, *id))).await
    }

    /// Tells what has come since the page was read and releases the conversation, at a point where everything before has been told
    /// and nothing after has been sent yet.
    async fn settle(&self, backlog: &Backlog, id: ConversationId) -> Result<Settled, Refusal> {
        let Some(cursor) = backlog.cursor(id) else { return Ok(Settled::Gone) };
        let mut batch = Batch::new();
        let end = batch.observe(&LOG, &id);
        let (queue, socket, user) = (self.queue.clone(), Arc::clone(&self.socket), self.user.clone());
        let held = Arc::clone(&self.held);
        let settled = queue.shared.store.clone().commit_then(batch, move |committed| {
            Self { queue, socket, user, held }.settle_at(id, cursor, committed.seq(end))
        });
        settled.await.map_err(|error: CommitError| Refusal::from(error))?
    }

    /// Called in commit order, where `end` is exactly what has been told to others.
    fn settle_at(&self, id: ConversationId, cursor: u64, end: u64) -> Result<Settled, Refusal> {
        if !self.socket.is_connected() || !self.may_see(id) {
            // Whoever is brought back later gets from then on what comes.
            go_live(&self.socket, id);
            return Ok(Settled::Gone);
        }
        let mut rest = self.queue.shared.store.scan_log(&LOG, &id, cursor, MAX_REST + 1)?;
        // The log may go on beyond what has been told by now; that comes live.
        let up_to = self.queue.shared.conversations.trimmed(id)?.up_to;
        rest.retain(|(seq, _)| *seq <= end && *seq > up_to);
        if rest.len() > MAX_REST {
            return Ok(Settled::Behind);
        }
        let changes: Vec<LoggedChange> =
            rest.into_iter().map(|(seq, entry)| LoggedChange { conversation: id, seq, entry }).collect();
        let replayed = self.queue.shared.messages.replay(&changes)?;
        self.tell_dropped(up_to.saturating_sub(cursor));
        self.tell_gone(&replayed);
        for (change, event) in changes.iter().zip(replayed) {
            if let Some(event) = event.filter(|event| !self.is_no_news(change, event)) {
                self.socket.emit_tracked(event.name, &[&event.json], *id.as_bytes(), change.seq);
            }
        }
        // The user's own changes were passed over: the cursor has to get past them all the same.
        self.socket.track(*id.as_bytes(), end);
        go_live(&self.socket, id);
        Ok(Settled::Live)
    }

    /// The user's own changes are no news to him, unless another of his devices made them while this one was connected.
    fn is_no_news(&self, change: &LoggedChange, event: &Replayed) -> bool {
        event.by == self.user && self.held.get(&change.conversation).is_none_or(|end| change.seq <= *end)
    }

    fn may_see(&self, id: ConversationId) -> bool {
        self.queue.shared.conversations.access(&self.user, id).is_ok()
    }
}

/// Reads the next page where blocking is allowed.
async fn read_page(mut backlog: Backlog) -> Result<(Backlog, Page), Refusal> {
    let (backlog, page) = blocking(move || {
        let page = backlog.page(PAGE);
        (backlog, page)
    })
    .await?;
    Ok((backlog, page?))
}

async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let failed = |_| Refusal::new(ErrorCode::Internal, "the server failed to read the offline queue");
    tokio::task::spawn_blocking(read).await.map_err(failed)
}

/// The payload of something that may have been delivered before.
fn redelivered(json: &str) -> String {
    let open = json.strip_suffix('}').unwrap_or(json);
    format!(r#"{open},"redelivered":true}}"#)
}
