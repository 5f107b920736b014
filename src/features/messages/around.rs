//! What is shown with messages and is not in their rows: who wrote them, how far they have come.

use std::collections::{HashMap, hash_map::Entry};

use super::{MessageRecord, MessageStatus, MessageView, Messages, view::Sender};
use crate::{
    features::users::Profile,
    ids::{ConversationId, MessageId, UserId},
    server::Refusal,
};

/// What belongs to some messages, read at once.
#[derive(Debug, Default)]
pub(crate) struct Around {
    authors: HashMap<UserId, Profile>,
    standings: HashMap<ConversationId, Standing>,
}

/// How far the members of a conversation have come: delivered and read, by member.
#[derive(Debug, Default)]
struct Standing {
    members: Vec<(UserId, u64, u64)>,
}

impl Messages {
    /// Reads what belongs to `messages`; with `standings` also how far they have come, which costs a look at every member.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) fn around<'a>(
        &self,
        messages: impl Iterator<Item = (MessageId, &'a MessageRecord)> + Clone,
        standings: bool,
    ) -> Result<Around, Refusal> {
        let authors = self.users.profiles(messages.clone().map(|(_, record)| &record.sender))?;
        let mut around = Around { authors, standings: HashMap::new() };
        if standings {
            for (_, record) in messages {
                if let Entry::Vacant(unknown) = around.standings.entry(record.conversation) {
                    unknown.insert(self.standing(record.conversation)?);
                }
            }
        }
        Ok(around)
    }

    fn standing(&self, conversation: ConversationId) -> Result<Standing, Refusal> {
        let cursors: HashMap<UserId, _> = self.conversations.cursors(conversation)?.into_iter().collect();
        let members = self.conversations.members(conversation)?.into_iter().map(|user| {
            let (delivered, read) = cursors.get(&user).map_or((0, 0), |cursor| (cursor.delivered, cursor.read));
            (user, delivered, read)
        });
        Ok(Standing { members: members.collect() })
    }
}

impl Around {
    /// Shows a message.
    pub(crate) fn show(&self, id: MessageId, record: MessageRecord) -> MessageView {
        let author = self.authors.get(&record.sender).cloned();
        let sender = author.map_or_else(|| Sender::Id(record.sender.clone()), Sender::Profile);
        let mut view = MessageView::new(id, record, sender);
        if let Some(standing) = self.standings.get(&view.conversation_id) {
            standing.apply(&mut view);
        }
        view
    }
}

impl Standing {
    fn apply(&self, view: &mut MessageView) {
        let (mut others, mut delivered_to, mut read_by) = (0, 0, 0);
        for (_, delivered, read) in self.members.iter().filter(|(user, _, _)| *user != view.sender_id) {
            others += 1;
            delivered_to += usize::from(*delivered >= view.seq);
            read_by += usize::from(*read >= view.seq);
        }
        view.status = match others {
            0 => MessageStatus::Sent,
            all if read_by == all => MessageStatus::Read,
            all if delivered_to == all => MessageStatus::Delivered,
            _ => MessageStatus::Sent,
        };
        (view.delivered_to, view.read_by) = (Some(delivered_to), Some(read_by));
    }
}
