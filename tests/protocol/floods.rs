//! Bodies that made other servers slow or large: how much of them is read, not how long it takes.

use std::borrow::Cow;

use hobnob::protocol::{
    engineio::{DecodeError, Packet, Version, payload},
    socketio::{self, Limits, Revision},
};

const PACKETS: usize = 200_000;

/// 800 kB of CONNECT. Each step reads the next four bytes and no others, so the whole body is read once.
#[test]
fn a_flood_of_connects_is_read_once() {
    let body = "2:40".repeat(PACKETS);
    assert_eq!(assert_reads_forward(Version::V3, body.as_bytes()), PACKETS);
    let body = vec!["40"; PACKETS].join("\u{1e}");
    assert_eq!(assert_reads_forward(Version::V4, body.as_bytes()), PACKETS);
}

/// Packets that are not ASCII need their characters counted; each is counted for one packet only.
#[test]
fn a_flood_of_astral_characters_is_read_once() {
    let body = "3:4😀".repeat(PACKETS);
    assert_eq!(assert_reads_forward(Version::V3, body.as_bytes()), PACKETS);
}

#[test]
fn a_flood_of_lengths_ends_at_the_first_packet_without_one() {
    let body = "1:".repeat(PACKETS);
    let read: Vec<_> = payload::decode(Version::V3, body.as_bytes(), false).take(PACKETS).collect();
    assert_eq!(read, [Ok(Packet::Close), Err(DecodeError::Length)]);
}

#[test]
fn a_flood_of_digits_is_not_read_as_one_length() {
    let body = "9".repeat(PACKETS);
    let read: Vec<_> = payload::decode(Version::V3, body.as_bytes(), false).take(PACKETS).collect();
    assert_eq!(read, [Err(DecodeError::Length)]);
    let body = [vec![0], vec![9; PACKETS]].concat();
    let read: Vec<_> = payload::decode(Version::V3, &body, true).take(PACKETS).collect();
    assert_eq!(read, [Err(DecodeError::Length)]);
}

#[test]
fn a_flood_of_separators_is_one_empty_packet() {
    let body = "\u{1e}".repeat(PACKETS);
    let read: Vec<_> = payload::decode(Version::V4, body.as_bytes(), false).take(PACKETS).collect();
    assert_eq!(read, [Err(DecodeError::Empty)]);
}

/// Deep JSON is refused before a parser sees it, so there is no recursion and no tree to drop.
#[test]
fn a_flood_of_brackets_is_refused_as_too_deep() {
    for wire in [format!("2{}", "[".repeat(PACKETS)), format!(r#"2["a",{}"#, r#"{"a":"#.repeat(PACKETS))] {
        let refused = socketio::decode(Revision::V5, &wire, &Limits::default()).map(|_| ());
        assert_eq!(refused, Err(socketio::DecodeError::Depth));
    }
}

#[test]
fn a_flood_of_arguments_is_refused() {
    let wire = format!(r#"2["a"{}]"#, ",1".repeat(PACKETS));
    let refused = socketio::decode(Revision::V5, &wire, &Limits::default()).map(|_| ());
    assert_eq!(refused, Err(socketio::DecodeError::Payload));
}

/// Reads the text messages of a body and returns their number. Each must be borrowed from the body, behind the one before
/// it: then no byte is handed out twice and nothing is copied.
fn assert_reads_forward(version: Version, body: &[u8]) -> usize {
    let mut read = 0;
    let mut behind = body.as_ptr().addr();
    for packet in payload::decode(version, body, false) {
        let text = match &packet {
            Ok(Packet::Text(Cow::Borrowed(text))) => *text,
            other => unreachable!("{other:?} is not borrowed text"),
        };
        let start = text.as_ptr().addr();
        assert!(start > behind, "packet {read} begins in front of the end of the last one");
        behind = start + text.len();
        read += 1;
    }
    assert_eq!(behind, body.as_ptr_range().end.addr(), "the last packet ends the body");
    read
}
