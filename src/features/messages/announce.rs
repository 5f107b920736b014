//! What is told to users who need not be looking: that they were mentioned, that somebody reacted to what they wrote, that
//! something was forwarded to them. Ordered within the batch of its cause, so it is as durable as that.

use serde_json::json;

use super::{MESSAGES, MessageRecord, Messages};
use crate::{
    codes::ErrorCode,
    features::{
        auth::SignedIn,
        notifications::{Draft, Job, Kind, Previews, Recipients},
    },
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
    storage::Batch,
};

/// Characters of a message that its notification shows.
const PREVIEW_CHARS: usize = 100;

impl Messages {
    /// Orders a notification for everybody who is mentioned in a new message.
    pub(super) fn announce_mentions(&self, batch: &mut Batch, from: &SignedIn, id: MessageId, record: &MessageRecord) {
        let users: Vec<UserId> = record.mentions.iter().filter(|user| **user != from.user).cloned().collect();
        if users.is_empty() {
            return;
        }
        let title = format!("{} mentioned you", from.profile.username);
        let draft = draft(Kind::Mention, &title, from, id, record);
        self.notifications.order(
            batch,
            &Job { recipients: Recipients::Users { users, members_of: Some(record.conversation) }, draft },
        );
    }

    /// Orders a notification for the author of a message that somebody reacted to.
    pub(crate) fn announce_reaction(
        &self,
        batch: &mut Batch,
        from: &SignedIn,
        id: MessageId,
        record: &MessageRecord,
        emoji: &str,
    ) {
        // An author who has left hears no more of it; looked at again when it is told.
        let title = format!("{} reacted {emoji} to your message", from.profile.username);
        let draft = draft(Kind::Reaction, &title, from, id, record).collapsing(format!("reaction:{id}"));
        let recipients =
            Recipients::Users { users: vec![record.sender.clone()], members_of: Some(record.conversation) };
        self.notifications.order(batch, &Job { recipients, draft });
    }

    /// Orders a notification for those to whom a message was forwarded.
    pub(super) fn announce_forward(&self, batch: &mut Batch, from: &SignedIn, id: MessageId, record: &MessageRecord) {
        let title = format!("{} forwarded a message to you", from.profile.username);
        let key = format!("forward:{}", record.conversation);
        let draft = draft(Kind::Forward, &title, from, id, record).collapsing(key);
        let recipients = Recipients::Members { of: record.conversation, without: vec![from.user.clone()] };
        self.notifications.order(batch, &Job { recipients, draft });
    }

    /// Something that was ordered is committed now.
    pub(crate) fn after_announcements(&self) {
        self.notifications.wake();
    }

    /// `user` has read a conversation up to `seq`, so what told of new messages there is read as well.
    pub(crate) async fn note_read(&self, user: &UserId, conversation: ConversationId, seq: u64) -> Result<(), Refusal> {
        let is_read = |message| Ok(self.store.get(&MESSAGES, &message)?.is_none_or(|record| record.seq <= seq));
        self.notifications.read_messages(user, conversation, is_read).await
    }
}

impl Previews for Messages {
    fn preview(&self, user: &UserId, message: MessageId) -> Option<String> {
        match self.find(user, message) {
            Ok(found) if found.value.deleted.is_none() => {
                Some(found.value.content.chars().take(PREVIEW_CHARS).collect())
            }
            Ok(_) => None,
            Err(refusal) if refusal.code == ErrorCode::NotFound => None,
            Err(error) => {
                tracing::error!(%error, %message, "a notification is shown without its message, which cannot be read");
                None
            }
        }
    }
}

fn draft(kind: Kind, title: &str, from: &SignedIn, id: MessageId, record: &MessageRecord) -> Draft {
    let group = record.recipient.is_none().then_some(record.conversation);
    let data = json!({
        "messageId": id,
        "conversationId": record.conversation,
        "groupId": group,
        "fromUserId": from.user,
    });
    Draft::new(kind, title, "").about(id).with_data(&data)
}
