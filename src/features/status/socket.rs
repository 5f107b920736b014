//! The Socket.IO handlers of statuses.

use std::{future::ready, sync::Arc};

use super::{
    Statuses,
    events::{Chosen, GetStatuses, SetStatus, StatusList},
};
use crate::{
    features::auth::SignedIn,
    server::{Refusal, Routes, Socket},
};

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, statuses: &Arc<Statuses>) -> Routes {
    let (set_in, get_in) = (Arc::clone(statuses), Arc::clone(statuses));
    routes
        .on::<SetStatus, _, _>(move |socket, event| set(Arc::clone(&set_in), socket, event))
        .on::<GetStatuses, _, _>(move |socket, event| ready(get(&get_in, &socket, &event)))
}

/// Handles `status:set`.
async fn set(statuses: Arc<Statuses>, socket: Arc<Socket>, event: SetStatus) -> Result<Chosen, Refusal> {
    statuses.set(&SignedIn::of(&socket)?.user, &event).await
}

/// Handles `status:get`.
fn get(statuses: &Statuses, socket: &Socket, event: &GetStatuses) -> Result<StatusList, Refusal> {
    statuses.of_others(&SignedIn::of(socket)?.user, &event.user_ids)
}
