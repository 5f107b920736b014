//! Clients that speak MessagePack: packets by the byte, what JSON cannot say, attacks, and whole sessions.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hobnob::{
    protocol::socketio::{
        self, DecodeError, Decoder, Encoding, Limits,
        Revision::{self, V4, V5},
        msgpack,
    },
    server::Server,
    transport::Config,
};
use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use crate::{
    namespaces::start,
    properties::{id, json, namespace},
    socketio::describe,
    wire::{BINARY, CLOSE, Listening, Poller, TEXT, Wire},
};

/// A map of `type`, `nsp` and `data`, and then the rest.
fn packed(kind: u8, namespace: &str, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(namespace.len()).expect("short");
    [b"\x83\xa4type", &[kind][..], b"\xa3nsp", &[0xa0 | length], namespace.as_bytes(), b"\xa4data", data].concat()
}

/// An event `e` with this argument.
fn event(argument: &[u8]) -> Vec<u8> {
    packed(2, "/", &[b"\x92\xa1e", argument].concat())
}

fn read(revision: Revision, data: &[u8]) -> Result<(String, Vec<Bytes>), DecodeError> {
    let assembled = msgpack::decode(revision, data, &Limits::default())?;
    Ok((describe(&assembled.packet()), assembled.attachments))
}

/// The argument of an event, as JSON.
fn argument(bytes: &[u8]) -> Result<String, DecodeError> {
    let (event, _) = read(V5, &event(bytes))?;
    Ok(event.strip_prefix("event / e ").expect("an event").to_owned())
}

#[test]
fn packets_are_understood_whatever_the_order_of_their_fields() {
    let place = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    let cases: [(&[u8], &str); 8] = [
        (b"\x82\xa4type\x00\xa3nsp\xa1/", "connect /"),
        (b"\x83\xa3nsp\xa4/a?b\xa4type\xcc\x00\xa4data\x81\xa5token\xa1x", r#"connect /a?b {"token":"x"}"#),
        (b"\x84\xa4type\x01\xa3nsp\xa2/a\xa4data\xd4\0\0\xa2id\xd4\0\0", "disconnect /a"),
        (b"\x84\xa4type\x02\xa4data\x92\xa1e\x01\xa3nsp\xa1/\xa2id\x07", "event / #7 e 1"),
        (b"\x83\xa4type\x05\xa4data\x91\x05\xa3nsp\xa1/", "event / 5"),
        (
            b"\x84\xa4type\x03\xa4data\x90\xa3nsp\xa1/\xa2id\xcf\0\x1f\xff\xff\xff\xff\xff\xff",
            "ack / #9007199254740991",
        ),
        (b"\x84\xa4type\x06\xa4data\x91\xc0\xa3nsp\xa1/\xa2id\xd0\x05", "ack / #5 null"),
        (
            b"\x85\xa7options\x81\xa8compress\xc3\xa1x\xc4\x01z\xa4type\x02\xa4data\x92\xa1e\xc2\xa3nsp\xa1/",
            "event / e false",
        ),
    ];
    for (wire, meaning) in cases {
        assert_eq!(read(V5, wire), Ok((meaning.to_owned(), vec![])), "{meaning}");
    }
    let query = read(V4, b"\x83\xa4type\x02\xa3nsp\xa6/a?b,c\xa4data\x91\xa1e");
    assert_eq!(query, Ok(("event /a ?b,c e".to_owned(), vec![])));
    let (meaning, attachments) =
        read(V5, &event(b"\x83\xa1a\xc4\x02ab\xa1b\x91\xc7\x01\0c\xa1c\xc5\0\0")).expect("valid");
    let expected = format!(r#"event / e {{"a":{},"b":[{}],"c":{}}}"#, place(0), place(1), place(2));
    assert_eq!((meaning, attachments), (expected, vec!["ab".into(), "c".into(), "".into()]));
}

#[test]
fn values_become_what_json_stringify_makes_of_them() {
    let cases: [(&[u8], &str); 33] = [
        (b"\x00", "0"),
        (b"\x7f", "127"),
        (b"\xff", "-1"),
        (b"\xe0", "-32"),
        (b"\xcc\xff", "255"),
        (b"\xcd\xff\xff", "65535"),
        (b"\xce\xff\xff\xff\xff", "4294967295"),
        // Exact, whatever a program in JavaScript will make of it.
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\x00", "-32768"),
        (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xca\x3f\x00\x00\x00", "0.5"),
        (b"\xca\x40\x40\x00\x00", "3"),
        (b"\xcb\x40\x08\x00\x00\x00\x00\x00\x00", "3"),
        (b"\xcb\xc0\x08\x00\x00\x00\x00\x00\x00", "-3"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "0"),
        (b"\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c", "1e+300"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xc0", "null"),
        (b"\xd4\x00\x00", "null"),
        (b"\x82\xa1a\xd4\x00\x00\xa1b\xc0", r#"{"b":null}"#),
        (b"\x82\xa1b\x01\xa1a\xd4\x00\x00", r#"{"b":1}"#),
        (b"\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b", r#""2023-11-14T22:13:20.123Z""#),
        (b"\xd6\xff\x65\x53\xf1\x00", r#""2023-11-14T22:13:20.000Z""#),
        (b"\xd7\xff\x1d\x53\x53\x00\x65\x53\xf1\x00", r#""2023-11-14T22:13:20.123Z""#),
        (b"\xc7\x0c\xff\x07\x54\xd4\xc0\x00\x00\x00\x00\x65\x53\xf1\x00", r#""2023-11-14T22:13:20.123Z""#),
        (b"\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "null"),
        (b"\xa3\xf0\x9f\x98", "an error"),
        (b"\xa6\xc3\xa9\"\\\n\x01", r#""é\"\\\n\u0001""#),
        (b"\xdc\x00\x02\xdd\x00\x00\x00\x00\xde\x00\x01\xa0\xdf\x00\x00\x00\x00", r#"[[],{"":{}}]"#),
    ];
    for (wire, meaning) in cases {
        let read = argument(wire);
        match meaning {
            "an error" => assert_eq!(read, Err(DecodeError::Msgpack), "{wire:x?}"),
            meaning => assert_eq!(read.as_deref(), Ok(meaning), "{wire:x?}"),
        }
    }
}

#[test]
fn what_is_written_is_as_short_as_it_can_be() {
    let cases: [(&str, &[u8]); 22] = [
        ("0", b"\x00"),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("256", b"\xcd\x01\x00"),
        ("65536", b"\xce\x00\x01\x00\x00"),
        ("4294967296", b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        ("18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("-1", b"\xff"),
        ("-32", b"\xe0"),
        ("-33", b"\xd0\xdf"),
        ("-129", b"\xd1\xff\x7f"),
        ("-32769", b"\xd2\xff\xff\x7f\xff"),
        ("-9223372036854775808", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
        // What `JSON.parse` takes them for.
        ("-0", b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("0.5", b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"),
        ("18446744073709551616", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        ("1e999", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
        (" [ true , false, null ] ", b"\x93\xc3\xc2\xc0"),
        (r#"{"a":{},"b":[[]]}"#, b"\x82\xa1a\x80\xa1b\x91\x90"),
        (r#""a\"\\\u00e9\ud83d\ude00""#, b"\xa9a\"\\\xc3\xa9\xf0\x9f\x98\x80"),
        // Half a character is none.
        (r#""\ud83dx\\ud83d\ude00\ud83d""#, b"\xb0\xef\xbf\xbdx\\ud83d\xef\xbf\xbd\xef\xbf\xbd"),
        (r#"{"_placeholder":true,"num":0}"#, b"\x82\xac_placeholder\xc3\xa3num\x00"),
    ];
    for (json, wire) in cases {
        let text = format!(r#"2["e",{json}]"#);
        let expected = [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e", wire].concat();
        assert_eq!(msgpack::encode(&text, &[]), expected, "{json}");
    }
    let lengths: [(String, &[u8]); 6] = [
        (format!("\"{}\"", "x".repeat(31)), b"\xbf"),
        (format!("\"{}\"", "x".repeat(255)), b"\xd9\xff"),
        (format!("\"{}\"", "x".repeat(65_535)), b"\xda\xff\xff"),
        (format!("\"{}\"", "x".repeat(65_536)), b"\xdb\x00\x01\x00\x00"),
        (format!("[{}1]", "1,".repeat(15)), b"\xdc\x00\x10"),
        (format!("[{}1]", "1,".repeat(65_535)), b"\xdd\x00\x01\x00\x00"),
    ];
    for (json, head) in lengths {
        let written = msgpack::encode(&format!("2[{json}]"), &[]);
        assert!(written[19..].starts_with(head), "{:x?}", &written[..30]);
    }
}

#[test]
fn attachments_go_where_their_placeholders_are() {
    let place = |num: usize| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    let text = format!(r#"52-/a,7["e",{{"x":[{}]}},{{"num":0,"_placeholder":true}},{}]"#, place(1), place(5));
    let written = msgpack::encode(&text, &[Bytes::from(vec![7; 256]), Bytes::from_static(b"ab")]);
    let head = b"\x84\xa4type\x02\xa3nsp\xa2/a\xa2id\x07\xa4data\x94\xa1e\x81\xa1x\x91\xc4\x02ab\xc5\x01\x00\x07";
    assert!(written.starts_with(head), "{written:x?}");
    assert!(written.ends_with(b"\x07\x82\xac_placeholder\xc3\xa3num\x05"), "one that is none stays as it is");
    assert_eq!(
        msgpack::encode("61-3[{\"_placeholder\":true,\"num\":0}]", &[Bytes::new()]),
        b"\x84\xa4type\x03\xa3nsp\xa1/\xa2id\x03\xa4data\x91\xc4\x00"
    );
}

#[test]
fn control_packets_are_maps_for_later_versions_and_json_for_earlier_ones() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("0/a,", b"\x82\xa4type\x00\xa3nsp\xa2/a", r#"{"type":0,"nsp":"/a"}"#),
        ("1", b"\x82\xa4type\x01\xa3nsp\xa1/", r#"{"type":1,"nsp":"/"}"#),
        (
            r#"0{"sid":"s"}"#,
            b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xa1s",
            r#"{"type":0,"nsp":"/","data":{"sid":"s"}}"#,
        ),
        (r#"4/a,"no""#, b"\x83\xa4type\x04\xa3nsp\xa2/a\xa4data\xa2no", r#"{"type":4,"nsp":"/a","data":"no"}"#),
    ];
    for (text, later, earlier) in cases {
        assert_eq!(msgpack::encode(text, &[]), later, "{text}");
        assert_eq!(msgpack::encode_control(text).as_deref(), Some(earlier), "{text}");
    }
    assert_eq!(msgpack::encode_control(r#"2["e"]"#), None);

    let control = |text| msgpack::decode_control(text, &Limits::default()).map(|packet| describe(&packet));
    assert_eq!(control(r#"{"type":0,"nsp":"/a?b=c,d"}"#).as_deref(), Ok("connect /a ?b=c,d"));
    assert_eq!(control(r#"{"type":1,"options":{"compress":true},"nsp":"/"}"#).as_deref(), Ok("disconnect /"));
    for (text, error) in [
        ("0", DecodeError::Payload),
        (r#"{"type":0}"#, DecodeError::Payload),
        (r#"{"type":2,"nsp":"/","data":["e"]}"#, DecodeError::UnknownType),
        (r#"{"type":4,"nsp":"/"}"#, DecodeError::UnknownType),
        (r#"{"type":0,"nsp":"a"}"#, DecodeError::Namespace),
    ] {
        assert_eq!(control(text), Err(error), "{text}");
    }
}

#[test]
fn what_is_no_packet_is_refused_with_the_reason() {
    let long = "x".repeat(129);
    let name = [b"\x91\xd9\x81", long.as_bytes()].concat();
    let namespace = [b"\x82\xa4type\x00\xa3nsp\xd9\x81/", &long.as_bytes()[..128]].concat();
    let many = [b"\xdc\x01\x02\xa1e".to_vec(), vec![0; 257]].concat();
    let cases: [(Vec<u8>, DecodeError); 35] = [
        (b"".into(), DecodeError::Msgpack),
        (b"\x93\x00\xa1/\x80".into(), DecodeError::Msgpack),
        (b"\x80".into(), DecodeError::UnknownType),
        (b"\x81\xa4type\x00".into(), DecodeError::Msgpack),
        (b"\x82\xa4type\xa10\xa3nsp\xa1/".into(), DecodeError::UnknownType),
        (b"\x82\xa4type\xff\xa3nsp\xa1/".into(), DecodeError::UnknownType),
        (packed(4, "/", b"\x80"), DecodeError::UnknownType),
        (packed(7, "/", b"\x80"), DecodeError::UnknownType),
        (b"\x82\xa4type\x00\xa3nsp\x01".into(), DecodeError::Msgpack),
        (b"\x83\xa4type\x00\xa3nsp\xa1/\xa4type\x00".into(), DecodeError::Msgpack),
        (b"\x83\xa4type\x00\xa3nsp\xa1/\x01\x00".into(), DecodeError::Msgpack),
        ([&packed(0, "/", b"\x80")[..], b"\xc0"].concat(), DecodeError::Msgpack),
        (packed(0, "x", b"\x80"), DecodeError::Namespace),
        (packed(0, "/a,b", b"\x80"), DecodeError::Namespace),
        (namespace, DecodeError::Namespace),
        (packed(0, "/", b"\x90"), DecodeError::Payload),
        (packed(0, "/", b"\xc0"), DecodeError::Payload),
        (packed(0, "/", b"\x81\xa1a\xc4\x01x"), DecodeError::Attachments),
        (packed(1, "/", b"\x80"), DecodeError::Payload),
        (packed(2, "/", b"\x80"), DecodeError::Payload),
        (packed(2, "/", b"\xd4\0\0"), DecodeError::Payload),
        (packed(2, "/", b"\x90"), DecodeError::EventName),
        (packed(2, "/", b"\x91\x91\xa1e"), DecodeError::EventName),
        (packed(2, "/", b"\x91\xaadisconnect"), DecodeError::EventName),
        (packed(2, "/", b"\x91\xc4\x01e"), DecodeError::EventName),
        (packed(2, "/", &name), DecodeError::EventName),
        (packed(2, "/", &many), DecodeError::Payload),
        (packed(3, "/", b"\x90"), DecodeError::Id),
        (b"\x84\xa4type\x03\xa4data\x90\xa3nsp\xa1/\xa2id\xff".into(), DecodeError::Id),
        (b"\x84\xa4type\x03\xa4data\x90\xa3nsp\xa1/\xa2id\xcf\0\x20\0\0\0\0\0\0".into(), DecodeError::Id),
        (event(b"\xc1"), DecodeError::Msgpack),
        (event(b"\x81\x01\x01"), DecodeError::Msgpack),
        (event(b"\xd4\x05\x00"), DecodeError::Extension),
        (event(b"\xc7\x01\x05\x00"), DecodeError::Extension),
        (event(b"\x92\xc4\x01x\x82\xac_placeholder\xc3\xa3num\x02"), DecodeError::Placeholder),
    ];
    for (wire, error) in cases {
        assert_eq!(read(V5, &wire), Err(error), "{:?}", String::from_utf8_lossy(&wire));
    }
    // Nothing that breaks off is anything.
    let whole = event(b"\x82\xa1a\xcb\0\0\0\0\0\0\0\0\xa1b\xc7\x02\0xy");
    assert!(read(V5, &whole).is_ok());
    for end in 0..whole.len() {
        assert_eq!(read(V5, &whole[..end]), Err(DecodeError::Msgpack), "{end}");
    }
}

#[test]
fn depth_attachments_and_lengths_are_limited() {
    // The array of the arguments counts, too.
    for (open, close) in [(&b"\x91"[..], &b"\xc0"[..]), (b"\x81\xa1a", b"\xc0"), (b"\xdd\0\0\0\x01", b"\xc0")] {
        let nested = |levels: usize| event(&[open.repeat(levels), close.to_vec()].concat());
        assert!(read(V5, &nested(63)).is_ok());
        assert_eq!(read(V5, &nested(64)), Err(DecodeError::Depth));
        assert_eq!(read(V5, &nested(100_000)), Err(DecodeError::Depth));
    }
    let passed_over = [b"\x83\xa1x", &b"\x91".repeat(100_000)[..], b"\xa4type\x00\xa3nsp\xa1/"].concat();
    assert_eq!(read(V5, &passed_over), Err(DecodeError::Depth));
    let attachments = |count: u8| event(&[&[0x90 | count][..], &b"\xc4\x01x".repeat(count.into())].concat());
    assert_eq!(read(V5, &attachments(10)).expect("valid").1.len(), 10);
    assert_eq!(read(V5, &attachments(11)), Err(DecodeError::Attachments));
    // What they declare is not believed.
    for head in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
        assert_eq!(read(V5, &event(&[head, 0xff, 0xff, 0xff, 0xff])), Err(DecodeError::Msgpack), "{head:x}");
        assert_eq!(read(V5, &[head, 0xff, 0xff, 0xff, 0xff]), Err(DecodeError::Msgpack), "{head:x}");
    }
    assert_eq!(read(V5, b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd\xff\xff\xff\xff"), Err(DecodeError::Msgpack));
}

#[test]
fn the_first_message_decides_for_later_versions_and_the_query_for_earlier_ones() {
    let connect = || Bytes::from(packed(0, "/", b"\x80"));
    let event = || Bytes::from(event(b"\x01"));
    let taken = |decoder: &mut Decoder, data: Bytes| {
        decoder.handle_binary(data).map(|packet| packet.map(|packet| describe(&packet.packet())))
    };
    let mut decoder = Decoder::new(V5, Limits::default());
    assert_eq!(decoder.encoding(), Encoding::Json);
    assert_eq!(taken(&mut decoder, connect()), Ok(Some("connect / {}".to_owned())));
    assert_eq!(decoder.encoding(), Encoding::Msgpack(V5));
    assert_eq!(taken(&mut decoder, event()), Ok(Some("event / e 1".to_owned())));
    assert_eq!(decoder.handle_text(r#"2["e"]"#).map(|_| ()), Err(DecodeError::Text));

    let mut decoder = Decoder::new(V5, Limits::default());
    assert!(decoder.handle_text("0").expect("valid").is_some());
    assert_eq!(taken(&mut decoder, connect()), Err(DecodeError::UnannouncedAttachment));
    for first in [event(), Bytes::new(), Bytes::from_static(b"hello")] {
        let mut decoder = Decoder::new(V5, Limits::default());
        assert_eq!(taken(&mut decoder, first), Err(DecodeError::UnannouncedAttachment));
        assert_eq!(decoder.encoding(), Encoding::Json);
    }
    assert_eq!(
        taken(&mut Decoder::new(V5, Limits::default()), Bytes::from_static(b"\x80")),
        Err(DecodeError::UnknownType)
    );

    assert_eq!(taken(&mut Decoder::new(V4, Limits::default()), connect()), Err(DecodeError::UnannouncedAttachment));
    let mut decoder = Decoder::new(V4, Limits::default()).with_msgpack();
    assert_eq!(decoder.encoding(), Encoding::Msgpack(V4));
    assert_eq!(taken(&mut decoder, event()), Ok(Some("event / e 1".to_owned())));
    let packet = decoder.handle_text(r#"{"type":0,"nsp":"/a"}"#).expect("valid").map(|packet| describe(&packet));
    assert_eq!(packet.as_deref(), Some("connect /a"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_packet_survives_messagepack(
        namespace in namespace(),
        id in id(),
        args in vec(json(), 0..5),
        attachments in vec(vec(any::<u8>(), 0..300), 0..=10),
    ) {
        let placeholders: Vec<_> =
            (0..attachments.len()).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#)).collect();
        let args: Vec<&str> = placeholders.iter().chain(&args).map(String::as_str).collect();
        let mut out = Vec::new();
        socketio::encode_event(&mut out, &namespace, id, attachments.len(), "up", &args);
        let text = String::from_utf8(out).expect("text");
        let attachments: Vec<Bytes> = attachments.into_iter().map(Bytes::from).collect();
        let assembled = msgpack::decode(V5, &msgpack::encode(&text, &attachments), &Limits::default()).expect("valid");
        prop_assert_eq!(&assembled.attachments, &attachments);
        let packet = assembled.packet();
        prop_assert_eq!((packet.namespace, packet.id), (&*namespace, id));
        let socketio::Body::Event { args: read, .. } = packet.body else { panic!("no event") };
        let values = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| serde_json::from_str(text).expect("JSON")).collect::<Vec<Value>>()
        };
        prop_assert_eq!(values(&mut read.iter().map(|arg| arg.get())), values(&mut args.iter().copied()));
    }

    /// What is understood of it is bounded, valid, and can be said again.
    #[test]
    fn any_bytes_end(revision in prop_oneof![Just(V4), Just(V5)], data in broken()) {
        let Ok(assembled) = msgpack::decode(revision, &data, &Limits::default()) else { return Ok(()) };
        let (packet, mut out) = (assembled.packet(), Vec::new());
        let socketio::Body::Event { name, args } = &packet.body else { return Ok(()) };
        let args: Vec<&str> = args.iter().map(|arg| arg.get()).collect();
        prop_assert!(args.iter().all(|arg| serde_json::from_str::<Value>(arg).is_ok()));
        let bytes = args.iter().fold(0, |sum, arg| sum + arg.len());
        prop_assert!(bytes <= 6 * data.len() + 30 * assembled.attachments.len(), "{bytes} of {}", data.len());
        socketio::encode_event(&mut out, packet.namespace, packet.id, assembled.attachments.len(), name, &args);
        let text = String::from_utf8(out).expect("text");
        let again = msgpack::decode(revision, &msgpack::encode(&text, &assembled.attachments), &Limits::default());
        prop_assert!(again.is_ok(), "{text}");
    }
}

/// Bytes, and packets that are changed in some places.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"\xa1e",
        b"\xc0",
        b"\xc2",
        b"\x91",
        b"\x82\xa1a",
        b"\x80",
        b"\x90",
        b"\xc4\x02ab",
        b"\xc7\x01\0x",
        b"\xd4\0\0",
        b"\xd7\0\0\0\0\0\0\0\0\0",
        b"\xd6\xff\0\0\0\0",
        b"\xcb\x40\x08\0\0\0\0\0\0",
        b"\xca\x3f\0\0\0",
        b"\xff",
        b"\xcf",
        b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xd9\x02\xc3\xa9",
        b"\xdc\0\x02",
        b"\xdf\0\0\0\x01",
        b"\xc1",
        b"\xac_placeholder",
        b"\xa3num",
        b"\x00",
        b"\xc3",
        b"\xa1\x01",
    ];
    let arguments = (0_u8..8, vec(proptest::sample::select(pieces), 0..10));
    let packet = arguments
        .prop_map(|(count, pieces)| packed(2, "/", &[&[0x90 | count, 0xa1, b'e'][..], &pieces.concat()].concat()));
    let changes = vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3);
    let broken = (packet.clone(), changes).prop_map(|(mut data, changes)| {
        for (index, byte) in changes {
            let index = index.index(data.len());
            data[index] = byte;
        }
        data
    });
    prop_oneof![vec(any::<u8>(), 0..60), packet, broken]
}

// ---- sessions ------------------------------------------------------------------------------------------------------------

/// A client in the main namespace, over WebSocket.
async fn joined(server: &Listening<Server>, version: u8) -> Wire {
    if version == 3 {
        let (mut wire, _) = Wire::open(server.address, "EIO=3&transport=websocket&parser=msgpack").await;
        assert_eq!(wire.text().await, r#"4{"type":0,"nsp":"/"}"#);
        return wire;
    }
    let (mut wire, _) = Wire::open(server.address, "EIO=4&transport=websocket").await;
    wire.send(BINARY, b"\x82\xa4type\x00\xa3nsp\xa1/").await;
    let answer = hear(&mut wire).await;
    assert!(answer.starts_with(b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xb4"), "{answer:x?}");
    wire
}

/// The next frame, which is binary.
async fn hear(wire: &mut Wire) -> Vec<u8> {
    let (kind, data) = wire.frame().await.expect("a frame");
    assert_eq!(kind, BINARY, "{:?}", String::from_utf8_lossy(&data));
    data
}

#[tokio::test]
async fn a_session_speaks_messagepack_over_websocket() {
    let server = start(Config::default()).await;
    let question = b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x07\xa4data\x93\xa4echo\xc4\x02ab\x01";
    let answer = b"\x84\xa4type\x03\xa3nsp\xa1/\xa2id\x07\xa4data\x92\xc4\x02ab\x01";
    for version in [3, 4] {
        let marker: &[u8] = if version == 3 { &[4] } else { &[] };
        let mut wire = joined(&server, version).await;
        wire.send(BINARY, &[marker, question].concat()).await;
        assert_eq!(hear(&mut wire).await, [marker, answer].concat());
        let event = packed(2, "/", b"\x92\xa4echo\x81\xa1a\xc4\x00");
        wire.send(BINARY, &[marker, &event].concat()).await;
        assert_eq!(hear(&mut wire).await, [marker, &event].concat());
    }
    let mut wire = joined(&server, 4).await;
    wire.send(BINARY, &packed(0, "/custom", b"\x81\xa5token\xa1x")).await;
    assert!(hear(&mut wire).await.starts_with(b"\x83\xa4type\x00\xa3nsp\xa7/custom\xa4data\x81\xa3sid"));
    let hello = [b"\x92\xa5hello\xad", &br#"{"token":"x"}"#[..]].concat();
    assert_eq!(hear(&mut wire).await, packed(2, "/custom", &hello));
    wire.send(BINARY, &packed(0, "/third", b"\x81\xa6refuse\x01")).await;
    assert_eq!(hear(&mut wire).await, packed(4, "/third", b"\x82\xa7message\xa2no\xa4data\x81\xa4code\x01"));
    wire.send(BINARY, b"\x82\xa4type\x01\xa3nsp\xa1/").await;
    wire.send(BINARY, &packed(2, "/custom", b"\x91\xa4echo")).await;
    assert_eq!(hear(&mut wire).await, packed(2, "/custom", b"\x91\xa4echo"), "it goes on without the main one");

    let mut wire = joined(&server, 3).await;
    wire.say(r#"4{"type":0,"nsp":"/custom?refuse=1"}"#).await;
    assert_eq!(wire.text().await, r#"4{"type":4,"nsp":"/custom","data":"no"}"#);
    wire.say(r#"4{"type":0,"nsp":"/third"}"#).await;
    assert_eq!(wire.text().await, r#"4{"type":0,"nsp":"/third"}"#);
    wire.say(r#"4{"type":1,"nsp":"/third"}"#).await;
    wire.send(BINARY, &[b"\x04", &packed(2, "/third", b"\x91\xa4echo")[..]].concat()).await;
    assert_eq!(wire.close_code().await, b"");
}

#[tokio::test]
async fn a_session_speaks_messagepack_over_polling() {
    let server = start(Config::default()).await;
    let event = packed(2, "/", b"\x92\xa4echo\xc4\x03\x00\x01\xff");
    for version in [3, 4] {
        let more = if version == 3 { "&b64=1&parser=msgpack" } else { "" };
        let client = Poller::open(&server, version, more).await;
        let base64 = |data: &[u8]| {
            let data = STANDARD.encode(data);
            if version == 3 { format!("b4{data}") } else { format!("b{data}") }
        };
        if version == 3 {
            assert!(client.open.ends_with(r#"4{"type":0,"nsp":"/"}"#), "{}", client.open);
        } else {
            client.say(&base64(b"\x82\xa4type\x00\xa3nsp\xa1/")).await;
            assert!(
                client.hear().await.starts_with(&base64(b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xb4")[..30])
            );
        }
        client.say(&base64(&event)).await;
        assert_eq!(client.hear().await, base64(&event));
    }
}

#[tokio::test]
async fn what_breaks_the_form_ends_the_session() {
    let server = start(Config::default()).await;
    let deep = event(&b"\x91".repeat(1_000));
    let cases: [(u8, &[u8]); 5] = [
        (TEXT, br#"42["echo"]"#),
        (BINARY, &deep),
        (BINARY, b"\xdf\xff\xff\xff\xff"),
        (BINARY, b"hello"),
        (BINARY, b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa4echo\xc7\x01\x05x"),
    ];
    for (kind, data) in cases {
        let mut wire = joined(&server, 4).await;
        wire.send(kind, data).await;
        assert_eq!(wire.close_code().await, b"");
        // The same as a first message, but for the text, which is one of a client that has joined nothing.
        let (mut wire, _) = Wire::open(server.address, "EIO=4&transport=websocket").await;
        wire.send(kind, data).await;
        assert_eq!(wire.close_code().await, b"");
    }
    // JSON clients send no packet in binary, and clients of version 3 have to name it.
    let (mut wire, _) = Wire::open(server.address, "EIO=4&transport=websocket").await;
    wire.say("40").await;
    wire.text().await;
    wire.send(BINARY, &packed(2, "/", b"\x91\xa4echo")).await;
    assert_eq!(wire.close_code().await, b"");
    let (mut wire, _) = Wire::open(server.address, "EIO=3&transport=websocket").await;
    assert_eq!(wire.text().await, "40");
    wire.send(BINARY, &[b"\x04", &packed(2, "/", b"\x91\xa4echo")[..]].concat()).await;
    assert_eq!(wire.frame().await.map(|(kind, _)| kind), Some(CLOSE));
    server.has_sessions(0).await;
    // Whoever is not in yet may not send much.
    let (mut wire, _) = Wire::open(server.address, "EIO=4&transport=websocket").await;
    let auth = [b"\xc6\x00\x10\x00\x00", &vec![0; 0x10_0000][..]].concat();
    wire.send(BINARY, &packed(0, "/", &auth)).await;
    assert_eq!(wire.close_code().await, 1009_u16.to_be_bytes());
}
