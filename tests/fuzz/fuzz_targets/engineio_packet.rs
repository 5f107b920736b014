//! One frame: what is read as a packet is the same packet when written and read again.
#![no_main]

use hobnob::protocol::engineio::{Packet, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for version in [Version::V3, Version::V4] {
        if let Ok(packet) = Packet::decode_binary(version, data) {
            let Packet::Binary(message) = &packet else { panic!("a binary frame is a binary message") };
            let mut frame = Vec::new();
            Packet::encode_binary(version, message, &mut frame);
            assert_eq!(frame, data);
        }
        let Ok(text) = std::str::from_utf8(data) else { continue };
        if let Ok(packet) = Packet::decode_text(version, text) {
            let mut again = Vec::new();
            packet.encode_text(version, &mut again);
            let again = std::str::from_utf8(&again).expect("the text form is text");
            assert_eq!(Packet::decode_text(version, again).as_ref(), Ok(&packet));
            assert_eq!(packet.clone().into_owned(), packet);
        }
    }
});
