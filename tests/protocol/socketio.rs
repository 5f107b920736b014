//! Fixtures of Socket.IO packets without attachments, protocol revisions 4 and 5.

use hobnob::protocol::{
    engineio::Version,
    socketio::{
        Body, DecodeError, Limits, Packet, PacketType,
        Revision::{self, V4, V5},
        decode, encode_ack, encode_connect, encode_connect_error, encode_disconnect, encode_event,
        packet::MAX_ARGUMENTS,
    },
};

/// What a client sends, and what it means in the words of [`describe`].
const FROM_CLIENTS: &[(Revision, &str, &str)] = &[
    (V5, "0", "connect /"),
    (V5, "0/custom", "connect /custom"),
    (V5, "0/custom,", "connect /custom"),
    (V5, r#"0{"token":"t"}"#, r#"connect / {"token":"t"}"#),
    (V5, r#"0/custom,{"token":"t"}"#, r#"connect /custom {"token":"t"}"#),
    (V5, "0/,", "connect /"),
    // Every digit behind the namespace is the id, for every type.
    (V5, "01", "connect / #1"),
    // Revision 4 passes its token in the namespace; in revision 5 the name is literal.
    (V4, "0/ns?token=a&b=c,", "connect /ns ?token=a&b=c"),
    (V4, "0/ns?token=a", "connect /ns ?token=a"),
    (V4, "0/?", "connect / ?"),
    (V5, "0/ns?token=a,", "connect /ns?token=a"),
    (V4, r#"2/ns?token=a,["x"]"#, "event /ns ?token=a x"),
    (V5, "1", "disconnect /"),
    (V5, "1/custom,", "disconnect /custom"),
    (V5, r#"2["hello"]"#, "event / hello"),
    (V5, r#"2["hello",1,"2",{"3":[4]}]"#, r#"event / hello 1 "2" {"3":[4]}"#),
    (V5, r#"2/admin,7["hello",null]"#, "event /admin #7 hello null"),
    (V5, r#"20["hello"]"#, "event / #0 hello"),
    (V5, r#"29007199254740991["hello"]"#, "event / #9007199254740991 hello"),
    (V5, r#"2[""]"#, "event / "),
    (V5, "2[5,6]", "event / 5 6"),
    (V5, "2[-1.5e3]", "event / -1.5e3"),
    (V5, r#"2["h\u00e9\n\ud83d\ude00"]"#, "event / hé\n😀"),
    (V5, r#"2["error"]"#, "event / error"),
    (V5, r#"2[ "a" , 1 ] "#, "event / a 1"),
    // A comma in the payload is none of the namespace's.
    (V5, r#"2["a","/b,c"]"#, r#"event / a "/b,c""#),
    (V5, "312[]", "ack / #12"),
    (V5, r#"3/admin,12["a",{}]"#, r#"ack /admin #12 "a" {}"#),
    // Arguments are handed on as they came: what JavaScript rounds, and half characters.
    (
        V5,
        r#"2["a",1e400,12345678901234567890,"\ud83d",{"k":1,"k":2}]"#,
        r#"event / a 1e400 12345678901234567890 "\ud83d" {"k":1,"k":2}"#,
    ),
    (V5, r#"2["a",{"__proto__":{}}]"#, r#"event / a {"__proto__":{}}"#),
];

const REFUSED: &[(Revision, &str, DecodeError)] = &[
    (V5, "", DecodeError::UnknownType),
    (V5, "7", DecodeError::UnknownType),
    (V5, "abc", DecodeError::UnknownType),
    (V5, "é", DecodeError::UnknownType),
    (V5, r#"4{"message":"x"}"#, DecodeError::UnknownType),
    (V4, r#"4"x""#, DecodeError::UnknownType),
    (V5, "0[]", DecodeError::Payload),
    (V5, "0null", DecodeError::Payload),
    (V5, r#"0"token""#, DecodeError::Payload),
    (V5, "0{", DecodeError::Payload),
    (V5, "0{}{}", DecodeError::Payload),
    (V5, "1{}", DecodeError::Payload),
    (V5, "1/custom,[]", DecodeError::Payload),
    (V5, "2", DecodeError::Payload),
    (V5, "2/custom", DecodeError::Payload),
    (V5, "2{}", DecodeError::Payload),
    (V5, "2abc", DecodeError::Payload),
    (V5, r#"2"hello""#, DecodeError::Payload),
    (V5, r#"2["a""#, DecodeError::Payload),
    (V5, r#"2["a",]"#, DecodeError::Payload),
    (V5, r#"2["a"]x"#, DecodeError::Payload),
    (V5, r#"2["a"]["b"]"#, DecodeError::Payload),
    (V5, r#"2["a",NaN]"#, DecodeError::Payload),
    (V5, r#"2["a",01]"#, DecodeError::Payload),
    (V5, "2[\"a\",\"\u{1}\"]", DecodeError::Payload),
    (V5, "2[]", DecodeError::EventName),
    (V5, "2[null]", DecodeError::EventName),
    (V5, "2[true]", DecodeError::EventName),
    (V5, r#"2[{"toString":"x"}]"#, DecodeError::EventName),
    (V5, r#"2[["a"]]"#, DecodeError::EventName),
    (V5, r#"2["\ud83d"]"#, DecodeError::EventName),
    (V5, r#"2["connect"]"#, DecodeError::EventName),
    (V5, r#"2["connect_error"]"#, DecodeError::EventName),
    (V5, r#"2["disconnect"]"#, DecodeError::EventName),
    (V5, r#"2["disconnecting"]"#, DecodeError::EventName),
    (V5, r#"2["newListener"]"#, DecodeError::EventName),
    (V5, r#"2["removeListener"]"#, DecodeError::EventName),
    (V5, r#"2["\u0063onnect"]"#, DecodeError::EventName),
    (V5, r#"29007199254740992["a"]"#, DecodeError::Id),
    (V5, r#"299999999999999999999999999["a"]"#, DecodeError::Id),
    (V5, r#"2-1["a"]"#, DecodeError::Payload),
    (V5, r#"21.5["a"]"#, DecodeError::Payload),
    (V5, r#"2abc["message-with-ack",1]"#, DecodeError::Payload),
    (V5, "3[]", DecodeError::Id),
    (V5, "31", DecodeError::Payload),
    (V5, "31{}", DecodeError::Payload),
    // Attachments need a decoder that waits for them.
    (V5, r#"51-["a",{"_placeholder":true,"num":0}]"#, DecodeError::Attachments),
    (V5, r#"50-["a"]"#, DecodeError::Attachments),
    (V5, r#"5["a"]"#, DecodeError::Attachments),
];

#[test]
fn packets_of_clients_are_understood() {
    for (revision, wire, meaning) in FROM_CLIENTS {
        let packet = decode(*revision, wire, &Limits::default());
        assert_eq!(packet.map(|packet| describe(&packet)).as_deref(), Ok(*meaning), "{wire}");
    }
}

#[test]
fn what_no_client_sends_is_refused() {
    for (revision, wire, error) in REFUSED {
        assert_eq!(decode(*revision, wire, &Limits::default()).map(|_| ()), Err(*error), "{wire}");
    }
}

#[test]
fn events_and_acks_look_as_clients_expect_them() {
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    assert_eq!(written(|out| encode_event(out, "/", None, 0, "hello", &[])), r#"2["hello"]"#);
    assert_eq!(
        written(|out| encode_event(out, "/admin", Some(7), 0, "a\"\n", &["1", "{}"])),
        r#"2/admin,7["a\"\n",1,{}]"#
    );
    assert_eq!(
        written(|out| encode_event(out, "/", None, 1, "a", &[placeholder])),
        r#"51-["a",{"_placeholder":true,"num":0}]"#
    );
    assert_eq!(written(|out| encode_ack(out, "/", 0, 0, &[])), "30[]");
    assert_eq!(written(|out| encode_ack(out, "/admin", 12, 0, &["1", r#""a""#])), r#"3/admin,12[1,"a"]"#);
    assert_eq!(
        written(|out| encode_ack(out, "/admin", 12, 1, &[placeholder])),
        r#"61-/admin,12[{"_placeholder":true,"num":0}]"#
    );
}

#[test]
fn joining_and_leaving_look_as_clients_expect_them() {
    assert_eq!(written(|out| encode_connect(out, V5, "/", "s", None)), r#"0{"sid":"s"}"#);
    assert_eq!(written(|out| encode_connect(out, V5, "/admin", "s", None)), r#"0/admin,{"sid":"s"}"#);
    assert_eq!(written(|out| encode_connect(out, V5, "/", "s", Some("p"))), r#"0{"sid":"s","pid":"p"}"#);
    assert_eq!(written(|out| encode_connect(out, V4, "/", "s", None)), "0");
    assert_eq!(written(|out| encode_connect(out, V4, "/admin", "s", None)), "0/admin,");
    assert_eq!(written(|out| encode_connect_error(out, V5, "/", "no", None)), r#"4{"message":"no"}"#);
    assert_eq!(
        written(|out| encode_connect_error(out, V5, "/admin", "no", Some(r#"{"code":1}"#))),
        r#"4/admin,{"message":"no","data":{"code":1}}"#
    );
    assert_eq!(written(|out| encode_connect_error(out, V4, "/", "no \"way\"", Some("{}"))), r#"4"no \"way\"""#);
    assert_eq!(written(|out| encode_connect_error(out, V4, "/admin", "no", None)), r#"4/admin,"no""#);
    assert_eq!(written(|out| encode_disconnect(out, "/")), "1");
    assert_eq!(written(|out| encode_disconnect(out, "/admin")), "1/admin,");
}

#[test]
fn names_have_limits_in_bytes() {
    let limits = Limits { event_name_bytes: 4, namespace_bytes: 4, ..Limits::default() };
    let read = |revision, wire: &str| decode(revision, wire, &limits).map(|packet| describe(&packet));
    assert_eq!(read(V5, r#"2["éé"]"#).as_deref(), Ok("event / éé"));
    assert_eq!(read(V5, r#"2["ééx"]"#), Err(DecodeError::EventName));
    assert_eq!(read(V5, r#"2["\u00e9\u00e9"]"#).as_deref(), Ok("event / éé"), "escapes are resolved first");
    assert_eq!(read(V5, "2[12345]"), Err(DecodeError::EventName));
    assert_eq!(read(V5, "0/abc,").as_deref(), Ok("connect /abc"));
    assert_eq!(read(V5, "0/abcd,"), Err(DecodeError::Namespace));
    assert_eq!(read(V4, "0/abc?token=long,").as_deref(), Ok("connect /abc ?token=long"), "a token may be long");
    assert_eq!(read(V5, "0/abc?token=long,"), Err(DecodeError::Namespace));
}

#[test]
fn nesting_is_limited_and_brackets_in_strings_do_not_count() {
    let limits = Limits::default();
    let nested = |levels: usize| format!(r#"2["a",{}{}]"#, "[".repeat(levels), "]".repeat(levels));
    assert!(decode(V5, &nested(63), &limits).is_ok(), "the array of the arguments is the first level");
    assert_eq!(decode(V5, &nested(64), &limits).map(|_| ()), Err(DecodeError::Depth));
    let objects = format!("0{}1{}", r#"{"a":"#.repeat(65), "}".repeat(65));
    assert_eq!(decode(V5, &objects, &limits).map(|_| ()), Err(DecodeError::Depth));

    let in_string = format!(r#"2["a","\"{}\\"]"#, "[{".repeat(100));
    assert!(decode(V5, &in_string, &limits).is_ok());
    let siblings = format!(r#"2["a",[{}[]]]"#, "[],{},".repeat(100));
    assert!(decode(V5, &siblings, &limits).is_ok());
    let behind_quote = format!(r#"2["a","\\",{}{}]"#, "[".repeat(64), "]".repeat(64));
    assert_eq!(decode(V5, &behind_quote, &limits).map(|_| ()), Err(DecodeError::Depth));
}

#[test]
fn arguments_are_limited_in_number() {
    let limits = Limits::default();
    let event = |args: usize| format!(r#"2["a"{}]"#, ",1".repeat(args));
    let ack = |args: usize| format!("31[0{}]", ",1".repeat(args - 1));
    assert!(decode(V5, &event(MAX_ARGUMENTS), &limits).is_ok());
    assert!(decode(V5, &ack(MAX_ARGUMENTS), &limits).is_ok());
    assert_eq!(decode(V5, &event(MAX_ARGUMENTS + 1), &limits).map(|_| ()), Err(DecodeError::Payload));
    assert_eq!(decode(V5, &ack(MAX_ARGUMENTS + 1), &limits).map(|_| ()), Err(DecodeError::Payload));
}

#[test]
fn revisions_follow_the_version_of_engine_io_and_types_have_one_digit() {
    assert_eq!([Version::V3, Version::V4].map(Revision::from), [V4, V5]);
    let known: Vec<u8> = (0..=u8::MAX).filter(|&digit| PacketType::from_digit(digit).is_some()).collect();
    assert_eq!(known, b"0123456");
    assert!(known.iter().all(|&digit| PacketType::from_digit(digit).is_some_and(|kind| kind.digit() == digit)));
}

/// What an encoder appends; what was in the buffer must stay.
fn written(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"kept".to_vec();
    encode(&mut out);
    let appended = out.strip_prefix(b"kept").expect("the buffer is the caller's");
    String::from_utf8(appended.to_vec()).expect("a packet is text")
}

/// A packet in one line: type, namespace, query, id, event name, JSON.
pub(crate) fn describe(packet: &Packet<'_>) -> String {
    let (kind, name, json) = match &packet.body {
        Body::Connect(auth) => ("connect", None, auth.iter().copied().collect()),
        Body::Disconnect => ("disconnect", None, Vec::new()),
        Body::Event { name, args } => ("event", Some(&**name), args.clone()),
        Body::Ack(args) => ("ack", None, args.clone()),
    };
    let mut words = vec![kind.to_owned(), packet.namespace.to_owned()];
    words.extend(packet.query.map(|query| format!("?{query}")));
    words.extend(packet.id.map(|id| format!("#{id}")));
    words.extend(name.map(str::to_owned));
    words.extend(json.iter().map(|json| json.get().to_owned()));
    words.join(" ")
}
