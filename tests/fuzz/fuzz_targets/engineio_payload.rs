//! One polling body in every framing: it ends, and what is read survives being written and read again.
#![no_main]

use hobnob::protocol::engineio::{Version, payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for (version, is_binary) in [(Version::V3, false), (Version::V3, true), (Version::V4, false), (Version::V4, true)] {
        // A packet takes a byte at least, and one error may follow the last packet.
        let most = body.len() + 1;
        let mut items = payload::decode(version, body, is_binary);
        let read: Vec<_> = items.by_ref().take(most + 1).collect();
        assert!((1..=most).contains(&read.len()));
        assert_eq!(items.next(), None);
        assert!(read.iter().rev().skip(1).all(Result::is_ok), "only the last item is an error");

        let packets: Vec<_> = read.into_iter().filter_map(Result::ok).collect();
        if packets.is_empty() {
            continue;
        }
        for base64_only in [false, true] {
            let encoded = payload::encode(version, &packets, base64_only);
            let again: Result<Vec<_>, _> = payload::decode(version, &encoded.body, encoded.binary).collect();
            assert_eq!(again.as_ref(), Ok(&packets));
        }
    }
});
