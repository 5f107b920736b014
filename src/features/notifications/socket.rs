//! The Socket.IO handlers of notifications.

use std::{future::ready, sync::Arc};

use super::{
    Filter, Notifications, Start,
    events::{
        CountAck, DeleteNotification, GetUnread, ListAck, ListNotifications, MarkAllRead, ReadNotification, Subscribe,
        Subscribed, UnreadAck, Unsubscribe, Unsubscribed,
    },
    kinds::parse_id,
    rest::{DEFAULT_PAGE, MAX_PAGE, parse_cursor},
    subscriptions,
};
use crate::{
    features::{
        auth::{SignedIn, SocketListener},
        conversations::Empty,
    },
    server::{Refusal, Routes, Socket},
};

/// Where a socket is told how many are unread as soon as it joins.
const NAMESPACE: &str = "/notifications";

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, notifications: &Arc<Notifications>) -> Routes {
    let with = || Arc::clone(notifications);
    let (unread_in, list_in, read_in, all_in, delete_in) = (with(), with(), with(), with(), with());
    routes
        .on::<GetUnread, _, _>(move |socket, _| unread(Arc::clone(&unread_in), socket))
        .on::<ListNotifications, _, _>(move |socket, event| list(Arc::clone(&list_in), socket, event))
        .on::<ReadNotification, _, _>(move |socket, event| read(Arc::clone(&read_in), socket, event))
        .on::<MarkAllRead, _, _>(move |socket, _| mark_all_read(Arc::clone(&all_in), socket))
        .on::<DeleteNotification, _, _>(move |socket, event| delete(Arc::clone(&delete_in), socket, event))
        .on::<Subscribe, _, _>(|socket, event| ready(subscribe(&socket, event)))
        .on::<Unsubscribe, _, _>(|socket, event| ready(unsubscribe(&socket, event)))
}

/// Handles `notifications:unread`.
async fn unread(notifications: Arc<Notifications>, socket: Arc<Socket>) -> Result<UnreadAck, Refusal> {
    let (count, notifications) = notifications.unread(&SignedIn::of(&socket)?.user).await?;
    Ok(UnreadAck { count, notifications })
}

/// Handles `notifications:list`.
async fn list(
    notifications: Arc<Notifications>,
    socket: Arc<Socket>,
    event: ListNotifications,
) -> Result<ListAck, Refusal> {
    let user = &SignedIn::of(&socket)?.user;
    let filter = Filter { status: event.status, kind: event.kind };
    let start = event.cursor.as_deref().map(parse_cursor).transpose()?.map_or(Start::Skip(0), Start::After);
    let limit = event.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let page = notifications.list(user, filter, start, limit).await?;
    Ok(ListAck { notifications: page.notifications, next_cursor: page.next.map(|place| place.to_string()) })
}

/// Handles `notification:read`.
async fn read(
    notifications: Arc<Notifications>,
    socket: Arc<Socket>,
    event: ReadNotification,
) -> Result<Empty, Refusal> {
    notifications.read(&SignedIn::of(&socket)?.user, parse_id(&event.notification_id)?).await?;
    Ok(Empty {})
}

/// Handles `notifications:mark-all-read`.
async fn mark_all_read(notifications: Arc<Notifications>, socket: Arc<Socket>) -> Result<CountAck, Refusal> {
    let count = notifications.mark_all_read(&SignedIn::of(&socket)?.user).await?;
    Ok(CountAck { count })
}

/// Handles `notification:delete`.
async fn delete(
    notifications: Arc<Notifications>,
    socket: Arc<Socket>,
    event: DeleteNotification,
) -> Result<Empty, Refusal> {
    notifications.delete(&SignedIn::of(&socket)?.user, parse_id(&event.notification_id)?).await?;
    Ok(Empty {})
}

/// Handles `notifications:subscribe`.
fn subscribe(socket: &Arc<Socket>, event: Subscribe) -> Result<Subscribed, Refusal> {
    let user = &SignedIn::of(socket)?.user;
    subscriptions::subscribe(socket, user, &event.types);
    Ok(Subscribed { subscribed_to: event.types, types: subscriptions::subscribed(socket, user) })
}

/// Handles `notifications:unsubscribe`.
fn unsubscribe(socket: &Arc<Socket>, event: Unsubscribe) -> Result<Unsubscribed, Refusal> {
    let user = &SignedIn::of(socket)?.user;
    subscriptions::unsubscribe(socket, user, &event.types);
    Ok(Unsubscribed { unsubscribed_from: event.types, types: subscriptions::subscribed(socket, user) })
}

impl SocketListener for Notifications {
    fn connected(&self, socket: &Arc<Socket>, signed_in: &SignedIn) {
        if &**socket.namespace().name() == NAMESPACE {
            // Carried out after the commits under way, whether or not anybody waits for it.
            drop(self.greet(socket, &signed_in.user));
        }
    }
}
