//! The namespace as other servers of a cluster see it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Args, Broadcast, Namespace, Socket};
use crate::cluster::{Change, ClientAnswer, Group, HandshakeView, LocalSockets, Nothing, SocketData, SocketView};

impl LocalSockets for Namespace {
    fn is_inhabited(&self, room: &str) -> bool {
        self.is_inhabited_here(room)
    }

    fn deliver(&self, to: &Group<'_>, event: &str, args: &[&str], attachments: &[Bytes], volatile: bool) {
        let all = Broadcast::new(self).local();
        let to = to.except.iter().fold(to.rooms.iter().fold(all, |to, room| to.to(room)), |to, room| to.except(room));
        let to = if volatile { to.volatile() } else { to };
        to.emit_raw(event, args, attachments);
    }

    fn carry_out(&self, to: &Group<'_>, change: Change<'_>) {
        self.change(to, change);
    }

    fn show(&self, to: &Group<'_>) -> Vec<SocketView> {
        self.group(to).iter().map(|socket| view(socket)).collect()
    }

    fn rooms(&self) -> Vec<String> {
        self.all_rooms()
    }

    fn ask(
        &self,
        to: &Group<'_>,
        event: &str,
        args: &[&str],
        attachments: &[Bytes],
        patience: Duration,
    ) -> Vec<BoxFuture<'static, ClientAnswer>> {
        let json = args.iter().map(|arg| (*arg).to_owned()).collect();
        let args = Arc::new((event.to_owned(), Args { json, attachments: attachments.to_vec() }));
        let ask = |socket: Arc<Socket>| -> BoxFuture<'static, ClientAnswer> {
            let args = Arc::clone(&args);
            Box::pin(async move {
                let (event, args) = &*args;
                let answer = socket.emit_with_ack(event, args, patience).await.ok()?;
                Some((answer.json, answer.attachments))
            })
        };
        self.group(to).into_iter().map(ask).collect()
    }
}

fn view(socket: &Socket) -> SocketView {
    let mut rooms: Vec<String> = socket.rooms().iter().map(ToString::to_string).collect();
    rooms.push(socket.id().as_str().to_owned());
    rooms.sort_unstable();
    let since = socket.since();
    SocketView {
        id: socket.id().as_str().to_owned(),
        handshake: HandshakeView {
            address: socket.address().to_string(),
            issued: since.as_millis(),
            time: since.to_string(),
            xdomain: false,
            secure: false,
            headers: Nothing {},
            query: Nothing {},
            auth: Nothing {},
        },
        rooms,
        data: SocketData { user_id: socket.user().map(str::to_owned) },
    }
}
