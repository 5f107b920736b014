//! What other servers want of this node, carried out and answered.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{
    Change, SocketView,
    bus::{Attached, Bus},
    wire::{self, Broadcast, Request, RequestKind},
};

/// Longest time that clients have for an ack on behalf of another server, and the time where it does not say.
const PATIENCE: Duration = Duration::from_mins(1);
/// What Socket.IO servers wait for themselves.
const USUAL_PATIENCE: Duration = Duration::from_secs(5);

impl Bus {
    /// Carries out a request. False when there was nothing to do.
    pub(super) fn carry_out(self: &Arc<Self>, to: &Attached, Request { uid, id, kind }: Request) -> bool {
        if uid.is_some_and(|uid| self.is_own(&uid)) {
            return false;
        }
        let Attached { name, sockets } = to;
        let answer = match (kind, id) {
            (RequestKind::Sockets(address), Some(id)) => {
                let ids: Vec<String> =
                    address.with(|group| sockets.show(group)).into_iter().map(|socket| socket.id).collect();
                wire::answer_sockets(&id, &ids)
            }
            (RequestKind::AllRooms, Some(id)) => wire::answer_rooms(&id, &sockets.rooms()),
            (RequestKind::Fetch(address), Some(id)) => {
                let shown: Vec<SocketView> = address.with(|group| sockets.show(group));
                wire::answer_fetch(&id, &shown)
            }
            (RequestKind::Join(address, rooms), id) => {
                let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
                address.with(|group| sockets.carry_out(group, Change::Join(&rooms)));
                return self.done(name, id);
            }
            (RequestKind::Leave(address, rooms), id) => {
                let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
                address.with(|group| sockets.carry_out(group, Change::Leave(&rooms)));
                return self.done(name, id);
            }
            (RequestKind::Disconnect(address, close), id) => {
                address.with(|group| sockets.carry_out(group, Change::Disconnect { close }));
                return self.done(name, id);
            }
            // There are no handlers for events of other servers here. Whoever wants answers would wait in vain for one.
            (RequestKind::ServerSideEmit(_), Some(id)) => wire::answer_server_side_emit(&id),
            (RequestKind::Broadcast(broadcast), Some(id)) => return self.ask(to, id, &broadcast),
            (
                RequestKind::Sockets(_)
                | RequestKind::AllRooms
                | RequestKind::Fetch(_)
                | RequestKind::ServerSideEmit(_)
                | RequestKind::Broadcast(_),
                None,
            ) => return false,
        };
        self.answer(name, answer);
        true
    }

    /// Older versions want to hear that it is done.
    fn done(&self, namespace: &Arc<str>, id: Option<String>) -> bool {
        if let Some(id) = id {
            self.answer(namespace, wire::answer_done(&id));
        }
        true
    }

    /// Asks clients of this node and passes their answers on one by one.
    fn ask(self: &Arc<Self>, to: &Attached, id: String, broadcast: &Broadcast) -> bool {
        let Ok(permit) = Arc::clone(&self.asked).try_acquire_owned() else { return false };
        let Broadcast { event, args, attachments, to: address, timeout_ms, .. } = broadcast;
        let patience = timeout_ms.map_or(USUAL_PATIENCE, |millis| {
            Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(USUAL_PATIENCE).min(PATIENCE)
        });
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut answers: FuturesUnordered<_> =
            address.with(|group| to.sockets.ask(group, event, &args, attachments, patience)).into_iter().collect();
        self.answer(&to.name, wire::answer_client_count(&id, answers.len()));
        let (bus, namespace, stop) = (Arc::clone(self), Arc::clone(&to.name), self.stop.clone());
        let pass_on = async move {
            while let Some(answer) = answers.next().await {
                let Some((args, attachments)) = answer else { continue };
                match wire::answer_client_ack(&id, args.first().map(String::as_str), &attachments) {
                    Ok(message) => bus.answer(&namespace, message),
                    Err(error) => tracing::error!(%error, "the answer of a client could not be written"),
                }
            }
            drop(permit);
        };
        self.tracker.spawn(async move { stop.run_until_cancelled(pass_on).await });
        true
    }
}
