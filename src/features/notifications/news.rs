//! What is told of a change after its commit, to all sockets of the user in `/` and `/notifications`.

use super::{
    Kind, NotificationId, NotificationView,
    events::{AllRead, Archived, Cleared, Count, Deleted, NewNotification, Read},
    subscriptions::without_room,
};
use crate::{
    clock::Timestamp,
    features::conversations::Rooms,
    ids::{MessageId, UserId},
};

/// One thing to tell.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// A notification is new, or renewed.
    New {
        view: Box<NotificationView>,
        kind: Kind,
        urgent: bool,
        /// The message whose beginning is still to become its text.
        about: Option<MessageId>,
    },
    Read {
        id: NotificationId,
        at: Timestamp,
    },
    Archived {
        id: NotificationId,
    },
    Deleted {
        id: NotificationId,
    },
    AllRead {
        count: usize,
    },
    Cleared {
        count: usize,
        read_only: bool,
    },
    Count {
        unread: usize,
    },
}

impl News {
    /// What is left for somebody who does not want to be disturbed: no new notification that is not urgent, and no number that
    /// rises because of it.
    pub(super) fn muted(mut news: Vec<Self>) -> Vec<Self> {
        news.retain(|news| !matches!(news, Self::New { urgent: false, .. }));
        if matches!(news.as_slice(), [Self::Count { .. }]) {
            news.clear();
        }
        news
    }

    /// Tells it.
    pub(super) fn tell(&self, rooms: &Rooms, user: &UserId) {
        match self {
            Self::New { view, kind, urgent, about } => {
                let without = (!*urgent).then(|| without_room(*kind, user));
                let about = about.map(|message| *message.as_bytes());
                rooms.emit_to_user_without(user, without.as_deref(), about, &NewNotification(view));
            }
            Self::Read { id, at } => rooms.emit_to_user(user, &Read { notification_id: *id, read_at: *at }),
            Self::Archived { id } => rooms.emit_to_user(user, &Archived { notification_id: *id }),
            Self::Deleted { id } => rooms.emit_to_user(user, &Deleted { notification_id: *id }),
            Self::AllRead { count } => rooms.emit_to_user(user, &AllRead { count: *count }),
            Self::Cleared { count, read_only } => {
                rooms.emit_to_user(user, &Cleared { count: *count, read_only: *read_only });
            }
            Self::Count { unread } => rooms.emit_to_user(user, &Count { unread: *unread }),
        }
    }
}
