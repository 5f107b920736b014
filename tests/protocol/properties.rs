//! Properties: what is written is read back the same, and whatever is read ends without a panic.

use std::borrow::Cow;

use bytes::Bytes;
use hobnob::protocol::{
    engineio::{Jsonp, Packet, Version, jsonp, payload},
    socketio::{self, Body, Decoder, Limits, Revision, packet::MAX_ID},
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, value::RawValue};

use crate::socketio::describe;

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_packet_survives_its_text_form(version in version(), packet in packet()) {
        let mut out = Vec::new();
        packet.encode_text(version, &mut out);
        let text = String::from_utf8(out).expect("text");
        prop_assert_eq!(Packet::decode_text(version, &text), Ok(packet));
    }

    #[test]
    fn a_message_survives_its_binary_frame(version in version(), data in vec(any::<u8>(), 0..40)) {
        let mut out = Vec::new();
        Packet::encode_binary(version, &data, &mut out);
        prop_assert_eq!(Packet::decode_binary(version, &out), Ok(Packet::Binary(data.into())));
    }

    #[test]
    fn a_payload_survives_every_framing(
        version in version(),
        base64_only in any::<bool>(),
        packets in vec(packet(), 1..12),
    ) {
        let encoded = payload::encode(version, &packets, base64_only);
        let read: Result<Vec<_>, _> = payload::decode(version, &encoded.body, encoded.binary).collect();
        prop_assert_eq!(read, Ok(packets));
    }

    #[test]
    fn a_payload_survives_script_and_form(payload in "([a-zé€😀\u{2028}\u{2029}\"&+%=\n\r]|\\\\[n\\\\\"u]){0,24}", form in vec(any::<u8>(), 0..40)) {
        let script = Jsonp::from_query("5").wrap(payload.as_bytes());
        let literal = script.strip_prefix("___eio[5](").and_then(|rest| rest.strip_suffix(");")).expect("a call");
        let breaks_no_line = !literal.contains(['\u{2028}', '\u{2029}', '\n']);
        prop_assert!(breaks_no_line);
        prop_assert_eq!(serde_json::from_str::<String>(literal).ok(), Some(payload.clone()));

        // As clients write it: first what looks like a newline already, then newlines. A backslash in front of a newline, which no
        // JSON has, comes out as one of the former.
        prop_assume!(!payload.contains("\\\n"));
        let field = payload.replace("\\n", "\\\n").replace('\n', "\\n");
        let written = form_urlencoded::Serializer::new(String::new()).append_pair("d", &field).finish();
        prop_assert_eq!(jsonp::from_form(written.as_bytes()), Some(payload));

        let fields = form_urlencoded::parse(&form).filter(|(name, _)| name == "d").count();
        prop_assert_eq!(jsonp::from_form(&form).is_some(), fields == 1);
    }

    #[test]
    fn any_body_ends(version in version(), is_binary in any::<bool>(), body in body()) {
        // A packet takes a byte at least, and one error may follow the last packet.
        let most = body.len() + 1;
        let mut packets = payload::decode(version, &body, is_binary);
        let read: Vec<_> = packets.by_ref().take(most + 1).collect();
        prop_assert!(read.len() <= most);
        prop_assert!(!read.is_empty());
        prop_assert!(read.iter().rev().skip(1).all(Result::is_ok), "only the last item is an error");
        prop_assert_eq!(packets.next(), None);
    }

    #[test]
    fn any_frame_is_a_packet_or_an_error(
        version in version(),
        data in vec(any::<u8>(), 0..40),
        text in any::<String>(),
    ) {
        let binary = Packet::decode_binary(version, &data);
        prop_assert_eq!(binary.is_ok(), version == Version::V4 || data.first() == Some(&4));
        if Packet::decode_text(version, &text).is_ok() {
            prop_assert!(text.starts_with(|first: char| "0123456b".contains(first)));
        }
    }

    #[test]
    fn an_event_survives(
        revision in revision(),
        namespace in namespace(),
        id in id(),
        name in event_name(),
        args in vec(json(), 0..5),
    ) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut out = Vec::new();
        socketio::encode_event(&mut out, &namespace, id, 0, &name, &args);
        let text = String::from_utf8(out).expect("text");
        let packet = socketio::decode(revision, &text, &Limits::default()).expect("valid");
        prop_assert_eq!((packet.namespace, packet.query, packet.id), (&*namespace, None, id));
        let Body::Event { name: read_name, args: read_args } = packet.body else { panic!("no event") };
        prop_assert_eq!(read_name, name);
        prop_assert_eq!(texts(&read_args), args);
    }

    #[test]
    fn an_ack_survives(namespace in namespace(), id in 0..=MAX_ID, args in vec(json(), 0..5)) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut out = Vec::new();
        socketio::encode_ack(&mut out, &namespace, id, 0, &args);
        let text = String::from_utf8(out).expect("text");
        let packet = socketio::decode(Revision::V5, &text, &Limits::default()).expect("valid");
        prop_assert_eq!((packet.namespace, packet.id), (&*namespace, Some(id)));
        let Body::Ack(read_args) = packet.body else { panic!("no ack") };
        prop_assert_eq!(texts(&read_args), args);
    }

    #[test]
    fn a_binary_event_survives(
        namespace in namespace(),
        id in id(),
        arg in json(),
        attachments in vec(vec(any::<u8>(), 0..20), 1..=10),
    ) {
        let placeholders: Vec<_> =
            (0..attachments.len()).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#)).collect();
        let args: Vec<&str> = placeholders.iter().chain([&arg]).map(String::as_str).collect();
        let mut out = Vec::new();
        socketio::encode_event(&mut out, &namespace, id, attachments.len(), "up", &args);
        let text = String::from_utf8(out).expect("text");

        let mut decoder = Decoder::new(Revision::V5, Limits::default());
        prop_assert!(decoder.handle_text(&text).expect("valid").is_none());
        let mut assembled = None;
        for attachment in &attachments {
            prop_assert!(assembled.is_none(), "complete too early");
            assembled = decoder.handle_binary(Bytes::copy_from_slice(attachment)).expect("announced");
        }
        let assembled = assembled.expect("complete");
        prop_assert_eq!(&assembled.attachments, &attachments);
        let packet = assembled.packet();
        prop_assert_eq!((packet.namespace, packet.id), (&*namespace, id));
        let Body::Event { args: read_args, .. } = packet.body else { panic!("no event") };
        prop_assert_eq!(texts(&read_args), args);
    }

    /// Writing what was understood gives a text that is understood the same way.
    #[test]
    fn whatever_is_understood_is_understood_again(revision in revision(), wire in wire()) {
        let limits = Limits::default();
        if let Ok(packet) = socketio::decode(revision, &wire, &limits)
            && let Some(again) = encode(&packet)
        {
            let again = socketio::decode(revision, &again, &limits).map(|packet| describe(&packet));
            prop_assert_eq!(again, Ok(describe(&socketio::Packet { query: None, ..packet })));
        }
    }

    #[test]
    fn any_sequence_of_messages_is_taken_without_a_panic(
        revision in revision(),
        messages in vec(prop_oneof![wire().prop_map(Ok), vec(any::<u8>(), 0..9).prop_map(Err)], 0..8),
    ) {
        let mut decoder = Decoder::new(revision, Limits::default());
        for message in &messages {
            let is_waiting = match message {
                Ok(text) => matches!(decoder.handle_text(text), Ok(None)),
                Err(data) => matches!(decoder.handle_binary(Bytes::copy_from_slice(data)), Ok(None)),
            };
            prop_assert_eq!(is_waiting, decoder.pending_bytes() > 0);
        }
    }
}

/// The text of an event or ack; the other types are not answered in kind.
fn encode(packet: &socketio::Packet<'_>) -> Option<String> {
    let mut out = Vec::new();
    match &packet.body {
        Body::Connect(_) | Body::Disconnect => return None,
        Body::Event { name, args } => {
            socketio::encode_event(&mut out, packet.namespace, packet.id, 0, name, &texts(args));
        }
        Body::Ack(args) => socketio::encode_ack(&mut out, packet.namespace, packet.id?, 0, &texts(args)),
    }
    String::from_utf8(out).ok()
}

fn texts<'a>(args: &[&'a RawValue]) -> Vec<&'a str> {
    args.iter().map(|arg| arg.get()).collect()
}

fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V3, Version::V4])
}

fn revision() -> impl Strategy<Value = Revision> {
    select(vec![Revision::V4, Revision::V5])
}

/// Text of all planes, without the separator that version 4 keeps for itself.
fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof!["[^\u{1e}]{0,12}", "[a-z:\u{e9}\u{20ac}\u{1f600}\u{10ffff}]{0,12}"].prop_map(Cow::Owned)
}

fn packet() -> impl Strategy<Value = Packet<'static>> {
    prop_oneof![
        text().prop_map(Packet::Open),
        Just(Packet::Close),
        text().prop_map(Packet::Ping),
        text().prop_map(Packet::Pong),
        text().prop_map(Packet::Text),
        vec(any::<u8>(), 0..40).prop_map(|data| Packet::Binary(data.into())),
        Just(Packet::Upgrade),
        Just(Packet::Noop),
    ]
}

/// Bytes that get further than random ones: pieces of all framings in any order.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"4a",
        b"2:4a",
        b"\x1e",
        b":",
        b"1",
        b"0",
        b"9999999999",
        b"b4AQ==",
        b"bAQ==",
        b"\x00\x02\xff4a",
        b"\x00",
        b"\x01",
        b"\xff",
        b"\x01\x01\xff\x04",
        "4😀".as_bytes(),
        b"3:",
        b"\xf0\x9f",
    ];
    prop_oneof![vec(any::<u8>(), 0..60), vec(select(pieces), 0..20).prop_map(|pieces| pieces.concat())]
}

pub(crate) fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,?]{0,20}"]
}

pub(crate) fn id() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), (0..=MAX_ID).prop_map(Some), Just(Some(MAX_ID))]
}

fn event_name() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("within the limit, not reserved", |name| name.len() <= 128 && !name.contains("onnect"))
}

/// The text of a JSON value.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    tree.prop_map(|value| value.to_string())
}

/// Texts that get further than random ones: pieces of packets in any order.
fn wire() -> impl Strategy<Value = String> {
    let pieces = vec![
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "1-",
        "2-",
        "/",
        "/a,",
        "/a?b,",
        "7",
        "9007199254740992",
        "[",
        "]",
        "{",
        "}",
        "\"a\"",
        "\"connect\"",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "d83d",
        "null",
        "true",
        "-1",
        "1e5",
        " ",
        "é",
        "😀",
        "[\"a\"]",
        "[\"a\",{\"_placeholder\":true,\"num\":0}]",
        "\"_placeholder\":true",
        "\"num\":0",
        "[\"a\",1,",
    ];
    prop_oneof![
        any::<String>(),
        vec(select(pieces.clone()), 0..12).prop_map(|pieces| pieces.concat()),
        (select(vec!["2", "27", "2/a,", "31", "51-", "61-1", "0"]), vec(select(pieces), 0..6))
            .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat())),
    ]
}
