//! A message as clients see it.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Kind, MessageRecord};
use crate::{
    clock::Timestamp,
    features::users::Profile,
    ids::{ConversationId, MessageId, UserId},
};

/// The profiles of those who wrote the messages that are shown.
pub type Authors = HashMap<UserId, Profile>;

/// Who sent a message: the profile, or the plain id for messages sent with the legacy event `send-message`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Sender {
    /// `{_id, id, username, avatar}`.
    Profile(Profile),
    /// The id.
    Id(UserId),
}

/// The message object of the contract, section 3.2.
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
    /// Reactions; none yet.
    pub reactions: [(); 0],
    /// The sender's own key.
    pub client_id: Option<String>,
    /// The app's own JSON.
    pub data: Option<Box<RawValue>>,
    /// How far it has come: `sent`, once stored.
    pub status: &'static str,
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
            forwarded_from: None,
            mentions: record.mentions,
            reactions: [],
            client_id: record.client_id,
            data: record.data.and_then(|data| RawValue::from_string(data).ok()),
            status: "sent",
            created_at: record.created_at,
            edited: record.edited_at.is_some(),
            edited_at: record.edited_at,
            deleted: deleted_at.is_some(),
            deleted_at,
            expires_at: record.expires_at,
            is_pinned: false,
        }
    }

    /// The same, with the profile looked up among `authors`.
    pub(crate) fn by_author(id: MessageId, record: MessageRecord, authors: &Authors) -> Self {
        let sender =
            authors.get(&record.sender).cloned().map_or_else(|| Sender::Id(record.sender.clone()), Sender::Profile);
        Self::new(id, record, sender)
    }
}
