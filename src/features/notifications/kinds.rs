//! What a notification is about, how urgent it is, and how far its reader has come.

use schemars::JsonSchema;
use serde::{
    Deserialize, Serialize,
    de::value::{Error, StrDeserializer},
};

use super::{NotificationId, store::NotificationRecord};
use crate::server::Refusal;

/// What a notification is about. Names of the reference app that it does not have are taken for the one that means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "NotificationType")]
pub enum Kind {
    /// A message came, changed or went.
    #[serde(alias = "message_deleted", alias = "message_edited")]
    Message,
    /// The user was mentioned.
    Mention,
    /// Somebody reacted to the user's message.
    Reaction,
    /// The user is in a group now.
    #[serde(alias = "group_add")]
    GroupInvite,
    /// A group of the user's has changed.
    #[serde(alias = "group_remove")]
    GroupUpdate,
    /// Somebody wants to be a contact.
    ContactRequest,
    /// Somebody has become one.
    #[serde(alias = "contact_accepted")]
    ContactAccept,
    /// Somebody calls.
    Call,
    /// A message was forwarded to the user.
    Forward,
    /// Anything of the app's.
    System,
}

impl Kind {
    /// All of them, in the order of the declaration.
    pub const ALL: [Self; 10] = [
        Self::Message,
        Self::Mention,
        Self::Reaction,
        Self::GroupInvite,
        Self::GroupUpdate,
        Self::ContactRequest,
        Self::ContactAccept,
        Self::Call,
        Self::Forward,
        Self::System,
    ];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Mention => "mention",
            Self::Reaction => "reaction",
            Self::GroupInvite => "group_invite",
            Self::GroupUpdate => "group_update",
            Self::ContactRequest => "contact_request",
            Self::ContactAccept => "contact_accept",
            Self::Call => "call",
            Self::Forward => "forward",
            Self::System => "system",
        }
    }
}

/// How much a notification matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "NotificationPriority")]
pub enum Priority {
    /// It can wait.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Soon.
    High,
    /// At once: passes every filter and is not muted.
    Urgent,
}

/// How far the reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "NotificationStatus")]
pub enum Status {
    /// Not read.
    #[default]
    Unread,
    /// Read; goes by itself after `notifications.read_retention_s`.
    Read,
    /// Put aside; stays.
    Archived,
}

/// Which notifications are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those with this status.
    pub status: Option<Status>,
    /// Those about this.
    pub kind: Option<Kind>,
}

impl Filter {
    /// Reads the words of a query; empty ones and `all` ask for everything.
    ///
    /// # Errors
    ///
    /// `invalid_payload` for a word that is none.
    pub(super) fn parse(status: Option<&str>, kind: Option<&str>) -> Result<Self, Refusal> {
        Ok(Self { status: word("status", status)?, kind: word("type", kind)? })
    }

    /// Whether it asks for this one.
    pub(super) fn fits(self, record: &NotificationRecord) -> bool {
        self.status.is_none_or(|status| status == record.status) && self.kind.is_none_or(|kind| kind == record.kind)
    }
}

fn word<'a, T: Deserialize<'a>>(field: &str, text: Option<&'a str>) -> Result<Option<T>, Refusal> {
    match text {
        None | Some("" | "all") => Ok(None),
        Some(text) => match T::deserialize(StrDeserializer::<Error>::new(text)) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Refusal::invalid(field, &error.to_string())),
        },
    }
}

/// An id in a path or a payload that is none names nothing.
pub(super) fn parse_id(id: &str) -> Result<NotificationId, Refusal> {
    id.parse().map_err(|_| not_found())
}

/// There is none, or it is somebody else's.
pub(super) fn not_found() -> Refusal {
    Refusal::new(crate::codes::ErrorCode::NotFound, "Notification not found")
}
