//! What the reader takes, what it refuses and with which reason.

use super::*;

const LIMIT: usize = 1000;

fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).expect("below 126")),
        long => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&u16::try_from(long).expect("test payloads are short").to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Reads everything in `input`; each message becomes a line.
fn read_all(reader: &mut FrameReader, mut input: Vec<u8>) -> Result<Vec<String>, FrameError> {
    let mut lines = Vec::new();
    let mut rest = input.as_mut_slice();
    loop {
        let (used, line) = reader.read(rest, LIMIT, |incoming| format!("{incoming:?}"))?;
        lines.extend(line);
        if used == 0 {
            return Ok(lines);
        }
        rest = &mut rest[used..];
    }
}

#[test]
fn messages_fragments_and_control_frames_come_out_in_order() {
    let mut input = client_frame(0x81, "héllo".as_bytes());
    input.extend(client_frame(0x01, "a\u{20ac}".as_bytes().get(..2).expect("cut inside a character")));
    input.extend(client_frame(0x89, b"now"));
    input.extend(client_frame(0x80, "a\u{20ac}".as_bytes().get(2..).expect("the rest")));
    input.extend(client_frame(0x82, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    let lines = read_all(&mut FrameReader::default(), input).expect("all legal");
    assert_eq!(
        lines,
        ["Text(\"héllo\")", "Ping([110, 111, 119])", "Text(\"a€\")", "Binary([1, 2, 3, 4, 5, 6, 7, 8, 9])"]
    );
}

#[test]
fn an_incomplete_frame_is_waited_for() {
    let whole = client_frame(0x81, &[b'x'; 300]);
    for cut in 0..whole.len() {
        let mut reader = FrameReader::default();
        let mut start = whole.get(..cut).expect("within").to_vec();
        assert_eq!(reader.read(&mut start, LIMIT, |_| ()), Ok((0, None)), "cut at {cut}");
    }
}

#[test]
fn what_breaks_the_protocol_is_told_apart() {
    let cases: [(Vec<u8>, FrameError); 9] = [
        (vec![0x81, 0x01, b'x'], FrameError::Protocol),
        (client_frame(0xc1, b"x"), FrameError::Protocol),
        (client_frame(0x83, b"x"), FrameError::Protocol),
        (client_frame(0x80, b"x"), FrameError::Protocol),
        (client_frame(0x09, b"x"), FrameError::Protocol),
        (client_frame(0x89, &[0; 126]), FrameError::Protocol),
        (client_frame(0x88, &[0]), FrameError::Protocol),
        (client_frame(0x81, &[0xff]), FrameError::Utf8),
        (client_frame(0x82, &[0; LIMIT + 1]), FrameError::TooLarge),
    ];
    for (input, error) in cases {
        assert_eq!(read_all(&mut FrameReader::default(), input.clone()), Err(error), "{input:x?}");
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_its_payload_arrives() {
    for length in [LIMIT as u64 + 1, 1 << 40, 1 << 63, u64::MAX] {
        let mut header = vec![0x82, 0x80 | 0x7f];
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        assert_eq!(read_all(&mut FrameReader::default(), header), Err(FrameError::TooLarge));
    }
}

#[test]
fn the_limit_and_the_fragment_count_hold_for_the_whole_message() {
    let mut input = client_frame(0x02, &[0; 600]);
    input.extend(client_frame(0x80, &[0; 401]));
    assert_eq!(read_all(&mut FrameReader::default(), input), Err(FrameError::TooLarge));
    let mut input = client_frame(0x02, &[]);
    for _ in 0..MAX_FRAGMENTS {
        input.extend(client_frame(0x00, &[]));
    }
    assert_eq!(read_all(&mut FrameReader::default(), input), Err(FrameError::Protocol));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(256))]

    #[test]
    fn whatever_arrives_is_read_to_an_end_without_a_panic(input: Vec<u8>, limit in 0_usize..200) {
        let (mut reader, mut input, mut used) = (FrameReader::default(), input, 0);
        while let Ok((count @ 1.., _)) = reader.read(&mut input[used..], limit, |_| ()) {
            used += count;
        }
        proptest::prop_assert!(used <= input.len());
    }

    #[test]
    fn a_message_in_any_fragments_is_read_as_it_was_sent(parts in proptest::collection::vec(".{0,40}", 1..6)) {
        let last = parts.len() - 1;
        let frames = parts.iter().enumerate().map(|(index, part)| {
            let first = u8::from(index == 0) | (u8::from(index == last) << 7);
            client_frame(first, part.as_bytes())
        });
        let lines = read_all(&mut FrameReader::default(), frames.flatten().collect()).expect("all legal");
        proptest::prop_assert_eq!(lines, [format!("Text({:?})", parts.concat())]);
    }
}

#[test]
fn headers_of_every_length_are_written_in_front_of_the_payload() {
    for (length, header_bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
        let mut room = [0; MAX_HEADER_BYTES];
        let start = write_header(&mut room, OpCode::Data(Data::Text), length);
        assert_eq!(MAX_HEADER_BYTES - start, header_bytes);
        assert_eq!(room[start], 0x81);
    }
}

#[test]
fn text_that_cannot_become_utf8_is_refused_with_its_fragment() {
    let mut reader = FrameReader::default();
    assert_eq!(read_all(&mut reader, client_frame(0x01, "\u{20ac}".as_bytes().get(..2).expect("a part"))), Ok(vec![]));
    assert_eq!(read_all(&mut reader, client_frame(0x00, b"x")), Err(FrameError::Utf8));
}

#[test]
fn more_fragments_are_allowed_for_more_bytes() {
    let mut input = client_frame(0x02, &[1; 32]);
    for _ in 0..MAX_FRAGMENTS {
        input.extend(client_frame(0x00, &[1; 32]));
    }
    let mut reader = FrameReader::default();
    let mut rest = input.as_mut_slice();
    while let Ok((used @ 1.., None)) =
        reader.read(rest, 1 << 20, |incoming| assert!(matches!(incoming, Incoming::Ping(_))))
    {
        rest = &mut rest[used..];
    }
    assert!(rest.is_empty(), "all of them are taken");
}

#[test]
fn the_code_of_a_close_frame_is_handed_on() {
    let mut input = client_frame(0x88, &[0x0f, 0xa0, b'o', b'k']);
    assert_eq!(
        FrameReader::default().read(&mut input, LIMIT, |incoming| format!("{incoming:?}")).map(|(_, close)| close),
        Ok(Some("Close(Some(4000))".to_owned()))
    );
}

/// "Hello" as RFC 7692, section 7.2.3, has it.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn a_compressed_message_is_read_whole_or_in_fragments_when_that_was_agreed() {
    let mut input = client_frame(0xc1, &HELLO);
    input.extend(client_frame(0x41, &HELLO[..3]));
    input.extend(client_frame(0x89, b""));
    input.extend(client_frame(0x80, &HELLO[3..]));
    input.extend(client_frame(0x81, b"plain"));
    let lines = read_all(&mut FrameReader::new(true), input.clone()).expect("all legal");
    assert_eq!(lines, ["Text(\"Hello\")", "Ping([])", "Text(\"Hello\")", "Text(\"plain\")"]);
    assert_eq!(read_all(&mut FrameReader::new(false), input), Err(FrameError::Protocol));
    for first in [0xc9, 0xc8, 0xca, 0xe1, 0xd1] {
        assert_eq!(read_all(&mut FrameReader::new(true), client_frame(first, b"")), Err(FrameError::Protocol));
    }
    let mut input = client_frame(0x41, &HELLO[..3]);
    input.extend(client_frame(0xc0, &HELLO[3..]));
    assert_eq!(read_all(&mut FrameReader::new(true), input), Err(FrameError::Protocol));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(256))]

    #[test]
    fn compressed_garbage_is_read_to_an_end_within_the_limit(payload in proptest::collection::vec(proptest::num::u8::ANY, 0..120), limit in 0_usize..200) {
        let mut input = client_frame(0xc2, &payload);
        let read = FrameReader::new(true).read(&mut input, limit, |incoming| match incoming {
            Incoming::Binary(data) => data.len(),
            _ => usize::MAX,
        });
        match read {
            Ok((_, bytes)) => proptest::prop_assert!(bytes.is_some_and(|bytes| bytes <= limit)),
            Err(error) => proptest::prop_assert!(matches!(error, FrameError::Deflate | FrameError::TooLarge)),
        }
    }
}

/// A million frames, most of them broken somewhere, cut and joined at any byte, on connections with and without compression.
#[test]
fn a_million_mutated_frames_end_without_a_panic_and_in_bounded_memory() {
    const FRAMES: usize = 1_000_000;
    const LONGEST: usize = 400;
    let bases: Vec<Vec<u8>> = vec![
        client_frame(0x81, "héllo".as_bytes()),
        client_frame(0x82, &[7; 200]),
        client_frame(0x01, b"begin"),
        client_frame(0x00, b"go on"),
        client_frame(0x80, b"end"),
        client_frame(0xc1, &HELLO),
        client_frame(0x41, &HELLO[..4]),
        client_frame(0x80, &HELLO[4..]),
        client_frame(0x89, b"ping"),
        client_frame(0x88, &[3, 232]),
    ];
    // Xorshift: any seed but zero gives the same frames each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("small")
    };
    let (mut messages, mut errors) = (0_usize, 0_usize);
    let mut reader = FrameReader::new(true);
    for count in 0..FRAMES {
        let mut frame = bases[random(bases.len())].clone();
        for _ in 0..random(4) {
            let (at, bit) = (random(frame.len()), random(8));
            frame[at] ^= 1 << bit;
        }
        frame.truncate(if random(8) == 0 { random(frame.len()) } else { frame.len() });
        reader.push(&frame);
        let (mut waiting, mut used) = (reader.take_partial(), 0);
        let failed = loop {
            match reader.read(&mut waiting[used..], LONGEST, |_| ()) {
                Ok((0, _)) => break false,
                Ok((bytes, message)) => (used, messages) = (used + bytes, messages + usize::from(message.is_some())),
                Err(_) => break true,
            }
        };
        waiting.advance(used);
        reader.restore(waiting);
        let collected = reader.fragments.as_ref().map_or(0, |fragments| fragments.data.len());
        assert!(collected <= most_compressed(LONGEST), "{collected} bytes of fragments");
        assert!(reader.partial.len() <= most_compressed(LONGEST) + 14, "{} bytes wait", reader.partial.len());
        if failed {
            errors += 1;
            reader = FrameReader::new(count % 2 == 0);
        }
    }
    assert!(messages > FRAMES / 20 && errors > FRAMES / 20, "{messages} messages, {errors} errors");
}
