//! Notifications about a message: they show its text as it is, and are read with it.

use futures_util::future::join_all;

use super::{
    NotificationView, Notifications, Previews, Status,
    ledger::Ledger,
    news::News,
    store::{ABOUT, COLLAPSING, NotificationRecord},
};
use crate::{
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::{Direction, KeyRange, StorageError},
};

/// Notifications that are deleted together.
const STEP: usize = 64;

/// The collapse key of what tells of new messages in a conversation.
pub fn message_key(conversation: ConversationId) -> String {
    format!("message:{conversation}")
}

/// Gives a notification the text of the message that it is about.
pub(super) fn fill(
    previews: Option<&dyn Previews>,
    user: &UserId,
    about: Option<MessageId>,
    view: &mut NotificationView,
) {
    if let (Some(previews), Some(message)) = (previews, about) {
        view.message = previews.preview(user, message).unwrap_or_default();
    }
}

impl Notifications {
    /// A notification as its reader sees it.
    pub(super) fn show(&self, user: &UserId, record: NotificationRecord) -> NotificationView {
        let about = record.about;
        let mut view = NotificationView::from(record);
        self.fill(user, about, &mut view);
        view
    }

    pub(super) fn fill(&self, user: &UserId, about: Option<MessageId>, view: &mut NotificationView) {
        fill(self.previews.get().map(|previews| &**previews), user, about, view);
    }

    /// A message was deleted: nobody who was cut off gets a notification any more that shows its text.
    ///
    /// # Errors
    ///
    /// When it cannot be read who was told.
    pub(crate) fn withdraw(&self, message: MessageId) -> Result<(), StorageError> {
        let mut range = KeyRange::prefix(&message);
        loop {
            let rows = self.store.scan(&ABOUT, range, STEP, Direction::Forward)?;
            for ((_, user, _), _) in &rows {
                self.rooms.withdraw(user, *message.as_bytes());
            }
            match rows.last() {
                Some((last, _)) if rows.len() == STEP => range = KeyRange::prefix(&message).after(last),
                _ => return Ok(()),
            }
        }
    }

    /// Deletes all notifications about a message and tells their readers.
    ///
    /// # Errors
    ///
    /// When it cannot be stored; a part may be.
    pub(crate) async fn remove_about(&self, message: MessageId) -> Result<(), Refusal> {
        loop {
            let rows = self.store.scan_prefix(&ABOUT, &message, STEP, Direction::Forward)?;
            let removed = rows.iter().map(async |((_, user, id), _)| {
                self.alter(user, |ledger| {
                    ledger.drop_about(message, *id);
                    if let Some((place, record)) = ledger.find(*id)?
                        && record.about == Some(message)
                    {
                        ledger.remove(place, &record);
                        ledger.news.push(News::Deleted { id: *id });
                    }
                    Ok(())
                })
                .await
            });
            join_all(removed).await.into_iter().collect::<Result<(), _>>()?;
            if rows.len() < STEP {
                return Ok(());
            }
        }
    }

    /// Marks the unread notification of new messages in a conversation as read if `is_read` says so of the message that it is about,
    /// and tells all devices.
    ///
    /// # Errors
    ///
    /// What `is_read` fails with; when it cannot be stored.
    pub(crate) async fn read_messages(
        &self,
        user: &UserId,
        conversation: ConversationId,
        is_read: impl Fn(MessageId) -> Result<bool, StorageError> + Send + Sync,
    ) -> Result<(), Refusal> {
        let key = message_key(conversation);
        // Mostly there is none, and one look tells.
        if !self.store.contains(&COLLAPSING, &(user.clone(), key.clone()))? {
            return Ok(());
        }
        self.alter(user, |ledger: &mut Ledger<'_>| {
            let Some((place, mut record)) = ledger.unread_with(&key)? else { return Ok(()) };
            if record.about.map_or(Ok(true), &is_read)? {
                ledger.set_status(place, &mut record, Status::Read);
                ledger.news.extend(record.read_at.map(|at| News::Read { id: record.id, at }));
            }
            Ok(())
        })
        .await
    }
}
