//! A message as clients see it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Kind, MessageRecord, store::Reacted};
use crate::{
    clock::Timestamp,
    features::users::Profile,
    ids::{ConversationId, MessageId, UserId},
};

/// Who sent a message: the profile, or the plain id for messages sent with the legacy event `send-message`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Sender {
    /// `{_id, id, username, avatar}`.
    Profile(Profile),
    /// The id.
    Id(UserId),
}

/// A message.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    /// The same as `id`, where clients of the reference app look for it.
    #[serde(rename = "_id")]
    pub legacy_id: MessageId,
    /// The id.
    pub id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The same, as the reference app names it.
    pub conversation: ConversationId,
    /// Its place in the conversation's log.
    pub seq: u64,
    /// Rises with every edit, 1 at first.
    pub rev: u32,
    /// Who sent it.
    pub sender: Sender,
    /// Who sent it, always the plain id.
    pub sender_id: UserId,
    /// The other one of a direct conversation.
    pub recipient: Option<UserId>,
    /// The conversation again when it is a group.
    pub group: Option<ConversationId>,
    /// The text; empty once deleted.
    pub content: String,
    /// What it carries.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where the file is.
    pub media_url: Option<String>,
    /// The file's name.
    pub media_name: Option<String>,
    /// The file's size in bytes.
    pub media_size: Option<u64>,
    /// The file's media type.
    pub media_mime_type: Option<String>,
    /// The reference app's id of an uploaded file; this server has none.
    pub media: Option<String>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// The message that this one is a copy of.
    pub forwarded_from: Option<MessageId>,
    /// Users mentioned.
    pub mentions: Vec<UserId>,
    /// Who reacted with what, in the order of first use.
    pub reactions: Vec<ReactionView>,
    /// The sender's own key.
    pub client_id: Option<String>,
    /// The app's own JSON.
    pub data: Option<Box<RawValue>>,
    /// How far it has come for everybody but its sender: `sent` once stored, `delivered` and `read` when it is for all of them.
    pub status: MessageStatus,
    /// At how many of the others it has arrived; left out where nobody counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_to: Option<usize>,
    /// How many of the others have read it; left out where nobody counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_by: Option<usize>,
    /// When it was sent.
    pub created_at: Timestamp,
    /// Whether its text has changed since.
    pub edited: bool,
    /// When that was.
    pub edited_at: Option<Timestamp>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// When that was.
    pub deleted_at: Option<Timestamp>,
    /// When it goes by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether it is pinned.
    pub is_pinned: bool,
    /// When that was done.
    pub pinned_at: Option<Timestamp>,
    /// Who did it.
    pub pinned_by: Option<UserId>,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageStatus {
    /// It is stored.
    #[default]
    Sent,
    /// It has arrived at all others.
    Delivered,
    /// All others have read it.
    Read,
}

/// One emoji under a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReactionView {
    /// The emoji.
    pub emoji: String,
    /// How many users.
    pub count: u32,
    /// The first of them, at most 50.
    pub user_ids: Vec<UserId>,
}

/// The reactions of a message as clients see them.
pub(crate) fn reactions(reacted: Vec<Reacted>) -> Vec<ReactionView> {
    let view = |Reacted { emoji, count, users }| ReactionView { emoji, count, user_ids: users };
    reacted.into_iter().map(view).collect()
}

impl MessageView {
    /// Shows a stored message with its sender's profile.
    pub(crate) fn new(id: MessageId, record: MessageRecord, sender: Sender) -> Self {
        let (media_url, media_name, media_size, media_mime_type) = match record.media {
            Some(media) => (Some(media.url), media.name, media.size, media.mime_type),
            None => (None, None, None, None),
        };
        let deleted_at = record.deleted.as_ref().map(|deletion| deletion.at);
        Self {
            legacy_id: id,
            id,
            conversation_id: record.conversation,
            conversation: record.conversation,
            seq: record.seq,
            rev: record.rev,
            sender,
            sender_id: record.sender,
            group: record.recipient.is_none().then_some(record.conversation),
            recipient: record.recipient,
            content: record.content,
            kind: record.kind,
            media_url,
            media_name,
            media_size,
            media_mime_type,
            media: None,
            reply_to: record.reply_to,
            forwarded_from: record.forwarded_from,
            mentions: record.mentions,
            reactions: reactions(record.reactions),
            client_id: record.client_id,
            data: record.data.and_then(|data| RawValue::from_string(data).ok()),
            status: MessageStatus::Sent,
            delivered_to: None,
            read_by: None,
            created_at: record.created_at,
            edited: record.edited_at.is_some(),
            edited_at: record.edited_at,
            deleted: deleted_at.is_some(),
            deleted_at,
            expires_at: record.expires_at,
            is_pinned: record.pinned.is_some(),
            pinned_at: record.pinned.as_ref().map(|pin| pin.at),
            pinned_by: record.pinned.map(|pin| pin.by),
        }
    }
}
