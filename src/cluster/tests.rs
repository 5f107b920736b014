//! Messages as the official packages write them, and whatever else may come.
//!
//! The bytes were recorded from @socket.io/redis-adapter 8.3.0 and @socket.io/redis-emitter 5.1.0 with notepack.io 3.0.1.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    msgpack::{self, MAX_DEPTH, Malformed, to_json},
    wire::{self, Address, Broadcast, MAX_ROOMS, Outgoing, Request, RequestKind, decode_broadcast, decode_request},
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")).collect()
}

fn read(hex: &str) -> Value {
    let (json, _) = to_json(&bytes(hex)).expect("a value");
    serde_json::from_str(&json).expect("JSON")
}

fn broadcast(hex: &str) -> Broadcast {
    decode_broadcast(&bytes(hex)).expect("a broadcast")
}

fn request(hex: &str) -> Request {
    decode_request(&bytes(hex)).expect("a request")
}

fn rooms(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn to(names: &[&str]) -> Address {
    Address { rooms: rooms(names), except: Vec::new() }
}

#[test]
fn a_broadcast_of_the_adapter_is_read() {
    let read = broadcast(
        "93a64c4e3848564783a47479706502a46461746192a568656c6c6f82a16101a162a2c3a9a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    );
    assert_eq!((&*read.uid, &*read.namespace, &*read.event), ("LN8HVG", "/", "hello"));
    assert_eq!(read.args, [r#"{"a":1,"b":"é"}"#]);
    assert_eq!(read.to, Address::default());
    assert!(!read.volatile && !read.from_log && read.attachments.is_empty());
}

#[test]
fn rooms_exceptions_and_flags_are_read() {
    let read = broadcast(
        "93a64c4e3848564783a47479706502a46461746191a568656c6c6fa36e7370a12f83a5726f6f6d7392a5726f6f6d31a5726f6f6d32a665786365707491a5726f6f6d33a5666c61677381a8766f6c6174696c65c3",
    );
    assert_eq!(read.to, Address { rooms: rooms(&["room1", "room2"]), except: rooms(&["room3"]) });
    assert!(read.volatile && read.args.is_empty());
}

#[test]
fn binary_arguments_become_attachments() {
    let read = broadcast(
        "93a64c4e3848564783a47479706502a46461746193a362696ec40301020381a178c40104a36e7370a12f83a5726f6f6d7391a172a665786365707490a5666c61677380",
    );
    assert_eq!(read.args, [r#"{"_placeholder":true,"num":0}"#, r#"{"x":{"_placeholder":true,"num":1}}"#]);
    assert_eq!(read.attachments, [Bytes::from_static(&[1, 2, 3]), Bytes::from_static(&[4])]);
}

#[test]
fn dates_and_undefined_arguments_become_what_json_makes_of_them() {
    let read = broadcast(
        "93a64c4e3848564783a47479706502a46461746194a47768656ed7ff1d5353006b0527e0c0cf0000000100000000a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    );
    assert_eq!(read.args, [r#""2026-11-24T06:00:00.123Z""#, "null", "4294967296"]);
}

#[test]
fn a_broadcast_of_the_emitter_is_read() {
    let read = broadcast(
        "93a7656d697474657283a47479706502a46461746191a16da36e7370a92f6d6573736167657383a5726f6f6d7390a5666c61677381a8766f6c6174696c65c3a665786365707491a178",
    );
    assert_eq!((&*read.uid, &*read.namespace, &*read.event), ("emitter", "/messages", "m"));
    assert_eq!(read.to.except, ["x"]);
}

#[test]
fn requests_of_the_adapter_are_read() {
    let join = "7b22756964223a224c4e38485647222c2274797065223a322c226f707473223a7b22726f6f6d73223a5b22726f6f6d31225d2c22657863657074223a5b5d7d2c22726f6f6d73223a5b2261222c2262225d7d";
    let leave = "7b22756964223a224c4e38485647222c2274797065223a332c226f707473223a7b22726f6f6d73223a5b22726f6f6d31225d2c22657863657074223a5b227a225d7d2c22726f6f6d73223a5b2261225d7d";
    let disconnect = "7b22756964223a224c4e38485647222c2274797065223a342c226f707473223a7b22726f6f6d73223a5b22726f6f6d31225d2c22657863657074223a5b5d7d2c22636c6f7365223a747275657d";
    let fetch = "7b22756964223a224c4e38485647222c22726571756573744964223a2267506876584f222c2274797065223a352c226f707473223a7b22726f6f6d73223a5b22726f6f6d31225d2c22657863657074223a5b5d7d7d";
    let all_rooms = "7b22756964223a224c4e38485647222c22726571756573744964223a22753464355963222c2274797065223a317d";
    let server_side = "7b22756964223a22656d6974746572222c2274797065223a362c2264617461223a5b226869222c315d7d";
    let except_z = Address { rooms: rooms(&["room1"]), except: rooms(&["z"]) };
    for (hex, kind, id) in [
        (join, RequestKind::Join(to(&["room1"]), rooms(&["a", "b"])), None),
        (leave, RequestKind::Leave(except_z, rooms(&["a"])), None),
        (disconnect, RequestKind::Disconnect(to(&["room1"]), true), None),
        (fetch, RequestKind::Fetch(to(&["room1"])), Some("gPhvXO")),
        (all_rooms, RequestKind::AllRooms, Some("u4d5Yc")),
        (server_side, RequestKind::ServerSideEmit("hi".to_owned()), None),
    ] {
        let read = request(hex);
        assert_eq!((&read.kind, read.id.as_deref()), (&kind, id));
    }
}

#[test]
fn a_question_to_clients_is_read() {
    let read = request(
        "85a3756964a64c4e38485647a9726571756573744964a6475742666248a47479706507a67061636b657483a47479706502a46461746192a17101a36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f7574ccc8",
    );
    assert_eq!(read.id.as_deref(), Some("GWBfbH"));
    let RequestKind::Broadcast(asked) = read.kind else { panic!("a broadcast") };
    assert_eq!((&*asked.event, &*asked.args, asked.timeout_ms), ("q", &["1".to_owned()][..], Some(200.0)));
}

#[test]
fn what_older_versions_send_for_one_socket_is_read() {
    let join = br#"{"requestId":"x","type":2,"sid":"abc","room":"r"}"#;
    assert_eq!(decode_request(join).expect("read").kind, RequestKind::Join(to(&["abc"]), rooms(&["r"])));
    let leave = br#"{"type":4,"sid":"abc","close":true}"#;
    assert_eq!(decode_request(leave).expect("read").kind, RequestKind::Disconnect(to(&["abc"]), true));
}

#[test]
fn numbers_texts_and_constants_are_read_as_notepack_writes_them() {
    let numbers = read(
        "dc0014007fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000cf001fffffffffffffffe0d0dfd080d1ff7fd18000d2ffff7fffd280000000d3ffffffff7fffffffd3ffe0000000000001",
    );
    assert_eq!(
        numbers,
        json!([
            0,
            127,
            128,
            255,
            256,
            65535,
            65536,
            4_294_967_295_u64,
            4_294_967_296_u64,
            9_007_199_254_740_991_u64,
            -1,
            -32,
            -33,
            -128,
            -129,
            -32768,
            -32769,
            -2_147_483_648_i64,
            -2_147_483_649_i64,
            -9_007_199_254_740_991_i64
        ])
    );
    let floats = "96cb3fe0000000000000cbbff4000000000000cb7ff8000000000000cb7ff000000000000000ca3fc00000";
    assert_eq!(read(floats), json!([0.5, -1.25, null, null, 0, 1.5]));
    assert_eq!(
        read("97a0a2c3a9a561e280a862a4000a225ca4f09f9880d903616263d40000"),
        json!(["", "é", "a\u{2028}b", "\0\n\"\\", "😀", "abc", null])
    );
    // Half a character, as JavaScript can have one.
    assert_eq!(read("91a4f0908080"), json!(["\u{10000}"]));
    assert!(read("91a3eda080").to_string().contains('\u{fffd}'));
    assert_eq!(read("93c3c2c0"), json!([true, false, null]));
    assert_eq!(read("81a16181cd0102c0"), json!({"a": {"258": null}}));
}

#[test]
fn dates_of_all_sizes_are_read() {
    assert_eq!(read("d6ff00000001"), json!("1970-01-01T00:00:01.000Z"));
    assert_eq!(read("c70cff3b8b87c0ffffffffffffffff"), json!("1969-12-31T23:59:59.999Z"));
    // Far beyond what has a date.
    assert_eq!(to_json(&bytes("c70cff000000007fffffffffffffff")), Err(Malformed::Kind));
    assert!(to_json(&bytes("c70cff00000000000007dba8218000")).is_ok());
}

#[test]
fn what_is_written_reads_back() {
    let args = [r#"{"b":[1,-5,2.5,"x",null,true,{}],"a":{"_placeholder":true,"num":0}}"#.to_owned(), "[]".to_owned()];
    let attachments = [Bytes::from_static(b"bin")];
    let address = Address { rooms: rooms(&["one", "two"]), except: rooms(&["three"]) };
    let outgoing = Outgoing {
        namespace: "/messages",
        event: "greet",
        args: &args,
        attachments: &attachments,
        to: &address,
        volatile: true,
        from_log: true,
    };
    let written = wire::encode_broadcast("me", &outgoing).expect("JSON");
    let read = decode_broadcast(&written).expect("ours");
    assert_eq!((&*read.uid, &*read.namespace, &*read.event), ("me", "/messages", "greet"));
    assert_eq!((&*read.args, &*read.attachments, &read.to), (&args[..], &attachments[..], &address));
    assert!(read.volatile && read.from_log);
    for kind in [
        RequestKind::Join(address.clone(), rooms(&["a"])),
        RequestKind::Leave(address.clone(), rooms(&["a", "b"])),
        RequestKind::Disconnect(address.clone(), false),
    ] {
        let read = decode_request(wire::encode_request("me", &kind).as_bytes()).expect("ours");
        assert_eq!((read.kind, read.uid.as_deref()), (kind, Some("me")));
    }
}

/// A client may write something that looks like a placeholder; without an attachment it stays what it is.
#[test]
fn a_placeholder_without_an_attachment_is_data() {
    let mut out = Vec::new();
    let text = r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1,"x":2}]"#;
    msgpack::write_json(&mut out, text, &[]).expect("JSON");
    assert_eq!(to_json(&out).expect("ours"), (text.to_owned(), Vec::new()));
}

#[test]
fn what_is_no_message_is_refused() {
    let deep = [vec![0x91; MAX_DEPTH + 1], vec![0xc0]].concat();
    assert_eq!(to_json(&deep), Err(Malformed::Depth));
    assert_eq!(to_json(&[]), Err(Malformed::Length));
    assert_eq!(to_json(&[0xc0, 0xc0]), Err(Malformed::Length));
    // An announced length buys nothing.
    for announced in ["ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff"] {
        assert_eq!(to_json(&bytes(announced)), Err(Malformed::Length), "{announced}");
    }
    assert_eq!(to_json(&bytes("81c000")), Err(Malformed::Kind), "a key that is no text");
    assert_eq!(to_json(&bytes("d40500")), Err(Malformed::Kind), "an unknown extension");
    let many = [vec![0xdc, 0, 65], [0xc4, 0].repeat(65)].concat();
    assert_eq!(to_json(&many), Err(Malformed::Attachments));
    for foreign in [&b""[..], b"x", b"\x90", b"\xc0", b"{\"type\":0}", b"\x93\xa1a\x80\x80"] {
        assert!(decode_broadcast(foreign).is_err(), "{foreign:?}");
    }
    for foreign in [
        &b""[..],
        b"{}",
        b"{",
        b"{\"type\":10}",
        b"{\"type\":2}",
        b"{\"type\":6}",
        b"{\"type\":7}",
        b"{\"type\":\"0\"}",
        b"[0]",
        b"{\"type\":4,\"opts\":[1]}",
        b"{\"type\":0,\"rooms\":[{}]}",
        &[b'{', 0xff],
    ] {
        assert!(decode_request(foreign).is_err(), "{}", String::from_utf8_lossy(foreign));
    }
    let crowd = json!({"type": 0, "requestId": "a", "rooms": vec!["r"; MAX_ROOMS + 1]}).to_string();
    assert_eq!(decode_request(crowd.as_bytes()), Err(Malformed::TooLarge));
    assert_eq!(decode_broadcast(&vec![0; wire::MAX_MESSAGE_BYTES + 1]), Err(Malformed::TooLarge));
}

const RECORDED: &[&str] = &[
    "93a64c4e3848564783a47479706502a46461746193a362696ec40301020381a178c40104a36e7370a12f83a5726f6f6d7391a172a665786365707490a5666c61677380",
    "93a64c4e3848564783a47479706502a46461746194a47768656ed7ff1d5353006b0527e0c0cf0000000100000000a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    "7b22756964223a224c4e38485647222c2274797065223a322c226f707473223a7b22726f6f6d73223a5b22726f6f6d31225d2c22657863657074223a5b5d7d2c22726f6f6d73223a5b2261222c2262225d7d",
    "85a3756964a64c4e38485647a9726571756573744964a6475742666248a47479706507a67061636b657483a47479706502a46461746192a17101a36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f7574ccc8",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_message_causes_a_panic(
        which in 0..RECORDED.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut message = bytes(RECORDED[which]);
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        if is_cut {
            message.truncate(cut.index(message.len()));
        }
        // What it reads as does not matter; what is read at all is JSON.
        let _ = (decode_broadcast(&message).is_ok(), decode_request(&message).is_ok());
        if let Ok((json, _)) = to_json(&message) {
            prop_assert!(serde_json::from_str::<Value>(&json).is_ok(), "{}", json);
        }
    }

    #[test]
    fn any_json_reads_back(value in json_value()) {
        let text = value.to_string();
        let mut out = Vec::new();
        msgpack::write_json(&mut out, &text, &[]).expect("JSON");
        let (read, attachments) = to_json(&out).expect("ours");
        prop_assert!(attachments.is_empty());
        prop_assert_eq!(serde_json::from_str::<Value>(&read).expect("JSON"), value);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{0,40}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
