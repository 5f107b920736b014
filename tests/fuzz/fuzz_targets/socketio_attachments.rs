//! The messages of one connection, separated by 0xff; those that begin with `b` are binary.
//!
//! Checks the state between messages, and the placeholders against a full JSON parser.
#![no_main]

use bytes::Bytes;
use hobnob::protocol::socketio::{Assembled, Body, Decoder, Limits, Revision};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    for revision in [Revision::V4, Revision::V5] {
        let mut decoder = Decoder::new(revision, Limits::default());
        for message in data.split(|&byte| byte == 0xff) {
            let is_waiting = if let Some(attachment) = message.strip_prefix(b"b") {
                let assembled = decoder.handle_binary(Bytes::copy_from_slice(attachment));
                if let Ok(Some(assembled)) = &assembled {
                    check(assembled);
                }
                matches!(assembled, Ok(None))
            } else if let Ok(text) = std::str::from_utf8(message) {
                matches!(decoder.handle_text(text), Ok(None))
            } else {
                continue;
            };
            assert_eq!(is_waiting, decoder.pending_bytes() > 0);
        }
    }
});

fn check(assembled: &Assembled) {
    let attachments = assembled.attachments.len();
    assert!(attachments <= Limits::default().attachments);
    let args = match assembled.packet().body {
        Body::Event { args, .. } | Body::Ack(args) => args,
        Body::Connect(_) | Body::Disconnect => return assert_eq!(attachments, 0),
    };
    if attachments == 0 {
        // A packet in MessagePack: then it is an object like any other.
        return;
    }
    for arg in args {
        // Lone surrogates and numbers like 1e400 are handed on, but have no `Value`.
        if let Ok(value) = serde_json::from_str(arg.get()) {
            check_placeholders(&value, attachments);
        }
    }
}

fn check_placeholders(value: &Value, attachments: usize) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| check_placeholders(element, attachments)),
        Value::Object(fields) => {
            if fields.get("_placeholder") == Some(&Value::Bool(true)) {
                let index = fields.get("num").and_then(Value::as_u64).expect("an index");
                assert!(usize::try_from(index).is_ok_and(|index| index < attachments));
            }
            fields.values().for_each(|field| check_placeholders(field, attachments));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
