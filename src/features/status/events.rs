//! The events of statuses.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Custom, Status};
use crate::{
    clock::Timestamp,
    ids::UserId,
    server::{ClientEvent, ServerEvent, ServerEventDoc, object},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] =
    &[ServerEventDoc::of::<UserStatus>(), ServerEventDoc::of::<UserOnline>(), ServerEventDoc::of::<UserOffline>()];

/// Changes the user's status, or his text, or both; what is left out stays. Both belong to the user, not to the socket, and are stored.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetStatus {
    /// One of five; `offline` makes invisible.
    #[serde(default)]
    pub status: Option<Status>,
    /// The text; null or an empty one takes it away.
    #[serde(default)]
    #[schemars(with = "Option<Custom>")]
    pub custom_status: CustomChange,
}

/// What becomes of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CustomChange {
    /// The field was left out.
    #[default]
    Keep,
    /// It was null.
    Clear,
    /// A new text, perhaps an empty one.
    Set(Custom),
}

impl<'de> Deserialize<'de> for CustomChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Object(#[serde(deserialize_with = "object")] Custom);

        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, |Object(custom)| Self::Set(custom)))
    }
}

impl ClientEvent for SetStatus {
    const NAME: &'static str = "status:set";
    const ALIASES: &'static [&'static str] = &["presence:update"];
    type Ack = Chosen;
}

/// What the user has chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    /// The status.
    pub status: Status,
    /// The text.
    pub custom_status: Option<Custom>,
}

/// Asks how others are: those who share a conversation, and oneself as chosen.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GetStatuses {
    /// Up to 100.
    pub user_ids: Vec<UserId>,
}

impl ClientEvent for GetStatuses {
    const NAME: &'static str = "status:get";
    type Ack = StatusList;
}

/// How users are.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Statuses")]
pub struct StatusList {
    /// By user; those who share no conversation with the one who asks are absent, as those are who do not exist.
    pub statuses: BTreeMap<UserId, UserStatus>,
}

/// How a user is: on every change to those who share a conversation of up to 500 members with him (`presence.max_told_members`),
/// dropped for slow readers; to his own sockets after `status:set` and when a `customStatus` has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Who.
    pub user_id: UserId,
    /// What others see; for oneself what one has chosen.
    pub status: Status,
    /// The text.
    pub custom_status: Option<Custom>,
    /// When the user was last here; null for somebody who is, and before a user was here for the first time.
    pub last_seen: Option<Timestamp>,
}

impl ServerEvent for UserStatus {
    const NAME: &'static str = "user-status";
}

/// A user has come; to those who hear of his `user-status`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UserOnline(pub UserStatus);

impl ServerEvent for UserOnline {
    const NAME: &'static str = "user-online";
}

/// A user has gone, 10 s (`presence.offline_grace_ms`) after the last socket; to those who hear of his `user-status`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UserOffline(pub UserStatus);

impl ServerEvent for UserOffline {
    const NAME: &'static str = "user-offline";
}
