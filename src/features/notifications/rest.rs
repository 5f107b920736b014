//! The REST handlers of notifications.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Filter, Kind, NotificationView, Notifications, Start, Status, kinds::parse_id};
use crate::{
    features::auth::Caller,
    server::{Endpoint, Params, Refusal, Rest},
};

/// Notifications of one page, without a wish and at most.
pub(super) const DEFAULT_PAGE: usize = 50;
pub(super) const MAX_PAGE: usize = 100;

/// The routes of this feature. Fixed words come before ids, as the router prefers them.
pub fn routes(notifications: &Arc<Notifications>) -> Rest {
    let state = notifications;
    let list_them = Endpoint::get("/api/notifications", "The caller's notifications, the newest first.")
        .params::<ListParams>()
        .answer::<List>();
    let remove_all = Endpoint::delete("/api/notifications", "Deletes all of the caller's notifications.");
    let count = |path| Endpoint::get(path, "How many notifications are unread.").answer::<Unread>();
    let mark_all = "Marks all notifications as read.";
    let all_path = "/api/notifications/mark-all-read";
    let clear = Endpoint::delete("/api/notifications/clear-read", "Deletes the notifications that were read.");
    let show = Endpoint::get("/api/notifications/{id}", "One notification.").answer::<NotificationView>();
    let remove = Endpoint::delete("/api/notifications/{id}", "Deletes a notification; a repeat changes nothing.");
    let (mark, read_path) = ("Marks a notification as read; a repeat changes nothing.", "/api/notifications/{id}/read");
    let put_aside = Endpoint::put("/api/notifications/{id}/archive", "Puts a notification aside: it stays, read.");
    Rest::new()
        .on(list_them, state, list)
        .on(remove_all.answer::<Deleted>(), state, delete_all)
        .on(count("/api/notifications/unread"), state, unread)
        .on(count("/api/notifications/unread-count"), state, unread)
        .on(Endpoint::post(all_path, mark_all).answer::<Modified>(), state, mark_all_read)
        .on(Endpoint::put(all_path, mark_all).answer::<Modified>(), state, mark_all_read)
        .on(clear.answer::<Deleted>(), state, clear_read)
        .on(show, state, get)
        .on(remove.answer::<Done>(), state, delete)
        .on(Endpoint::post(read_path, mark).answer::<Changed>(), state, read)
        .on(Endpoint::put(read_path, mark).answer::<Changed>(), state, read)
        .on(put_aside.answer::<Changed>(), state, archive)
}

#[derive(Deserialize, JsonSchema)]
struct ListParams {
    /// Only those with this status.
    #[schemars(with = "Option<Status>")]
    status: Option<String>,
    /// Only those about this.
    #[serde(rename = "type")]
    #[schemars(with = "Option<Kind>")]
    kind: Option<String>,
    /// From 1; or else `cursor`.
    page: Option<usize>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// Up to 100.
    limit: Option<usize>,
}

/// One page of notifications. It may be shorter than `limit` when the texts are long: `nextCursor` goes on without a gap.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationList")]
struct List {
    notifications: Vec<NotificationView>,
    /// How many fit in all.
    total: usize,
    unread_count: usize,
    page: usize,
    limit: usize,
    total_pages: usize,
    next_cursor: Option<String>,
}

/// How many are unread.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UnreadCount")]
struct Unread {
    count: usize,
    unread_count: usize,
}

/// A notification after a change.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotificationChanged")]
struct Changed {
    message: &'static str,
    notification: NotificationView,
}

/// How many were changed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationsModified")]
struct Modified {
    message: &'static str,
    #[serde(rename = "modifiedCount")]
    changed: usize,
    count: usize,
}

/// How many were deleted.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationsDeleted")]
struct Deleted {
    message: &'static str,
    deleted_count: usize,
}

/// It is done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotificationDone")]
struct Done {
    message: &'static str,
}

/// `GET /api/notifications?status=&type=&page=&cursor=&limit=`.
async fn list(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<List>, Refusal> {
    let filter = Filter::parse(params.status.as_deref(), params.kind.as_deref())?;
    let limit = params.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let page = params.page.unwrap_or(1).max(1);
    let start = match params.cursor.as_deref() {
        None | Some("") => Start::Skip((page - 1).saturating_mul(limit)),
        Some(cursor) => Start::After(parse_cursor(cursor)?),
    };
    let found = notifications.list(&caller.user, filter, start, limit).await?;
    let counts = notifications.present_counts(&caller.user)?;
    let total = counts.of(filter);
    Ok(Json(List {
        notifications: found.notifications,
        total,
        unread_count: counts.unread(),
        page,
        limit,
        total_pages: total.div_ceil(limit),
        next_cursor: found.next.map(|place| place.to_string()),
    }))
}

/// `GET /api/notifications/unread` and `/unread-count`.
async fn unread(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
) -> Result<Json<Unread>, Refusal> {
    let count = notifications.unread_count(&caller.user).await?;
    Ok(Json(Unread { count, unread_count: count }))
}

/// `GET /api/notifications/{id}`.
async fn get(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<NotificationView>, Refusal> {
    notifications.get(&caller.user, parse_id(&id)?).map(Json)
}

/// `POST`, `PUT /api/notifications/{id}/read`.
async fn read(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Changed>, Refusal> {
    let notification = notifications.read(&caller.user, parse_id(&id)?).await?;
    Ok(Json(Changed { message: "Notification marked as read", notification }))
}

/// `PUT /api/notifications/{id}/archive`.
async fn archive(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Changed>, Refusal> {
    let notification = notifications.archive(&caller.user, parse_id(&id)?).await?;
    Ok(Json(Changed { message: "Notification archived", notification }))
}

/// `POST`, `PUT /api/notifications/mark-all-read`.
async fn mark_all_read(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
) -> Result<Json<Modified>, Refusal> {
    let count = notifications.mark_all_read(&caller.user).await?;
    Ok(Json(Modified { message: "All notifications marked as read", changed: count, count }))
}

/// `DELETE /api/notifications/{id}`.
async fn delete(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refusal> {
    notifications.delete(&caller.user, parse_id(&id)?).await?;
    Ok(Json(Done { message: "Notification deleted" }))
}

/// `DELETE /api/notifications/clear-read`.
async fn clear_read(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
) -> Result<Json<Deleted>, Refusal> {
    let deleted_count = notifications.clear(&caller.user, true).await?;
    Ok(Json(Deleted { message: "Read notifications deleted", deleted_count }))
}

/// `DELETE /api/notifications`.
async fn delete_all(
    State(notifications): State<Arc<Notifications>>,
    Caller(caller): Caller,
) -> Result<Json<Deleted>, Refusal> {
    let deleted_count = notifications.clear(&caller.user, false).await?;
    Ok(Json(Deleted { message: "All notifications deleted", deleted_count }))
}

/// A cursor that came with a page.
pub(super) fn parse_cursor(cursor: &str) -> Result<u64, Refusal> {
    cursor.parse().map_err(|_| Refusal::invalid("cursor", "expected the nextCursor of another page"))
}
