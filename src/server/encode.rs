//! Socket.IO packets in their outgoing form, encoded once and shared by all receivers.

use bytes::Bytes;

use crate::{
    protocol::socketio::{self, Revision},
    transport::{Outgoing, TextWriter},
};

/// A packet and its attachments: they are queued together.
pub(crate) type Packets = Vec<Outgoing>;

/// An event.
pub(crate) fn event(namespace: &str, id: Option<u64>, name: &str, args: &[&str], attachments: &[Bytes]) -> Packets {
    let bytes = args.iter().fold(name.len() + namespace.len() + 32, |sum, arg| sum + arg.len() + 1);
    let mut text = TextWriter::message(bytes);
    socketio::encode_event(text.buffer(), namespace, id, attachments.len(), name, args);
    with_attachments(text, attachments)
}

/// An event with its offset behind the arguments.
pub(crate) fn numbered_event(
    namespace: &str,
    offset: u64,
    name: &str,
    args: &[&str],
    attachments: &[Bytes],
) -> Packets {
    let offset = format!("\"{offset}\"");
    let args: Vec<&str> = args.iter().copied().chain([&*offset]).collect();
    event(namespace, None, name, &args, attachments)
}

/// The answer to an event.
pub(crate) fn ack(namespace: &str, id: u64, args: &[&str], attachments: &[Bytes]) -> Packets {
    let bytes = args.iter().fold(namespace.len() + 32, |sum, arg| sum + arg.len() + 1);
    let mut text = TextWriter::message(bytes);
    socketio::encode_ack(text.buffer(), namespace, id, attachments.len(), args);
    with_attachments(text, attachments)
}

/// The answer to a CONNECT that succeeded.
pub(crate) fn connect(revision: Revision, namespace: &str, socket_id: &str, pid: Option<&str>) -> Packets {
    let mut text = TextWriter::message(64);
    socketio::encode_connect(text.buffer(), revision, namespace, socket_id, pid);
    vec![Outgoing::Text(text.finish())]
}

/// The answer to a CONNECT that was refused.
pub(crate) fn connect_error(revision: Revision, namespace: &str, message: &str, data: Option<&str>) -> Packets {
    let mut text = TextWriter::message(256);
    socketio::encode_connect_error(text.buffer(), revision, namespace, message, data);
    vec![Outgoing::Text(text.finish())]
}

fn with_attachments(text: TextWriter, attachments: &[Bytes]) -> Packets {
    let mut packets = Vec::with_capacity(attachments.len() + 1);
    packets.push(Outgoing::Text(text.finish()));
    packets.extend(attachments.iter().cloned().map(Outgoing::binary));
    packets
}
