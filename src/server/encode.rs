//! Socket.IO packets in their outgoing form, encoded once and shared by all receivers.
//!
//! They are made, kept and stored as JSON. For a client that speaks MessagePack one is recoded on its way into the session
//! ([`in_form`]), and what that gives stays with the packet for the other receivers of that kind.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    protocol::socketio::{self, Encoding, Revision, msgpack},
    transport::{Outgoing, TextPacket, TextWriter},
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

/// The server has removed the client from the namespace.
pub(crate) fn disconnect(namespace: &str) -> Packets {
    let mut text = TextWriter::message(64);
    socketio::encode_disconnect(text.buffer(), namespace);
    vec![Outgoing::Text(text.finish())]
}

/// The packets of one call above in the form in which a client takes them.
pub(crate) fn in_form(encoding: Encoding, packets: &[Outgoing]) -> Cow<'_, [Outgoing]> {
    match (encoding, packets) {
        (Encoding::Msgpack(revision), [Outgoing::Text(text), attachments @ ..]) => {
            vec![recoded(revision, text, attachments)].into()
        }
        _ => packets.into(),
    }
}

fn recoded(revision: Revision, text: &TextPacket, attachments: &[Outgoing]) -> Outgoing {
    // Behind the digit of Engine.IO.
    let packet = text.packet().get(1..).unwrap_or_default();
    if revision == Revision::V4
        && let Some(control) = msgpack::encode_control(packet)
    {
        let mut text = TextWriter::message(control.len());
        text.buffer().extend_from_slice(control.as_bytes());
        return Outgoing::Text(text.finish());
    }
    text.twin(|| {
        let attachments = attachments.iter().filter_map(|packet| match packet {
            Outgoing::Binary(binary) => Some(binary.data().clone()),
            Outgoing::Text(_) => None,
        });
        msgpack::encode(packet, &attachments.collect::<Vec<_>>())
    })
}

fn with_attachments(text: TextWriter, attachments: &[Bytes]) -> Packets {
    let mut packets = Vec::with_capacity(attachments.len() + 1);
    packets.push(Outgoing::Text(text.finish()));
    packets.extend(attachments.iter().cloned().map(Outgoing::binary));
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(packets: &[Outgoing]) -> (*const u8, usize) {
        match packets {
            [Outgoing::Binary(binary)] => (binary.data().as_ptr(), binary.data().len()),
            packets => panic!("not one binary message: {packets:?}"),
        }
    }

    #[test]
    fn a_packet_is_recoded_once_for_all_receivers_and_both_revisions() {
        let attachment = Bytes::from_static(b"abc");
        let packets = event("/", None, "e", &[r#"{"_placeholder":true,"num":0}"#], &[attachment]);
        let [early, late] = [Revision::V4, Revision::V5].map(Encoding::Msgpack);
        let recoded = in_form(late, &packets);
        assert_eq!(data(&recoded), data(&in_form(late, &packets)));
        assert_eq!(data(&recoded), data(&in_form(early, &packets)));
        assert!(matches!(in_form(Encoding::Json, &packets), Cow::Borrowed(same) if same.len() == 2));
        assert!(in_form(late, &[]).is_empty());
    }

    #[test]
    fn early_clients_get_control_packets_as_text() {
        let packets = connect_error(Revision::V4, "/a", "no", None);
        match &*in_form(Encoding::Msgpack(Revision::V4), &packets) {
            [Outgoing::Text(text)] => assert_eq!(text.packet(), r#"4{"type":4,"nsp":"/a","data":"no"}"#),
            packets => panic!("not one text message: {packets:?}"),
        }
    }
}
