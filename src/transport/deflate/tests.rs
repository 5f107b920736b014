//! The codec by itself: what comes out is what went in, nothing beyond the limit, and once for all receivers; and each kind of offer.

use hyper::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};
use rand::RngExt as _;

use super::*;

const LIMIT: usize = 100_000;

fn repetitive(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| b"to be or not to be "[index % 19]).collect()
}

fn random(bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    rand::rng().fill(data.as_mut_slice());
    data
}

/// What another implementation makes of it, with a window as large as it can be and a flush of its choice.
fn foreign(data: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(most_compressed(data.len()));
    let mut deflater = Compress::new(Compression::best(), false);
    deflater.compress_vec(data, &mut compressed, flush).expect("compressed");
    compressed
}

#[test]
fn what_is_compressed_with_any_window_inflates_to_the_same() {
    for window_bits in SMALLEST_WINDOW..=LARGEST_WINDOW {
        for bytes in [30, 1024, 5_000, 70_000] {
            let data = repetitive(bytes);
            let compressed = deflate(&[], &data, window_bits).expect("smaller");
            assert!(!compressed.ends_with(&TAIL), "the tail is left out");
            let message = compressed.to_vec();
            drop(compressed);
            assert_eq!(*inflate(&message, LIMIT).expect("whole"), *data, "{window_bits} bits, {bytes} bytes");
            let marked = deflate(&[4], &data, window_bits).expect("smaller").to_vec();
            assert_eq!(inflate(&marked, LIMIT).expect("whole").split_first(), Some((&4, data.as_slice())));
        }
    }
}

/// Nothing may be left of what was given up, whatever the next message is.
#[test]
fn what_cannot_be_compressed_is_left_as_it_is_and_leaves_nothing_behind() {
    for bytes in [1, 2, 100, 1_000, 40_000, 300_000, 1_000] {
        let data = random(bytes);
        let compressed = deflate(&[], &data, 15).expect("there is room").to_vec();
        assert!(compressed.len() >= bytes);
        assert_eq!(*inflate(&compressed, bytes).expect("whole"), *data);
        assert_eq!(gzip(&random(bytes)), None);
        let data = repetitive(2_000);
        let compressed = deflate(&[], &data, 15).expect("smaller").to_vec();
        assert_eq!(*inflate(&compressed, LIMIT).expect("whole"), *data);
    }
}

#[test]
fn a_message_may_end_with_a_final_block_and_go_on_after_it() {
    let mut message = foreign(b"one, ", FlushCompress::Finish);
    message.extend(foreign(b"two", FlushCompress::Sync));
    message.truncate(message.len() - TAIL.len());
    assert_eq!(*inflate(&message, LIMIT).expect("whole"), *b"one, two");
    // RFC 7692, section 7.2.3.4, and an empty message.
    let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(*inflate(&final_block, LIMIT).expect("whole"), *b"Hello");
    assert_eq!(*inflate(&final_block[..7], LIMIT).expect("whole"), *b"Hello");
    assert_eq!(*inflate(&[0], LIMIT).expect("whole"), *b"");
}

#[test]
fn inflating_ends_at_the_limit() {
    let bomb = foreign(&vec![0; 10_000_000], FlushCompress::Sync);
    assert!(bomb.len() < 20_000);
    for limit in [0, 1, 64, 4096, LIMIT, 9_999_999] {
        assert_eq!(inflate(&bomb, limit).err(), Some(FrameError::TooLarge), "{limit}");
    }
    let mut output = Vec::new();
    let mut inflater = Decompress::new(false);
    assert_eq!(inflate_part(&mut inflater, &bomb, LIMIT, &mut output), Err(FrameError::TooLarge));
    assert_eq!((output.len(), output.capacity()), (LIMIT + 1, LIMIT + 1), "no memory beyond the limit either");
    assert_eq!(inflate(&bomb, 10_000_000).expect("exactly the limit").len(), 10_000_000);
}

#[test]
fn what_is_no_deflate_is_an_error_and_the_next_message_is_read() {
    // A block of a kind that does not exist, a length without its complement, a distance into nothing.
    for broken in [&[0x07_u8][..], &[0x00, 0x05, 0x00, 0x00, 0x00, b'x'], &[0x4b, 0x04, 0xa1, 0x7f, 0xff, 0xff]] {
        assert_eq!(inflate(broken, LIMIT).err(), Some(FrameError::Deflate), "{broken:x?}");
        let good = foreign(b"good", FlushCompress::Sync);
        assert_eq!(*inflate(&good, LIMIT).expect("whole"), *b"good");
    }
}

#[test]
fn the_largest_message_fits_in_what_may_come_compressed() {
    for bytes in [64, 1_000, LIMIT] {
        assert!(foreign(&random(bytes), FlushCompress::Sync).len() <= most_compressed(bytes));
    }
}

#[test]
fn receivers_with_the_same_window_share_one_compressed_form() {
    let (shared, data) = (Shared::default(), repetitive(3_000));
    let mut made = 0;
    let mut share = |window_bits, marker| {
        let deflate = Deflate { window_bits, threshold: 1024 };
        let frame = deflate.share(&shared, marker, &data, |data| {
            made += 1;
            Bytes::copy_from_slice(data)
        });
        frame.expect("smaller").as_ptr()
    };
    assert_eq!(share(15, &[]), share(15, &[]));
    assert_ne!(share(10, &[]), share(15, &[]));
    assert_ne!(share(15, &[4]), share(15, &[]));
    assert_eq!(share(15, &[4]), share(15, &[4]));
    assert_eq!(made, 3, "one for each window, one with the mark of version 3");
}

#[test]
fn what_is_below_the_threshold_or_not_made_smaller_is_not_compressed() {
    let deflate = Deflate { window_bits: 15, threshold: 1024 };
    let share = |data: &[u8]| deflate.share(&Shared::default(), &[], data, Bytes::copy_from_slice).is_some();
    assert_eq!([1023, 1024].map(|bytes| share(&repetitive(bytes))), [false, true]);
    assert!(!share(&random(5_000)));
}

#[test]
fn with_a_threshold_of_zero_everything_is_compressed() {
    let deflate = Deflate { window_bits: 15, threshold: 0 };
    for bytes in [0, 1, 5_000] {
        let data = random(bytes);
        let frame = deflate.share(&Shared::default(), &[], &data, Bytes::copy_from_slice).expect("compressed");
        assert_eq!(*inflate(&frame, bytes).expect("whole"), *data);
    }
}

#[test]
fn gzip_has_its_own_header_each_time() {
    for _ in 0..3 {
        let body = repetitive(5_000);
        let compressed = gzip(&body).expect("smaller");
        let mut output = Vec::with_capacity(10_000);
        Decompress::new_gzip(15).decompress_vec(&compressed, &mut output, FlushDecompress::Finish).expect("gzip");
        assert_eq!(output, body);
    }
}

// ---- negotiation ---------------------------------------------------------------------------------------------------------

fn answer_to(offers: &[&str]) -> Option<(u8, String)> {
    let mut headers = HeaderMap::new();
    for offer in offers {
        headers.append(SEC_WEBSOCKET_EXTENSIONS, offer.parse().expect("a header"));
    }
    let (deflate, answer) = negotiate(&headers, 1024)?;
    let answer = answer.to_str().expect("ASCII");
    let prefix = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    Some((deflate.window_bits, answer.strip_prefix(prefix).expect("always so").to_owned()))
}

#[test]
fn an_offer_that_can_be_met_is_taken() {
    for (offer, window_bits, limits) in [
        ("permessage-deflate", 15, ""),
        ("permessage-deflate; client_max_window_bits", 15, ""),
        ("permessage-deflate;server_no_context_takeover ; client_no_context_takeover", 15, ""),
        ("permessage-deflate; server_max_window_bits=10", 10, "; server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits = \"15\"", 15, "; server_max_window_bits=15"),
        ("permessage-deflate; client_max_window_bits=8", 15, "; client_max_window_bits=8"),
        (
            "permessage-deflate; client_max_window_bits=12; server_max_window_bits=9; client_no_context_takeover",
            9,
            "; server_max_window_bits=9; client_max_window_bits=12",
        ),
    ] {
        assert_eq!(answer_to(&[offer]), Some((window_bits, limits.to_owned())), "{offer}");
    }
}

#[test]
fn an_offer_that_cannot_be_met_or_is_not_understood_is_declined() {
    for offer in [
        "",
        "x-webkit-deflate-frame",
        "permessage-bzip2",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate;",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=9.5",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=\"10",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
    ] {
        assert_eq!(answer_to(&[offer]), None, "{offer}");
    }
}

#[test]
fn the_first_offer_that_can_be_met_counts_in_one_header_or_several() {
    let taken = Some((10, "; server_max_window_bits=10".to_owned()));
    let offers = [
        "x-other; a=\"b, permessage-deflate; c\"",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "permessage-deflate",
    ];
    assert_eq!(answer_to(&offers), taken);
    assert_eq!(answer_to(&[&offers.join(", ")]), taken);
    assert_eq!(answer_to(&offers[..2]), None);
}
