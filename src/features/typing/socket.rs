//! The Socket.IO handlers of typing.

use std::{future::ready, sync::Arc};

use super::{
    Typing,
    events::{StartTyping, StopTyping},
    rules::Device,
};
use crate::{
    features::{auth::SignedIn, conversations::Empty},
    server::{Refusal, Routes, Socket},
};

/// Adds the handlers of this feature.
#[must_use]
pub fn routes(routes: Routes, typing: &Arc<Typing>) -> Routes {
    let (start_in, stop_in) = (Arc::clone(typing), Arc::clone(typing));
    routes
        .on::<StartTyping, _, _>(move |socket, event| ready(start(&start_in, &socket, &event)))
        .on::<StopTyping, _, _>(move |socket, event| ready(stop(&stop_in, &socket, &event)))
}

/// Handles `user:typing`.
fn start(typing: &Typing, socket: &Socket, event: &StartTyping) -> Result<Empty, Refusal> {
    let user = &SignedIn::of(socket)?.user;
    if event.is_typing.unwrap_or(true) {
        typing.start(user, Device::of(socket), &event.place(), event.activity.as_ref())?;
    } else {
        typing.stop(user, &Device::of(socket), &event.place())?;
    }
    Ok(Empty {})
}

/// Handles `typing:stop`.
fn stop(typing: &Typing, socket: &Socket, event: &StopTyping) -> Result<Empty, Refusal> {
    typing.stop(&SignedIn::of(socket)?.user, &Device::of(socket), &event.0)?;
    Ok(Empty {})
}
