//! Fixtures of Engine.IO: packets and polling payloads of versions 3 and 4.

use std::borrow::Cow;

use hobnob::protocol::engineio::{
    DecodeError, Packet, TransportKind,
    Version::{self, V3, V4},
    payload,
};

/// The text form of every packet, the same both ways.
const TEXT_FORM: &[(Version, &str, Packet<'static>)] = &[
    (V4, r#"0{"sid":"x"}"#, Packet::Open(Cow::Borrowed(r#"{"sid":"x"}"#))),
    (V4, "1", Packet::Close),
    (V4, "2", Packet::Ping(Cow::Borrowed(""))),
    (V4, "2probe", Packet::Ping(Cow::Borrowed("probe"))),
    (V4, "3probe", Packet::Pong(Cow::Borrowed("probe"))),
    (V4, "4", text("")),
    (V4, "4hé €😀", text("hé €😀")),
    (V4, "4b", text("b")),
    (V4, "5", Packet::Upgrade),
    (V4, "6", Packet::Noop),
    (V4, "b", binary(&[])),
    (V4, "bAQIDBA==", binary(&[1, 2, 3, 4])),
    (V3, "2probe", Packet::Ping(Cow::Borrowed("probe"))),
    (V3, "4b4", text("b4")),
    (V3, "b4", binary(&[])),
    (V3, "b4AQIDBA==", binary(&[1, 2, 3, 4])),
];

/// What is read but never written so: data where there is none, base64 without padding.
const READ_ONLY: &[(Version, &str, Packet<'static>)] = &[
    (V4, "1x", Packet::Close),
    (V4, "5x", Packet::Upgrade),
    (V4, "6x", Packet::Noop),
    (V4, "bAQIDBA", binary(&[1, 2, 3, 4])),
];

const NO_PACKET: &[(Version, &str, DecodeError)] = &[
    (V4, "", DecodeError::Empty),
    (V3, "", DecodeError::Empty),
    (V4, "7", DecodeError::UnknownType),
    (V4, "abc", DecodeError::UnknownType),
    (V4, " 4", DecodeError::UnknownType),
    (V4, "٤", DecodeError::UnknownType), // a digit, but not an ASCII one
    (V4, "bA", DecodeError::Base64),
    (V4, "bAQ-_", DecodeError::Base64), // the alphabet for URLs
    (V4, "b AQI", DecodeError::Base64),
    (V3, "bAQIDBA==", DecodeError::UnknownType), // base64 of a type that is no message
    (V3, "b", DecodeError::UnknownType),
];

/// Polling bodies that are written and read alike.
const BODIES: &[(Version, bool, &[u8], &[Packet<'static>])] = &[
    (V4, false, b"4hello", &[text("hello")]),
    (V4, false, b"2\x1e4hello\x1ebAQIDBA==", &[Packet::Ping(Cow::Borrowed("")), text("hello"), binary(&[1, 2, 3, 4])]),
    (V3, false, b"6:4hello", &[text("hello")]),
    (V3, false, b"1:46:4a:1:b", &[text(""), text("a:1:b")]),
    (V3, true, b"\x01\x05\xff\x04\x01\x02\x03\x04", &[binary(&[1, 2, 3, 4])]),
    // Here they count bytes, and text keeps its digit while binary has a byte of that value.
    (V3, true, b"\x00\x05\xff4\xf0\x9f\x98\x80\x01\x01\x02\xff\x0401234567890", &[text("😀"), binary(b"01234567890")]),
];

/// Text beyond ASCII in the text framing of version 3. Lengths count UTF-16 units: é is one in two bytes, € one in three, 😀 two
/// in four.
const UTF16_BODY: (&str, &[Packet<'static>]) =
    ("3:4é€3:4😀1:2", &[text("é€"), text("😀"), Packet::Ping(Cow::Borrowed(""))]);

/// How far a body is read: packets in front of the first bad one count, what follows is not looked at.
const BAD_BODIES: &[(Version, bool, &[u8], usize, DecodeError)] = &[
    (V4, false, b"", 0, DecodeError::Empty),
    (V3, false, b"", 0, DecodeError::Empty),
    (V3, true, b"", 0, DecodeError::Empty),
    (V4, true, b"4a", 0, DecodeError::Framing),
    (V4, false, b"4a\x1e", 1, DecodeError::Empty),
    (V4, false, b"\x1e4a", 0, DecodeError::Empty),
    (V4, false, b"4a\x1eabc\x1e4b", 1, DecodeError::UnknownType),
    (V4, false, b"4a\xff", 0, DecodeError::Utf8),
    (V3, false, b"4hello", 0, DecodeError::Length),
    (V3, false, b"abc", 0, DecodeError::Length),
    (V3, false, b":4", 0, DecodeError::Length),
    (V3, false, b"-1:4", 0, DecodeError::Length),
    (V3, false, b"+2:4a", 0, DecodeError::Length),
    (V3, false, b"0:", 0, DecodeError::Empty),
    (V3, false, b"2:4a0:", 1, DecodeError::Empty),
    (V3, false, b"2:4", 0, DecodeError::Truncated),
    (V3, false, "2:4😀".as_bytes(), 0, DecodeError::Truncated), // ends between two surrogates
    (V3, false, b"9999999999:4", 0, DecodeError::Truncated),
    (V3, false, b"00000000002:4a", 0, DecodeError::Length),
    (V3, false, b"2:4a2", 1, DecodeError::Length),
    (V3, false, b"2:4a\x80", 0, DecodeError::Utf8),
    (V3, true, b"\x02\x01\xff4", 0, DecodeError::Framing),
    (V3, true, b"2:4a", 0, DecodeError::Length),
    (V3, true, b"\x00\xff4", 0, DecodeError::Length),
    (V3, true, b"\x00\x02\xff4", 0, DecodeError::Truncated),
    (V3, true, b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", 0, DecodeError::Truncated),
    (V3, true, b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xff4a", 0, DecodeError::Length),
    (V3, true, b"\x00\x02\xff4a\x01\x01\xff\x05", 1, DecodeError::UnknownType),
    (V3, true, b"\x00\x02\xff4\xff", 0, DecodeError::Utf8),
    (V3, true, b"\x01\x00\xff", 0, DecodeError::Empty),
];

const fn text(data: &'static str) -> Packet<'static> {
    Packet::Text(Cow::Borrowed(data))
}

const fn binary(data: &'static [u8]) -> Packet<'static> {
    Packet::Binary(Cow::Borrowed(data))
}

#[test]
fn every_packet_has_its_text_form() {
    for (version, wire, packet) in TEXT_FORM {
        assert_eq!(Packet::decode_text(*version, wire).as_ref(), Ok(packet), "{wire}");
        let mut out = Vec::new();
        packet.encode_text(*version, &mut out);
        assert_eq!(out, wire.as_bytes(), "{packet:?}");
    }
    for (version, wire, packet) in READ_ONLY {
        assert_eq!(Packet::decode_text(*version, wire).as_ref(), Ok(packet), "{wire}");
    }
}

#[test]
fn what_is_no_packet_has_a_reason() {
    for (version, wire, error) in NO_PACKET {
        assert_eq!(Packet::decode_text(*version, wire), Err(*error), "{wire}");
    }
}

#[test]
fn version_3_puts_the_type_in_front_of_a_binary_frame() {
    assert_eq!(Packet::decode_binary(V3, &[4, 1, 2]), Ok(binary(&[1, 2])));
    assert_eq!(Packet::decode_binary(V3, &[4]), Ok(binary(&[])));
    assert_eq!(Packet::decode_binary(V3, b"4a"), Err(DecodeError::UnknownType));
    assert_eq!(Packet::decode_binary(V3, &[]), Err(DecodeError::Empty));
    assert_eq!(Packet::decode_binary(V4, &[4, 1, 2]), Ok(binary(&[4, 1, 2])));
    assert_eq!(Packet::decode_binary(V4, &[]), Ok(binary(&[])), "clients do send empty buffers");
}

#[test]
fn a_body_is_written_and_read_alike() {
    for (version, is_binary, body, packets) in BODIES {
        let read: Result<Vec<_>, _> = payload::decode(*version, body, *is_binary).collect();
        assert_eq!(read.as_deref(), Ok(*packets), "{body:?}");
        let encoded = payload::encode(*version, packets, false);
        assert_eq!((encoded.body.as_slice(), encoded.binary), (*body, *is_binary), "{packets:?}");
    }
}

/// Clients 1.x count the lengths of the text framing in bytes, so only those that can read nothing else get it.
#[test]
fn a_version_3_client_gets_text_beyond_ascii_in_the_binary_framing() {
    let (body, packets) = UTF16_BODY;
    let read: Result<Vec<_>, _> = payload::decode(V3, body.as_bytes(), false).collect();
    assert_eq!(read.as_deref(), Ok(packets));
    let base64_only = payload::encode(V3, packets, true);
    assert_eq!((base64_only.body.as_slice(), base64_only.binary), (body.as_bytes(), false));
    let encoded = payload::encode(V3, packets, false);
    let expected =
        [b"\x00\x06\xff4\xc3\xa9\xe2\x82\xac".as_slice(), b"\x00\x05\xff4\xf0\x9f\x98\x80", b"\x00\x01\xff2"].concat();
    assert_eq!((encoded.body, encoded.binary), (expected, true));
}

/// What a base64-only client of version 3 gets instead of the binary framing.
#[test]
fn a_version_3_client_without_binary_gets_base64() {
    let encoded = payload::encode(V3, &[text("a"), binary(&[1, 2, 3, 4])], true);
    assert_eq!((encoded.body.as_slice(), encoded.binary), (&b"2:4a10:b4AQIDBA=="[..], false));
}

#[test]
fn a_body_ends_at_its_first_bad_packet() {
    for (version, is_binary, body, good, error) in BAD_BODIES {
        let mut packets = payload::decode(*version, body, *is_binary);
        let before = packets.by_ref().take(*good).flatten().count();
        assert_eq!(before, *good, "{body:?}");
        assert_eq!(packets.next(), Some(Err(*error)), "{body:?}");
        assert_eq!(packets.next(), None, "{body:?}");
        assert_eq!(packets.next(), None, "{body:?}");
    }
}

/// The attack of old servers, which counted bytes in one place and characters in another.
#[test]
fn a_length_counts_characters_of_two_bytes_once() {
    let read: Vec<_> = payload::decode(V3, "2:4¼".as_bytes(), false).collect();
    assert_eq!(read, [Ok(text("¼"))]);
}

#[test]
fn a_length_may_have_leading_zeros() {
    let read: Vec<_> = payload::decode(V3, b"0000000002:4a", false).collect();
    assert_eq!(read, [Ok(text("a"))]);
}

#[test]
fn an_owned_packet_is_the_same_packet() {
    for (_, _, packet) in TEXT_FORM {
        assert_eq!(packet.clone().into_owned(), *packet);
    }
}

#[test]
fn versions_and_transports_have_one_spelling() {
    let versions = ["3", "4", "", "04", "4 ", "5", "v4"].map(Version::from_query);
    assert_eq!(versions, [Some(V3), Some(V4), None, None, None, None, None]);
    assert_eq!([V3.number(), V4.number()], [3, 4]);
    for kind in [TransportKind::Polling, TransportKind::WebSocket] {
        assert_eq!(TransportKind::from_query(kind.as_str()), Some(kind));
        assert_eq!(TransportKind::from_query(&kind.as_str().to_uppercase()), None);
    }
}

/// Clients 1.x send `é` as the two bytes of its UTF-8, each as a character of its own.
#[test]
fn text_that_a_version_3_client_encoded_twice_is_read_as_it_was_meant() {
    let twice = |text: &str| text.bytes().map(char::from).collect::<String>();
    for meant in ["é", "grüße, 世界 😀"] {
        let packet = format!("4{}", twice(meant));
        let body = format!("{}:{packet}", packet.encode_utf16().count());
        let read: Result<Vec<_>, _> = payload::decode(V3, body.as_bytes(), false).collect();
        assert_eq!(read, Ok(vec![text_of(meant)]));
    }
    for once in ["é", "Über", "naïve café", "世界"] {
        let body = format!("{}:4{once}", once.encode_utf16().count() + 1);
        let read: Result<Vec<_>, _> = payload::decode(V3, body.as_bytes(), false).collect();
        assert_eq!(read, Ok(vec![text_of(once)]));
    }
}

fn text_of(text: &str) -> Packet<'_> {
    Packet::Text(text.into())
}
