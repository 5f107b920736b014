//! The rules of notifications.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
};

use tokio::sync::{Mutex, Notify};

use super::{
    Absences, Config, Draft, Filter, Muting, NotificationId, NotificationView, Previews, Status,
    about::fill,
    events::Count,
    kinds::not_found,
    ledger::{Ledger, scan_before},
    news::News,
    store::{COUNTS, CountsRecord, NotificationRecord, PlaceRecord},
};
use crate::{
    features::conversations::{Conversations, Rooms},
    ids::UserId,
    server::{Refusal, Socket},
    storage::{Batch, CommitError, Store},
    telemetry::Metrics,
};

/// How often a change is tried again. Changes of a user take turns, so another one can come first only when its caller has gone
/// while it was being stored.
const ATTEMPTS: usize = 8;
/// Locks by which changes of a user take turns; users share them by hash.
const TURNS: usize = 256;
/// Rows that are looked at before others have their turn.
const STEP: usize = 64;
/// A page ends once it has this many bytes of text.
const PAGE_BYTES: usize = 512 * 1024;
/// Unread notifications that `notifications:unread` shows.
const UNREAD_SHOWN: usize = 50;

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest, after passing over so many.
    Skip(usize),
    /// After the last one of another page: its [`Page::next`].
    After(u64),
}

/// Some of a user's notifications.
#[derive(Debug)]
pub struct Page {
    /// The newest first.
    pub notifications: Vec<NotificationView>,
    /// Where the next page begins, if there is one.
    pub next: Option<u64>,
}

/// The notifications.
pub struct Notifications {
    pub(super) store: Store,
    pub(super) conversations: Arc<Conversations>,
    pub(super) rooms: Rooms,
    pub(super) config: Config,
    metrics: Metrics,
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
    muting: OnceLock<Arc<dyn Muting>>,
    absences: OnceLock<Arc<dyn Absences>>,
    pub(super) previews: OnceLock<Arc<dyn Previews>>,
    /// Rings when there is a job.
    pub(super) ordered: Notify,
    /// The key of the job that was ordered last.
    pub(super) last_job: std::sync::Mutex<NotificationId>,
}

impl Notifications {
    /// Notifications in `store`, told to users in `rooms`, of groups as well from now on.
    #[must_use]
    pub fn new(
        store: Store,
        (conversations, rooms): (Arc<Conversations>, Rooms),
        config: Config,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let this = Arc::new(Self {
            store,
            conversations,
            rooms,
            config,
            metrics: metrics.clone(),
            turns: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            muting: OnceLock::new(),
            absences: OnceLock::new(),
            previews: OnceLock::new(),
            ordered: Notify::new(),
            last_job: std::sync::Mutex::new(NotificationId::from_bytes([0; 12])),
        });
        this.conversations.set_listener(Arc::clone(&this) as _);
        this
    }

    /// Who knows whom not to disturb. Set once, when the server is put together; without it everybody is told.
    pub fn set_muting(&self, muting: Arc<dyn Muting>) {
        let already = self.muting.set(muting).is_err();
        debug_assert!(!already, "set once");
    }

    /// Who knows what users have missed. Set once, when the server is put together.
    pub fn set_absences(&self, absences: Arc<dyn Absences>) {
        let already = self.absences.set(absences).is_err();
        debug_assert!(!already, "set once");
    }

    /// Who knows what is in messages. Set once, when the server is put together.
    pub fn set_previews(&self, previews: Arc<dyn Previews>) {
        let already = self.previews.set(previews).is_err();
        debug_assert!(!already, "set once");
    }

    /// Stores a notification and tells the user. An unread one with the same collapse key is replaced and keeps its id. Whether
    /// the user exists is for the caller to know.
    ///
    /// # Errors
    ///
    /// What [`Draft::check`] says; when it cannot be stored.
    pub async fn put(&self, user: &UserId, draft: Draft) -> Result<NotificationView, Refusal> {
        draft.check()?;
        let (id, about) = (NotificationId::fresh(), draft.about);
        let added = self.alter(user, |ledger| Ok(ledger.add(id, draft.clone(), self.config.max_per_user, false)?));
        let mut view = added.await?;
        self.fill(user, about, &mut view);
        Ok(view)
    }

    /// Makes notifications, none with the `collapseKey` of another, in few commits.
    ///
    /// # Errors
    ///
    /// When one is not as it should be, or cannot be stored: some may be.
    pub async fn put_all(&self, user: &UserId, drafts: &[Draft]) -> Result<(), Refusal> {
        drafts.iter().try_for_each(Draft::check)?;
        let mut rest = drafts;
        while !rest.is_empty() {
            let step = |ledger: &mut Ledger<'_>| {
                // Where there is no room each has to make its own, which wants to see the last one stored.
                let room = self.config.max_per_user.saturating_sub(ledger.counts.total());
                let next = rest.get(..room.clamp(1, STEP)).unwrap_or(rest);
                for draft in next {
                    ledger.add(NotificationId::fresh(), draft.clone(), self.config.max_per_user, false)?;
                }
                Ok(next.len())
            };
            let made = self.alter(user, step).await?;
            rest = rest.get(made..).unwrap_or_default();
        }
        Ok(())
    }

    /// Makes a notification once for each `id`, however often it is repeated within a day; `None` when it was there before.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub(super) async fn put_once(
        &self,
        user: &UserId,
        id: NotificationId,
        draft: &Draft,
    ) -> Result<Option<NotificationView>, Refusal> {
        self.alter(user, |ledger| {
            if ledger.place(id)?.is_some() {
                return Ok(None);
            }
            Ok(Some(ledger.add(id, draft.clone(), self.config.max_per_user, true)?))
        })
        .await
    }

    /// How many notifications the user has, and of which kind.
    pub(super) fn present_counts(&self, user: &UserId) -> Result<CountsRecord, Refusal> {
        Ok(self.store.get(&COUNTS, user)?.unwrap_or_default())
    }

    /// How many notifications of `user` are unread.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn unread_count(&self, user: &UserId) -> Result<usize, Refusal> {
        self.settle(user).await;
        Ok(self.present_counts(user)?.unread())
    }

    /// The newest unread notifications, and how many there are in all.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn unread(&self, user: &UserId) -> Result<(usize, Vec<NotificationView>), Refusal> {
        let count = self.unread_count(user).await?;
        let filter = Filter { status: Some(Status::Unread), kind: None };
        Ok((count, self.page(user, filter, Start::Skip(0), UNREAD_SHOWN).await?.notifications))
    }

    /// Notifications that fit, the newest first: up to `limit`, or 512 KiB of text.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn list(&self, user: &UserId, filter: Filter, start: Start, limit: usize) -> Result<Page, Refusal> {
        self.settle(user).await;
        self.page(user, filter, start, limit).await
    }

    async fn page(&self, user: &UserId, filter: Filter, start: Start, limit: usize) -> Result<Page, Refusal> {
        let (mut skip, mut before) = match start {
            Start::Skip(count) => (count, u64::MAX),
            Start::After(place) => (0, place),
        };
        let (mut notifications, mut last, mut bytes) = (Vec::new(), None, 0_usize);
        loop {
            let rows = scan_before(&self.store, user, before, STEP)?;
            let is_end = rows.len() < STEP;
            for (place, record) in rows {
                before = place;
                if !filter.fits(&record) {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                let view = self.show(user, record);
                bytes = bytes.saturating_add(size(&view));
                if notifications.len() == limit || (bytes > PAGE_BYTES && !notifications.is_empty()) {
                    return Ok(Page { notifications, next: last });
                }
                notifications.push(view);
                last = Some(place);
            }
            if is_end {
                return Ok(Page { notifications, next: None });
            }
            tokio::task::yield_now().await;
        }
    }

    /// One notification.
    ///
    /// # Errors
    ///
    /// `not_found` when there is none, or it is somebody else's.
    pub fn get(&self, user: &UserId, id: NotificationId) -> Result<NotificationView, Refusal> {
        let found = Ledger::open(&self.store, user)?.find(id)?;
        found.map(|(_, record)| self.show(user, record)).ok_or_else(not_found)
    }

    /// Marks a notification as read and tells all devices. Reading it again changes nothing; one that is put aside stays there.
    ///
    /// # Errors
    ///
    /// `not_found` when there is none, or it is somebody else's.
    pub async fn read(&self, user: &UserId, id: NotificationId) -> Result<NotificationView, Refusal> {
        self.alter(user, |ledger| {
            let (place, mut record) = ledger.find(id)?.ok_or_else(not_found)?;
            if record.status == Status::Unread {
                ledger.set_status(place, &mut record, Status::Read);
            }
            // Told again to whoever repeats it: clients without acks wait for the event.
            ledger.news.extend(record.read_at.map(|at| News::Read { id, at }));
            Ok(self.show(user, record))
        })
        .await
    }

    /// Puts a notification aside, which reads it as well.
    ///
    /// # Errors
    ///
    /// `not_found` when there is none, or it is somebody else's.
    pub async fn archive(&self, user: &UserId, id: NotificationId) -> Result<NotificationView, Refusal> {
        self.alter(user, |ledger| {
            let (place, mut record) = ledger.find(id)?.ok_or_else(not_found)?;
            let was_unread = record.status == Status::Unread;
            ledger.set_status(place, &mut record, Status::Archived);
            if was_unread {
                ledger.news.extend(record.read_at.map(|at| News::Read { id, at }));
            }
            ledger.news.push(News::Archived { id });
            Ok(self.show(user, record))
        })
        .await
    }

    /// Deletes a notification and tells all devices. Deleting it again within a day succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// `not_found` when there was none, or it is somebody else's.
    pub async fn delete(&self, user: &UserId, id: NotificationId) -> Result<(), Refusal> {
        self.alter(user, |ledger| {
            match ledger.find(id)? {
                Some((place, record)) => ledger.remove(place, &record),
                None if ledger.place(id)? == Some(PlaceRecord::Gone) => {}
                None => return Err(not_found()),
            }
            ledger.news.push(News::Deleted { id });
            Ok(())
        })
        .await
    }

    /// Marks everything as read that was there at the call; tells how many it were.
    ///
    /// # Errors
    ///
    /// When it cannot be stored; a part may be.
    pub async fn mark_all_read(&self, user: &UserId) -> Result<usize, Refusal> {
        let change = |ledger: &mut Ledger<'_>, place, mut record: NotificationRecord| {
            let is_unread = record.status == Status::Unread;
            if is_unread {
                ledger.set_status(place, &mut record, Status::Read);
            }
            is_unread
        };
        let count = self.alter_all(user, Some(Status::Unread), change).await?;
        self.announce(user, News::AllRead { count }).await?;
        Ok(count)
    }

    /// Deletes everything that was there at the call, or only what has status `read`; tells how many it were.
    ///
    /// # Errors
    ///
    /// When it cannot be stored; a part may be.
    pub async fn clear(&self, user: &UserId, read_only: bool) -> Result<usize, Refusal> {
        let change = |ledger: &mut Ledger<'_>, place, record: NotificationRecord| {
            let goes = !read_only || record.status == Status::Read;
            if goes {
                ledger.remove(place, &record);
            }
            goes
        };
        let count = self.alter_all(user, read_only.then_some(Status::Read), change).await?;
        self.announce(user, News::Cleared { count, read_only }).await?;
        Ok(count)
    }

    /// Changes what is there now in steps, newest first, while any has `status`; counts what `change` says it has changed.
    async fn alter_all(
        &self,
        user: &UserId,
        status: Option<Status>,
        change: impl Fn(&mut Ledger<'_>, u64, NotificationRecord) -> bool + Send + Sync,
    ) -> Result<usize, Refusal> {
        let filter = Filter { status, kind: None };
        let (mut count, mut before) = (0, self.present_counts(user)?.next);
        loop {
            let step = |ledger: &mut Ledger<'_>| {
                if ledger.counts.of(filter) == 0 {
                    return Ok((0, None));
                }
                let rows = ledger.before(before, STEP)?;
                let next = rows.last().map(|(place, _)| *place).filter(|_| rows.len() == STEP);
                let changed = rows.into_iter().map(|(place, record)| usize::from(change(ledger, place, record)));
                Ok((changed.sum::<usize>(), next))
            };
            let (changed, next) = self.alter(user, step).await?;
            count += changed;
            match next {
                Some(next) => before = next,
                None => return Ok(count),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Collects a change, commits it and tells of it. Changes of one user take turns in the order of the calls.
    pub(super) async fn alter<T: Send + 'static>(
        &self,
        user: &UserId,
        mut decide: impl FnMut(&mut Ledger<'_>) -> Result<T, Refusal> + Send,
    ) -> Result<T, Refusal> {
        let _turn = self.turn(user).lock().await;
        for _ in 0..ATTEMPTS {
            let mut ledger = Ledger::open(&self.store, user)?;
            let answer = decide(&mut ledger)?;
            if ledger.is_empty() {
                ledger.news.iter().for_each(|news| news.tell(&self.rooms, user));
                return Ok(answer);
            }
            let (batch, news) = ledger.close();
            let tell = self.telling(user, news);
            let stored = self.store.commit_then(batch, move |_| {
                tell();
                answer
            });
            match stored.await {
                Err(CommitError::Conflict) => {}
                result => return Ok(result?),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Tells the user of something, and how many are unread, after everything that was submitted before.
    fn announce(&self, user: &UserId, news: News) -> impl Future<Output = Result<(), CommitError>> + Send + use<> {
        let (rooms, user) = (self.rooms.clone(), user.clone());
        self.count_in_turn(&user.clone(), move |unread| {
            news.tell(&rooms, &user);
            News::Count { unread }.tell(&rooms, &user);
        })
    }

    /// Tells a socket how many are unread.
    pub(super) fn greet(
        &self,
        socket: &Arc<Socket>,
        user: &UserId,
    ) -> impl Future<Output = Result<(), CommitError>> + Send + use<> {
        let socket = Arc::clone(socket);
        self.count_in_turn(user, move |unread| socket.emit(&Count { unread }))
    }

    /// Calls `tell` with the unread count after everything that was submitted before: an empty batch writes nothing and is answered
    /// in its turn, so that no older count is told after a newer one.
    fn count_in_turn<F: FnOnce(usize) + Send + 'static>(
        &self,
        user: &UserId,
        tell: F,
    ) -> impl Future<Output = Result<(), CommitError>> + Send + use<F> {
        let (store, user) = (self.store.clone(), user.clone());
        self.store.commit_then(Batch::new(), move |_| match store.get(&COUNTS, &user) {
            Ok(counts) => tell(counts.unwrap_or_default().unread()),
            Err(error) => tracing::error!(%error, "a user was not told how many notifications are unread"),
        })
    }

    /// What tells a user of a change.
    fn telling(&self, user: &UserId, news: Vec<News>) -> impl FnOnce() + Send + 'static + use<> {
        let is_muted = self.muting.get().is_some_and(|muting| muting.is_muted(user));
        let created = news.iter().filter(|news| matches!(news, News::New { .. })).count();
        let news = if is_muted { News::muted(news) } else { news };
        let (rooms, user, metrics) = (self.rooms.clone(), user.clone(), self.metrics.clone());
        let previews = self.previews.get().cloned();
        move || {
            metrics.notifications_created().inc_by(created as u64);
            for mut news in news {
                // Only now: a message may have been deleted since the notification was made.
                if let News::New { view, about, .. } = &mut news {
                    fill(previews.as_deref(), &user, *about, view);
                }
                news.tell(&rooms, &user);
            }
        }
    }

    async fn settle(&self, user: &UserId) {
        if let Some(absences) = self.absences.get() {
            absences.settle(user).await;
        }
    }

    fn turn(&self, user: &UserId) -> &Mutex<()> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = self.hasher.hash_one(user) as usize % TURNS;
        #[expect(clippy::indexing_slicing, reason = "the index was taken modulo the length")]
        &self.turns[index]
    }
}

/// The bytes of a notification's texts.
fn size(view: &NotificationView) -> usize {
    let link = view.action_url.as_deref().unwrap_or_default();
    [&view.title, &view.message, view.data.get(), link].into_iter().map(str::len).sum()
}
