//! The tables of statuses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::UserId,
    storage::{Record, Table},
};

/// What users have chosen. No row: online, without a text.
pub(super) const STATUSES: Table<UserId, StatusRecord> = Table::new("statuses");

/// Texts that go by themselves, by the moment they do. Written and deleted together with the text.
pub(super) const EXPIRING: Table<(Timestamp, UserId), ExpiringRecord> = Table::new("expiring_statuses");

/// What a user wants to be taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There.
    #[default]
    Online,
    /// There, but not at the keyboard.
    Away,
    /// There, with something else to do.
    Busy,
    /// Not to be disturbed: notifications are stored and not told.
    Dnd,
    /// Not there; for somebody who is, invisible.
    #[serde(alias = "invisible")]
    Offline,
}

/// The user's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CustomStatus")]
pub struct Custom {
    /// Up to 100 characters.
    #[serde(default)]
    pub message: String,
    /// Up to 32 bytes.
    #[serde(default)]
    pub emoji: String,
    /// When it goes by itself.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

impl Custom {
    /// True without words and picture.
    pub(super) fn is_empty(&self) -> bool {
        self.message.is_empty() && self.emoji.is_empty()
    }
}

/// What a user has chosen, version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatusRecord {
    pub(super) status: Status,
    pub(super) custom: Option<Custom>,
}

impl Record for StatusRecord {
    const VERSION: u8 = 1;
}

impl StatusRecord {
    /// The text, unless its time is over.
    pub(super) fn custom_at(&self, now: Timestamp) -> Option<&Custom> {
        self.custom.as_ref().filter(|custom| custom.expires_at.is_none_or(|at| at > now))
    }

    /// When the text goes by itself.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.custom.as_ref().and_then(|custom| custom.expires_at)
    }
}

/// A text has an end, version 1. All there is to know is in the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExpiringRecord;

impl Record for ExpiringRecord {
    const VERSION: u8 = 1;
}
