//! WebSocket frames as a client sees them: masked out, unmasked in.

use anyhow::{Result, bail};

/// What kind a frame is of: text or one of the control frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// UTF-8 text.
    Text,
    /// The closing handshake.
    Close,
    /// To be answered with a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

/// A whole frame, and how many bytes it took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What the frame is.
    pub(crate) opcode: Opcode,
    /// What it carries.
    pub(crate) payload: &'a [u8],
    /// Header and payload.
    pub(crate) length: usize,
}

/// The one mask of this client. Not zero: `ws` skips unmasking for a zero key, which no browser sends.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MASK_BIT: u8 = 0x80;
/// Lengths that say that the length follows, in 16 or 64 bits.
const EXTENDED_16: u8 = 0x7e;
const EXTENDED_64: u8 = 0x7f;
const FINAL_TEXT: u8 = 0x81;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PONG: u8 = 0x8a;

/// Appends a text frame with `parts` as its payload.
pub(crate) fn push_text(out: &mut Vec<u8>, parts: &[&[u8]]) {
    push(out, FINAL_TEXT, parts);
}

/// Appends a close frame with status 1000.
pub(crate) fn push_close(out: &mut Vec<u8>) {
    push(out, FINAL_CLOSE, &[&1000_u16.to_be_bytes()]);
}

/// Appends the answer to a ping.
pub(crate) fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push(out, FINAL_PONG, &[payload]);
}

fn push(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(first);
    if let Ok(length @ 0..126) = u8::try_from(length) {
        out.push(MASK_BIT | length);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(MASK_BIT | EXTENDED_16);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(MASK_BIT | EXTENDED_64);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    mask(&mut out[start..]);
}

fn mask(payload: &mut [u8]) {
    let [a, b, c, d] = MASK;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= key;
    }
}

/// The frame at the front of `data`, or `None` until all of it is there.
#[inline]
pub(crate) fn parse(data: &[u8]) -> Result<Option<Frame<'_>>> {
    let Some((&[first, second], after)) = data.split_first_chunk::<2>() else { return Ok(None) };
    let (header, length) = match second {
        0..126 => (2, usize::from(second)),
        EXTENDED_16 => match after.first_chunk::<2>() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        EXTENDED_64 => match after.first_chunk::<8>() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length))?),
            None => return Ok(None),
        },
        MASK_BIT.. => bail!("the server masked a frame"),
    };
    let opcode = match first {
        FINAL_TEXT => Opcode::Text,
        FINAL_CLOSE => Opcode::Close,
        0x89 => Opcode::Ping,
        FINAL_PONG => Opcode::Pong,
        other => bail!("a frame that starts with {other:#04x}: neither final text nor control"),
    };
    let Some(payload) = data.get(header..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
    Ok(Some(Frame { opcode, payload, length: header + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_masked_and_found_again() -> Result<()> {
        for length in [0, 1, 7, 125, 126, 65_535, 65_536] {
            let text = vec![b'x'; length];
            let mut out = Vec::new();
            push_text(&mut out, &[&text]);
            let header = out.len() - length;
            out[1] &= !MASK_BIT;
            out.drain(header - 4..header);
            out[header - 4..].iter_mut().zip(MASK.iter().cycle()).for_each(|(byte, key)| *byte ^= key);

            assert_eq!(parse(&out[..out.len() - 1])?, None);
            let expected = Frame { opcode: Opcode::Text, payload: &text, length: out.len() };
            assert_eq!(parse(&out)?, Some(expected));
        }
        Ok(())
    }

    #[test]
    fn a_fragment_is_refused() {
        assert!(parse(&[0x01, 0x01, b'x']).is_err());
    }
}
