//! One change of one user's notifications: what is written for it, and what is told of it afterwards.

use super::{
    Draft, NotificationId, NotificationView, Priority, REMEMBERED, Status,
    news::News,
    store::{
        ABOUT, COLLAPSING, COUNTS, CollapsingRecord, CountsRecord, ENDS, Marker, NOTIFICATIONS, NotificationRecord,
        PLACES, PlaceRecord, READ, READ_AT,
    },
};
use crate::{
    clock::Timestamp,
    ids::{MessageId, UserId},
    storage::{Batch, Direction, StorageError, Store, Versioned},
};

/// Most notifications that make room for one new one. More are there only after `notifications.max_per_user` was lowered; those
/// go with the next ones.
const MAX_EVICTED: usize = 16;

/// Collects a change, whose batch is committed only if the user's notifications are still as they were read.
pub(super) struct Ledger<'a> {
    store: &'a Store,
    pub(super) user: &'a UserId,
    found: Option<Versioned<CountsRecord>>,
    pub(super) counts: CountsRecord,
    batch: Batch,
    /// Told in this order after the commit.
    pub(super) news: Vec<News>,
}

impl<'a> Ledger<'a> {
    /// The user's notifications as they are now.
    pub(super) fn open(store: &'a Store, user: &'a UserId) -> Result<Self, StorageError> {
        let found = store.get_versioned(&COUNTS, user)?;
        let counts = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
        Ok(Self { store, user, found, counts, batch: Batch::new(), news: Vec::new() })
    }

    /// True while there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// What is to be committed, and what is to be told then.
    pub(super) fn close(mut self) -> (Batch, Vec<News>) {
        match &self.found {
            Some(found) => self.batch.require_unchanged(&COUNTS, self.user, found),
            None => self.batch.require_absent(&COUNTS, self.user),
        }
        let unread = self.counts.unread();
        self.counts.revision = self.counts.revision.wrapping_add(1);
        self.batch.put(&COUNTS, self.user, &self.counts);
        if !self.news.is_empty() {
            self.news.push(News::Count { unread });
        }
        (self.batch, self.news)
    }

    /// A notification of this user with its place.
    pub(super) fn find(&self, id: NotificationId) -> Result<Option<(u64, NotificationRecord)>, StorageError> {
        match self.place(id)? {
            Some(PlaceRecord::At(place)) => {
                let record = self.store.get(&NOTIFICATIONS, &(self.user.clone(), place))?;
                Ok(record.map(|record| (place, record)))
            }
            Some(PlaceRecord::Gone) | None => Ok(None),
        }
    }

    /// Where a notification of this user is or was.
    pub(super) fn place(&self, id: NotificationId) -> Result<Option<PlaceRecord>, StorageError> {
        self.store.get(&PLACES, &(self.user.clone(), id))
    }

    /// Adds a notification, in place of an unread one with the same collapse key. With `remembered`, a repeat with the same id can
    /// be told even then.
    pub(super) fn add(
        &mut self,
        id: NotificationId,
        draft: Draft,
        max: usize,
        remembered: bool,
    ) -> Result<NotificationView, StorageError> {
        let mut record = NotificationRecord::new(id, draft);
        match self.collapsing(&record)? {
            Some((place, before)) => {
                self.withdraw(place, &before);
                record.id = before.id;
                record.count = before.count.saturating_add(1);
                if remembered {
                    self.remember(id, record.created_at);
                }
            }
            None => self.make_room(max)?,
        }
        let place = self.counts.next;
        self.counts.next = place.saturating_add(1);
        self.counts.add(record.kind, record.status);
        let user = self.user.clone();
        self.batch.put(&PLACES, &(user.clone(), record.id), &PlaceRecord::At(place));
        if let Some(key) = &record.collapse_key {
            self.batch.put(&COLLAPSING, &(user.clone(), key.clone()), &CollapsingRecord { place });
        }
        if let Some(at) = record.expires_at {
            self.batch.put(&ENDS, &(at, user.clone(), record.id), &Marker);
        }
        if let Some(message) = record.about {
            self.batch.put(&ABOUT, &(message, user.clone(), record.id), &Marker);
        }
        self.batch.put(&NOTIFICATIONS, &(user, place), &record);
        let (kind, urgent, about) = (record.kind, record.priority == Priority::Urgent, record.about);
        let view = NotificationView::from(record);
        self.news.push(News::New { view: Box::new(view.clone()), kind, urgent, about });
        Ok(view)
    }

    /// Gives a notification another status, unless it has it; reading time is the first moment at which it was not unread.
    pub(super) fn set_status(&mut self, place: u64, record: &mut NotificationRecord, status: Status) {
        if record.status == status {
            return;
        }
        self.unlist(place, record);
        self.counts.subtract(record.kind, record.status);
        self.counts.add(record.kind, status);
        record.status = status;
        let at = *record.read_at.get_or_insert_with(Timestamp::now);
        if status == Status::Read {
            self.batch.put(&READ, &(self.user.clone(), place), &Marker);
            self.batch.put(&READ_AT, &(at, self.user.clone(), record.id), &Marker);
        }
        self.batch.put(&NOTIFICATIONS, &(self.user.clone(), place), record);
    }

    /// Deletes a notification; that it was there is remembered for a while.
    pub(super) fn remove(&mut self, place: u64, record: &NotificationRecord) {
        self.withdraw(place, record);
        self.remember(record.id, Timestamp::now());
    }

    /// Forgets that a notification was there.
    pub(super) fn forget(&mut self, id: NotificationId) {
        self.batch.delete(&PLACES, &(self.user.clone(), id));
    }

    /// Deletes a row of [`ENDS`] that stands for nothing any more.
    pub(super) fn drop_end(&mut self, at: Timestamp, id: NotificationId) {
        self.batch.delete(&ENDS, &(at, self.user.clone(), id));
    }

    /// Deletes a row of [`READ_AT`] that stands for nothing any more.
    pub(super) fn drop_read_at(&mut self, at: Timestamp, id: NotificationId) {
        self.batch.delete(&READ_AT, &(at, self.user.clone(), id));
    }

    /// Deletes a row of [`ABOUT`] that stands for nothing any more.
    pub(super) fn drop_about(&mut self, message: MessageId, id: NotificationId) {
        self.batch.delete(&ABOUT, &(message, self.user.clone(), id));
    }

    /// At most `limit` notifications before `place`, the newest first.
    pub(super) fn before(&self, place: u64, limit: usize) -> Result<Vec<(u64, NotificationRecord)>, StorageError> {
        scan_before(self.store, self.user, place, limit)
    }

    /// The unread notification that a new one replaces.
    fn collapsing(&self, record: &NotificationRecord) -> Result<Option<(u64, NotificationRecord)>, StorageError> {
        record.collapse_key.as_deref().map_or(Ok(None), |key| self.unread_with(key))
    }

    /// The unread notification with a collapse key.
    pub(super) fn unread_with(&self, key: &str) -> Result<Option<(u64, NotificationRecord)>, StorageError> {
        let Some(found) = self.store.get(&COLLAPSING, &(self.user.clone(), key.to_owned()))? else { return Ok(None) };
        let before = self.store.get(&NOTIFICATIONS, &(self.user.clone(), found.place))?;
        Ok(before.map(|before| (found.place, before)))
    }

    /// Deletes what is too much for one more: the oldest read ones, then the oldest.
    fn make_room(&mut self, max: usize) -> Result<(), StorageError> {
        let too_many = (self.counts.total() + 1).saturating_sub(max).min(MAX_EVICTED);
        if too_many == 0 {
            return Ok(());
        }
        let read = self.store.scan_prefix(&READ, self.user, too_many, Direction::Forward)?;
        let mut places: Vec<u64> = read.into_iter().map(|((_, place), _)| place).collect();
        if places.len() < too_many {
            let oldest = self.store.scan_prefix(&NOTIFICATIONS, self.user, too_many, Direction::Forward)?;
            for ((_, place), _) in oldest {
                if places.len() < too_many && !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        for place in places {
            if let Some(record) = self.store.get(&NOTIFICATIONS, &(self.user.clone(), place))? {
                self.remove(place, &record);
                self.news.push(News::Deleted { id: record.id });
            }
        }
        Ok(())
    }

    /// Takes a notification out of everything but [`PLACES`].
    fn withdraw(&mut self, place: u64, record: &NotificationRecord) {
        self.unlist(place, record);
        self.counts.subtract(record.kind, record.status);
        self.batch.delete(&NOTIFICATIONS, &(self.user.clone(), place));
        if let Some(at) = record.expires_at {
            self.drop_end(at, record.id);
        }
        if let Some(message) = record.about {
            self.drop_about(message, record.id);
        }
    }

    /// Takes a notification out of the tables that go by its status.
    fn unlist(&mut self, place: u64, record: &NotificationRecord) {
        match record.status {
            Status::Unread => {
                if let Some(key) = &record.collapse_key {
                    self.batch.delete(&COLLAPSING, &(self.user.clone(), key.clone()));
                }
            }
            Status::Read => {
                self.batch.delete(&READ, &(self.user.clone(), place));
                if let Some(at) = record.read_at {
                    self.drop_read_at(at, record.id);
                }
            }
            Status::Archived => {}
        }
    }

    fn remember(&mut self, id: NotificationId, now: Timestamp) {
        self.batch.put(&PLACES, &(self.user.clone(), id), &PlaceRecord::Gone);
        self.batch.put(&ENDS, &(now.after(REMEMBERED), self.user.clone(), id), &Marker);
    }
}

/// At most `limit` notifications before `place`, the newest first.
pub(super) fn scan_before(
    store: &Store,
    user: &UserId,
    place: u64,
    limit: usize,
) -> Result<Vec<(u64, NotificationRecord)>, StorageError> {
    let range = crate::storage::KeyRange::prefix(user).before(&(user.clone(), place));
    let rows = store.scan(&NOTIFICATIONS, range, limit, Direction::Backward)?;
    Ok(rows.into_iter().map(|((_, place), record)| (place, record)).collect())
}
