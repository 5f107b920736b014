//! Fixtures of binary packets: the text that announces attachments, and what must follow it.

use bytes::Bytes;
use hobnob::protocol::socketio::{
    Assembled, DecodeError, Decoder, Limits,
    Revision::{V4, V5},
};

use crate::socketio::describe;

#[test]
fn a_packet_is_complete_with_its_last_attachment() {
    let mut decoder = decoder();
    let wire = r#"52-/admin,7["up",{"a":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]"#;
    assert!(decoder.handle_text(wire).expect("valid").is_none());
    assert_eq!(decoder.pending_bytes(), wire.len());
    assert!(decoder.handle_binary(Bytes::from_static(b"one")).expect("announced").is_none());
    assert_eq!(decoder.pending_bytes(), wire.len() + 3);
    let assembled = decoder.handle_binary(Bytes::from_static(b"")).expect("announced").expect("complete");
    assert_eq!(assembled.attachments, ["one", ""]);
    let meaning = r#"event /admin #7 up {"a":{"_placeholder":true,"num":1}} {"_placeholder":true,"num":0}"#;
    assert_eq!(describe(&assembled.packet()), meaning);
    assert_eq!(decoder.pending_bytes(), 0);
}

#[test]
fn an_ack_may_have_attachments_and_a_namespace_its_query() {
    let assembled = assemble_v4(r#"61-/ns?token=a,3[{"_placeholder":true,"num":0}]"#);
    assert_eq!(describe(&assembled.packet()), r#"ack /ns ?token=a #3 {"_placeholder":true,"num":0}"#);
}

#[test]
fn packets_without_attachments_pass_through() {
    let mut decoder = decoder();
    let packet = decoder.handle_text(r#"2["a",{"_placeholder":true,"num":9}]"#).expect("valid").expect("complete");
    assert_eq!(describe(&packet), r#"event / a {"_placeholder":true,"num":9}"#, "just an object here");
    assert_eq!(decoder.pending_bytes(), 0);
}

#[test]
fn an_attachment_nobody_announced_is_refused() {
    let mut decoder = decoder();
    assert_eq!(decoder.handle_binary(Bytes::new()).map(|_| ()), Err(DecodeError::UnannouncedAttachment));
    assert!(decoder.handle_text(r#"51-["a"]"#).expect("valid").is_none());
    assert!(decoder.handle_binary(Bytes::new()).expect("announced").is_some(), "it needs no placeholder");
    assert_eq!(decoder.handle_binary(Bytes::new()).map(|_| ()), Err(DecodeError::UnannouncedAttachment));
}

#[test]
fn text_between_attachments_is_refused_and_nothing_is_kept() {
    let mut decoder = decoder();
    assert!(decoder.handle_text(r#"52-["a"]"#).expect("valid").is_none());
    assert!(decoder.handle_binary(Bytes::from_static(b"one")).expect("announced").is_none());
    assert_eq!(decoder.handle_text(r#"2["b"]"#).map(|_| ()), Err(DecodeError::MissingAttachment));
    assert_eq!(decoder.pending_bytes(), 0);
}

#[test]
fn the_number_of_attachments_is_limited_before_any_is_kept() {
    for wire in [r#"50-["a"]"#, r#"511-["a"]"#, r#"5-["a"]"#, r#"5-1-["a"]"#, r#"51.0-["a"]"#, r#"51["a"]"#] {
        assert_refused(wire, DecodeError::Attachments);
    }
    assert_refused(r#"599999999999999999999999-["a"]"#, DecodeError::Attachments);
    assert!(decoder().handle_text(r#"510-["a"]"#).expect("10 are allowed").is_none());
    assert!(decoder().handle_text(r#"501-["a"]"#).expect("a one").is_none());
}

#[test]
fn a_header_is_checked_like_any_packet() {
    assert_refused("51-[]", DecodeError::EventName);
    assert_refused(r#"51-["connect"]"#, DecodeError::EventName);
    assert_refused(r#"51-["a"]x"#, DecodeError::Payload);
    assert_refused("61-[]", DecodeError::Id);
    assert_refused("01-{}", DecodeError::Payload);
    assert_refused(&format!(r#"51-["a",{}{}]"#, "[".repeat(64), "]".repeat(64)), DecodeError::Depth);
}

#[test]
fn a_placeholder_has_the_index_of_an_attachment() {
    let broken = [
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":-0}"#,
        r#"{"_placeholder":true,"num":0.5}"#,
        r#"{"_placeholder":true,"num":1e-9}"#,
        r#"{"_placeholder":true,"num":99999999999999999999}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true,"num":"splice"}"#,
        r#"{"_placeholder":true,"num":null}"#,
        r#"{"_placeholder":true,"num":[0]}"#,
        r#"{"_placeholder":true,"num":{"num":0}}"#,
        r#"{"num":1,"_placeholder":true}"#,
        r#"{"num":1 , "x":{"a":[1]}, "_placeholder" : true }"#,
        // A receiver resolves escapes, and takes the last or the first of repeated keys.
        r#"{"\u005fplaceholder":true,"num":1}"#,
        r#"{"_placeholder":true,"n\u0075m":0,"num":1}"#,
        r#"{"_placeholder":true,"num":1,"num":0}"#,
        r#"{"_placeholder":true,"num":0,"num":[0]}"#,
        r#"{"_placeholder":false,"_placeholder":true,"num":1}"#,
        r#"[[{"a":{"_placeholder":true,"num":1}}]]"#,
    ];
    for placeholder in broken {
        assert_refused(&format!(r#"51-["a",{placeholder}]"#), DecodeError::Placeholder);
    }
}

#[test]
fn what_only_looks_like_a_placeholder_is_data() {
    let fine = [
        r#"{"_placeholder":true,"num":0}"#,
        r#"{ "num" : 0 , "_placeholder" : true , "more" : [ 1 ] }"#,
        r#"{"_placeholder":false,"num":9}"#,
        r#"{"_placeholder":"true","num":9}"#,
        r#"{"_placeholder":1,"num":9}"#,
        r#"{"_placeholder":[true],"num":9}"#,
        r#"{"_placeholder":{"x":true},"num":9}"#,
        r#"{"num":9}"#,
        r#"{"x":"_placeholder","y":true,"num":9}"#,
        r#"["_placeholder",true,"num",9]"#,
        r#""{\"_placeholder\":true,\"num\":9}""#,
        r#"{"\ud83d":"\ud83d","\\":"\\\"","num":9}"#,
    ];
    for json in fine {
        let assembled = assemble_v4(&format!(r#"51-["a",{json}]"#));
        assert_eq!(describe(&assembled.packet()), format!("event / a {json}"));
    }
}

fn decoder() -> Decoder {
    Decoder::new(V5, Limits::default())
}

fn assemble_v4(wire: &str) -> Assembled {
    let mut decoder = Decoder::new(V4, Limits::default());
    assert!(decoder.handle_text(wire).expect(wire).is_none());
    decoder.handle_binary(Bytes::from_static(b"one")).expect("announced").expect("complete")
}

fn assert_refused(wire: &str, error: DecodeError) {
    let mut decoder = decoder();
    assert_eq!(decoder.handle_text(wire).map(|_| ()), Err(error), "{wire}");
    assert_eq!(decoder.pending_bytes(), 0, "{wire}");
}
