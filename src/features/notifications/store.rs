//! The tables of notifications.
//!
//! All rows of a user change together with the user's row in [`COUNTS`], which every change reads and requires unchanged: so
//! the counts are those of the stored set at any moment, and two changes at once cannot overlook each other.

use serde::{Deserialize, Serialize};

use super::{Draft, Filter, Job, Kind, NotificationId, Priority, Status};
use crate::{
    clock::Timestamp,
    ids::{MessageId, UserId},
    storage::{Record, Table},
};

/// The notifications of each user by place: a number that rises with every new or renewed one, so the list is a scan from the end.
pub(super) const NOTIFICATIONS: Table<(UserId, u64), NotificationRecord> = Table::new("notifications");

/// Where a user's notification is. Of one that is gone the row stays for [`REMEMBERED`](super::REMEMBERED): a repeated deletion
/// succeeds, and a job that is repeated after a crash does not bring it back.
pub(super) const PLACES: Table<(UserId, NotificationId), PlaceRecord> = Table::new("notification_places");

/// How many notifications a user has.
pub(super) const COUNTS: Table<UserId, CountsRecord> = Table::new("notification_counts");

/// The unread notification with a collapse key.
pub(super) const COLLAPSING: Table<(UserId, String), CollapsingRecord> = Table::new("collapsing_notifications");

/// The places of those with status `read`: the first to go when there are too many.
pub(super) const READ: Table<(UserId, u64), Marker> = Table::new("read_notifications");

/// The same by the moment of reading: they go some time after it.
pub(super) const READ_AT: Table<(Timestamp, UserId, NotificationId), Marker> = Table::new("notification_read_times");

/// What has an end of its own, by that moment: notifications with `expiresAt`, and rows of [`PLACES`] of those that are gone.
pub(super) const ENDS: Table<(Timestamp, UserId, NotificationId), Marker> = Table::new("notification_ends");

/// Which notifications are about a message.
pub(super) const ABOUT: Table<(MessageId, UserId, NotificationId), Marker> = Table::new("notifications_about");

/// What is to be told to whom, written together with its cause. The key is fresh, so the table is in the order of the causes, and
/// the ids of a job's notifications are derived from it.
pub(super) const JOBS: Table<NotificationId, Job> = Table::new("notification_jobs");

/// Which job the key of a request of the backend stands for. Rows older than a day are dead and swept.
pub(super) const REQUESTS: Table<String, RequestRecord> = Table::new("notification_requests");

/// A notification, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NotificationRecord {
    pub(super) id: NotificationId,
    pub(super) kind: Kind,
    pub(super) title: String,
    pub(super) message: String,
    /// JSON, as it came.
    pub(super) data: Option<String>,
    pub(super) priority: Priority,
    pub(super) action_url: Option<String>,
    pub(super) collapse_key: Option<String>,
    pub(super) status: Status,
    /// How many it stands for: rises when an unread one is replaced.
    pub(super) count: u32,
    pub(super) created_at: Timestamp,
    pub(super) read_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    /// The message whose beginning is shown as the text.
    pub(super) about: Option<MessageId>,
}

impl NotificationRecord {
    pub(super) fn new(id: NotificationId, draft: Draft) -> Self {
        Self {
            id,
            kind: draft.kind,
            title: draft.title,
            message: draft.message,
            data: draft.data,
            priority: draft.priority,
            action_url: draft.action_url,
            collapse_key: draft.collapse_key,
            status: Status::Unread,
            count: 1,
            created_at: Timestamp::now(),
            read_at: None,
            expires_at: draft.expires_at,
            about: draft.about,
        }
    }
}

impl Record for NotificationRecord {
    const VERSION: u8 = 1;
}

/// Where a notification is, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PlaceRecord {
    /// Its place in [`NOTIFICATIONS`].
    At(u64),
    /// It was here once.
    Gone,
}

impl Record for PlaceRecord {
    const VERSION: u8 = 1;
}

/// How many there are by type and status, in the order of their declaration, version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CountsRecord {
    /// The next place.
    pub(super) next: u64,
    /// Rises with every change, so that no two versions are alike.
    pub(super) revision: u64,
    pub(super) by_kind: [[u32; 3]; 10],
}

impl CountsRecord {
    /// How many fit.
    pub(super) fn of(&self, filter: Filter) -> usize {
        let kinds = self.by_kind.iter().enumerate();
        let kinds = kinds.filter(|(kind, _)| filter.kind.is_none_or(|wanted| wanted as usize == *kind));
        let cells = kinds.flat_map(|(_, statuses)| statuses.iter().enumerate());
        let cells = cells.filter(|(status, _)| filter.status.is_none_or(|wanted| wanted as usize == *status));
        cells.map(|(_, count)| *count as usize).sum()
    }

    /// How many are unread.
    pub(super) fn unread(&self) -> usize {
        self.of(Filter { status: Some(Status::Unread), kind: None })
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.of(Filter::default())
    }

    pub(super) fn add(&mut self, kind: Kind, status: Status) {
        if let Some(count) = self.cell(kind, status) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn subtract(&mut self, kind: Kind, status: Status) {
        if let Some(count) = self.cell(kind, status) {
            *count = count.saturating_sub(1);
        }
    }

    fn cell(&mut self, kind: Kind, status: Status) -> Option<&mut u32> {
        self.by_kind.get_mut(kind as usize)?.get_mut(status as usize)
    }
}

impl Record for CountsRecord {
    const VERSION: u8 = 1;
}

/// Which notification has a collapse key, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CollapsingRecord {
    pub(super) place: u64,
}

impl Record for CollapsingRecord {
    const VERSION: u8 = 1;
}

/// What a key was used for, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RequestRecord {
    pub(super) job: NotificationId,
    /// XXH3 of what was to be told: the same key with something else is a mistake of the backend's.
    pub(super) fingerprint: u64,
    pub(super) at: Timestamp,
}

impl Record for RequestRecord {
    const VERSION: u8 = 1;
}

/// All there is to know is in the key, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker;

impl Record for Marker {
    const VERSION: u8 = 1;
}

impl Record for Job {
    const VERSION: u8 = 1;
}
