//! The events of notifications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, NotificationId, NotificationView, Status};
use crate::{
    clock::Timestamp,
    features::conversations::Empty,
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] = &[
    ServerEventDoc::of::<NewNotification<'_>>(),
    ServerEventDoc::of::<Read>(),
    ServerEventDoc::of::<AllRead>(),
    ServerEventDoc::of::<Archived>(),
    ServerEventDoc::of::<Deleted>(),
    ServerEventDoc::of::<Cleared>(),
    ServerEventDoc::of::<Count>(),
];

/// Asks for the unread notifications, the newest first.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct GetUnread {}

impl ClientEvent for GetUnread {
    const NAME: &'static str = "notifications:unread";
    type Ack = UnreadAck;
}

/// The unread notifications.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UnreadAck {
    /// How many are unread.
    pub count: usize,
    /// The newest of them, up to 50, or 512 KiB.
    pub notifications: Vec<NotificationView>,
}

/// Asks for a page of notifications, the newest first. A page ends at 512 KiB, too.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ListNotifications {
    /// Only those with this status.
    #[serde(default)]
    pub status: Option<Status>,
    /// Only those about this.
    #[serde(default, rename = "type")]
    pub kind: Option<Kind>,
    /// How many, up to 100; 50 without a wish.
    #[serde(default)]
    pub limit: Option<usize>,
    /// The `nextCursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl ClientEvent for ListNotifications {
    const NAME: &'static str = "notifications:list";
    type Ack = ListAck;
}

/// A page of notifications.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListAck {
    /// The newest first.
    pub notifications: Vec<NotificationView>,
    /// Where the next page begins; null at the end.
    pub next_cursor: Option<String>,
}

/// One of the user's notifications was read; a repeat changes nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadNotification {
    /// The notification.
    pub notification_id: String,
}

impl ClientEvent for ReadNotification {
    const NAME: &'static str = "notification:read";
    type Ack = Empty;
}

/// All notifications of the user were read.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MarkAllRead {}

impl ClientEvent for MarkAllRead {
    const NAME: &'static str = "notifications:mark-all-read";
    type Ack = CountAck;
}

/// How many it concerned.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CountAck {
    /// How many.
    pub count: usize,
}

/// Deletes one of the user's notifications; a repeat within a day changes nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteNotification {
    /// The notification.
    pub notification_id: String,
}

impl ClientEvent for DeleteNotification {
    const NAME: &'static str = "notification:delete";
    type Ack = Empty;
}

/// Wants to be told of these types on this socket. One that is told of everything is told of these alone from then on, another one of
/// these as well.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// The types.
    pub types: Vec<Kind>,
}

impl ClientEvent for Subscribe {
    const NAME: &'static str = "notifications:subscribe";
    type Ack = Subscribed;
}

/// The ack of a subscription.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscribed {
    /// The types that were named.
    pub subscribed_to: Vec<Kind>,
    /// All types that this socket is told of now.
    pub types: Vec<Kind>,
}

/// Does not want to be told of these types on this socket; what is urgent passes.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Unsubscribe {
    /// The types.
    pub types: Vec<Kind>,
}

impl ClientEvent for Unsubscribe {
    const NAME: &'static str = "notifications:unsubscribe";
    type Ack = Unsubscribed;
}

/// The ack of the end of a subscription.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unsubscribed {
    /// The types that were named.
    pub unsubscribed_from: Vec<Kind>,
    /// All types that this socket is told of now.
    pub types: Vec<Kind>,
}

/// A notification is new; one with the id of an earlier one takes its place. To the sockets of the user that are subscribed to its type;
/// `urgent` to all.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewNotification<'a>(pub &'a NotificationView);

impl ServerEvent for NewNotification<'_> {
    const NAME: &'static str = "notification:new";
}

/// A notification was read, on any device; to the user.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationRead")]
pub struct Read {
    /// The notification.
    pub notification_id: NotificationId,
    /// When it was first read.
    pub read_at: Timestamp,
}

impl ServerEvent for Read {
    const NAME: &'static str = "notification:read";
    const TWINS: &'static [&'static str] = &["notification:read-confirmed"];
}

/// All notifications were read, on any device; to the user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AllNotificationsRead")]
pub struct AllRead {
    /// How many were not before.
    pub count: usize,
}

impl ServerEvent for AllRead {
    const NAME: &'static str = "notification:all-read";
    const TWINS: &'static [&'static str] = &["notifications:all-read-confirmed"];
}

/// A notification was put aside, on any device; to the user.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationArchived")]
pub struct Archived {
    /// The notification.
    pub notification_id: NotificationId,
}

impl ServerEvent for Archived {
    const NAME: &'static str = "notification:archived";
}

/// A notification is gone: deleted on any device, past its time, or too many; to the user.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationDeleted")]
pub struct Deleted {
    /// The notification.
    pub notification_id: NotificationId,
}

impl ServerEvent for Deleted {
    const NAME: &'static str = "notification:deleted";
    const TWINS: &'static [&'static str] = &["notification:deleted-confirmed"];
}

/// Many notifications were deleted at once, over REST; to the user.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationsCleared")]
pub struct Cleared {
    /// How many.
    pub count: usize,
    /// Whether only those with status `read` went.
    pub read_only: bool,
}

impl ServerEvent for Cleared {
    const NAME: &'static str = "notifications:cleared";
}

/// How many notifications are unread now: to the user after every change, and to a socket that joins `/notifications`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NotificationCount")]
pub struct Count {
    /// How many.
    pub unread: usize,
}

impl ServerEvent for Count {
    const NAME: &'static str = "notifications:count";
}
