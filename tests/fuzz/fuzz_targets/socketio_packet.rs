//! One text message: limits hold, and what is read survives being written and read again.
#![no_main]

use hobnob::protocol::socketio::{self, Body, Limits, Packet, Revision, packet};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    for revision in [Revision::V4, Revision::V5] {
        let Ok(packet) = socketio::decode(revision, text, &limits) else { continue };
        assert!(packet.namespace.starts_with('/') && packet.namespace.len() <= limits.namespace_bytes);
        assert!(packet.id.is_none_or(|id| id <= packet::MAX_ID));
        assert!(packet.query.is_none() || revision == Revision::V4);

        let mut again = Vec::new();
        match &packet.body {
            Body::Connect(auth) => {
                assert!(auth.is_none_or(|auth| auth.get().starts_with('{')));
                continue;
            }
            Body::Disconnect => socketio::encode_disconnect(&mut again, packet.namespace),
            Body::Event { name, args } => {
                assert!(name.len() <= limits.event_name_bytes && args.len() <= packet::MAX_ARGUMENTS);
                socketio::encode_event(&mut again, packet.namespace, packet.id, 0, name, &texts(args));
            }
            Body::Ack(args) => {
                assert!(args.len() <= packet::MAX_ARGUMENTS);
                socketio::encode_ack(
                    &mut again,
                    packet.namespace,
                    packet.id.expect("an ack has an id"),
                    0,
                    &texts(args),
                );
            }
        }
        let again = String::from_utf8(again).expect("a packet is text");
        let again = socketio::decode(revision, &again, &limits).expect("what was written is read");
        assert_same(&packet, &again);
    }
});

fn assert_same(one: &Packet<'_>, other: &Packet<'_>) {
    assert_eq!(one.namespace, other.namespace);
    match (&one.body, &other.body) {
        (Body::Disconnect, Body::Disconnect) => {}
        (Body::Event { name, args }, Body::Event { name: other_name, args: other_args }) => {
            assert_eq!((one.id, name, texts(args)), (other.id, other_name, texts(other_args)));
        }
        (Body::Ack(args), Body::Ack(other_args)) => {
            assert_eq!((one.id, texts(args)), (other.id, texts(other_args)));
        }
        (one, other) => panic!("{one:?} became {other:?}"),
    }
}

fn texts<'a>(args: &[&'a RawValue]) -> Vec<&'a str> {
    args.iter().map(|arg| arg.get()).collect()
}
