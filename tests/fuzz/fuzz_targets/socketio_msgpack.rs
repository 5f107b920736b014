//! One binary message of a client with the MessagePack parser: limits hold, the JSON is valid, and what is read survives being written
//! and read again.
#![no_main]

use hobnob::protocol::socketio::{self, Body, Limits, Revision, msgpack};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    for revision in [Revision::V4, Revision::V5] {
        let Ok(assembled) = msgpack::decode(revision, data, &limits) else { continue };
        let (packet, attachments) = (assembled.packet(), &assembled.attachments);
        assert!(packet.namespace.starts_with('/') && packet.namespace.len() <= limits.namespace_bytes);
        assert!(attachments.len() <= limits.attachments);
        let mut text = Vec::new();
        let args = match &packet.body {
            Body::Connect(_) | Body::Disconnect => continue,
            Body::Event { name, args } => {
                socketio::encode_event(&mut text, packet.namespace, packet.id, attachments.len(), name, &texts(args));
                args
            }
            Body::Ack(args) => {
                let id = packet.id.expect("an ack has an id");
                socketio::encode_ack(&mut text, packet.namespace, id, attachments.len(), &texts(args));
                args
            }
        };
        let bytes = texts(args).iter().fold(0, |sum, arg| sum + arg.len());
        assert!(bytes <= 6 * data.len() + 30 * attachments.len());
        let text = String::from_utf8(text).expect("a packet is text");
        let again = msgpack::decode(revision, &msgpack::encode(&text, attachments), &limits);
        assert!(again.is_ok(), "{text}");
    }
});

fn texts<'a>(args: &[&'a RawValue]) -> Vec<&'a str> {
    args.iter().map(|arg| arg.get()).collect()
}
