//! permessage-deflate (RFC 7692) without context takeover: each message is compressed by itself.
//!
//! So nothing is kept per connection, where a window and a compressor would be 300 kB each: a thread has one inflater, and one
//! deflater for each window size in use. And a broadcast is compressed once for all its receivers ([`Shared`]).

mod negotiation;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

pub(super) use self::negotiation::negotiate;
use super::websocket::FrameError;

/// Window sizes that zlib can write, as powers of two. RFC 7692 knows 8 as well.
const SMALLEST_WINDOW: u8 = 9;
const LARGEST_WINDOW: u8 = 15;
const WINDOWS: usize = 7;
/// What each flush ends with, and what is left out of a message.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The fastest: the others take two to five times as long for a few per cent.
const LEVEL: Compression = Compression::new(1);
/// A thread keeps a buffer of this size for what it compresses or inflates; one that has grown larger is given back.
const KEPT_BYTES: usize = 64 * 1024;
/// The first room for an inflated message.
const FIRST_ROOM: usize = 4096;

/// How messages of one connection are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deflate {
    /// The window of what the server sends, as a power of two.
    window_bits: u8,
    /// Smaller messages are sent as they are; with zero all are compressed, even those that it makes larger.
    threshold: u32,
}

impl Deflate {
    /// What one message becomes on this connection: the frame that `make` builds of its compressed form, or nothing when it is better
    /// sent as it is. It is kept with the message for the other receivers.
    pub(super) fn share(
        self,
        shared: &Shared,
        marker: &'static [u8],
        payload: &[u8],
        make: impl FnOnce(&[u8]) -> Bytes,
    ) -> Option<Bytes> {
        if u32::try_from(payload.len()).is_ok_and(|bytes| bytes < self.threshold) {
            return None;
        }
        // Whoever comes while it is being compressed waits, which is cheaper than doing the same.
        let mut forms = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |form: &&Form| form.window_bits == self.window_bits && form.marker == marker;
        if let Some(form) = forms.iter().find(same) {
            return form.frame.clone();
        }
        let most = if self.threshold == 0 { usize::MAX } else { payload.len() };
        let compressed = deflate(marker, payload, self.window_bits);
        let frame = compressed.filter(|compressed| compressed.len() < most).map(|compressed| make(&compressed));
        forms.push(Form { window_bits: self.window_bits, marker, frame: frame.clone() });
        frame
    }
}

/// The compressed forms of one message: one for each window size that a receiver asked for, made for the first of them.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Vec<Form>>);

#[derive(Debug)]
struct Form {
    window_bits: u8,
    /// What comes before the payload within the message.
    marker: &'static [u8],
    frame: Option<Bytes>,
}

thread_local! {
    static CODEC: RefCell<Codec> = RefCell::default();
    static BUFFER: Cell<Vec<u8>> = Cell::default();
}

/// Each is taken from here for one message, and comes back when nothing went wrong.
#[derive(Default)]
struct Codec {
    inflater: Option<Decompress>,
    deflaters: [Option<Compress>; WINDOWS],
    gzip: Option<Compress>,
}

/// What was compressed or inflated, in a buffer that goes back to the thread.
#[derive(Debug)]
pub(super) struct Output(Vec<u8>);

impl Output {
    fn begin() -> Self {
        Self(BUFFER.take())
    }
}

impl Deref for Output {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.0.capacity() <= KEPT_BYTES {
            let mut buffer = std::mem::take(&mut self.0);
            buffer.clear();
            // Nothing is kept when the thread is ending.
            BUFFER.try_with(|kept| kept.set(buffer)).ok();
        }
    }
}

/// Most bytes of a compressed message that may become `max_bytes`: what cannot be compressed grows a little.
pub(super) fn most_compressed(max_bytes: usize) -> usize {
    max_bytes.saturating_add(max_bytes / 8).saturating_add(64)
}

/// Inflates one message, up to `max_bytes` and not one byte further.
pub(super) fn inflate(compressed: &[u8], max_bytes: usize) -> Result<Output, FrameError> {
    let kept = CODEC.with_borrow_mut(|codec| codec.inflater.take());
    let mut inflater = kept.unwrap_or_else(|| Decompress::new_with_window_bits(false, LARGEST_WINDOW));
    let mut output = Output::begin();
    inflate_part(&mut inflater, compressed, max_bytes, &mut output.0)?;
    inflate_part(&mut inflater, &TAIL, max_bytes, &mut output.0)?;
    inflater.reset(false);
    CODEC.with_borrow_mut(|codec| codec.inflater = Some(inflater));
    Ok(output)
}

fn inflate_part(
    inflater: &mut Decompress,
    mut input: &[u8],
    max_bytes: usize,
    output: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let most = max_bytes.saturating_add(1);
    loop {
        if output.len() == output.capacity() {
            // It doubles, so that a small message does not cost what the largest one may.
            let room = output.len().saturating_mul(2).max(input.len().saturating_mul(2)).max(FIRST_ROOM).min(most);
            output.reserve_exact(room.saturating_sub(output.len()).max(1));
        }
        let (taken, given) = (inflater.total_in(), output.len());
        let status = inflater.decompress_vec(input, output, FlushDecompress::Sync).map_err(|_| FrameError::Deflate)?;
        let used = usize::try_from(inflater.total_in().saturating_sub(taken)).unwrap_or(usize::MAX);
        input = input.get(used..).unwrap_or_default();
        if output.len() > max_bytes {
            return Err(FrameError::TooLarge);
        }
        let has_room = output.len() < output.capacity();
        if status == Status::StreamEnd {
            // The sender ended with a final block, which it may; more blocks may follow.
            inflater.reset(false);
        } else if has_room && input.is_empty() {
            return Ok(());
        } else if has_room && used == 0 && output.len() == given {
            return Err(FrameError::Deflate);
        }
    }
}

/// Compresses `marker` and `payload` into one message, which is larger when it cannot be compressed.
fn deflate(marker: &[u8], payload: &[u8], window_bits: u8) -> Option<Output> {
    let index = usize::from(window_bits.checked_sub(SMALLEST_WINDOW)?);
    let kept = CODEC.with_borrow_mut(|codec| codec.deflaters.get_mut(index)?.take());
    let mut deflater = kept.unwrap_or_else(|| Compress::new_with_window_bits(LEVEL, false, window_bits));
    let mut output = Output::begin();
    output.0.reserve_exact(most_compressed(payload.len()));
    if !marker.is_empty() {
        deflater.compress_vec(marker, &mut output.0, FlushCompress::None).ok()?;
    }
    deflater.compress_vec(payload, &mut output.0, FlushCompress::Sync).ok()?;
    // With room left, all of it was taken and flushed. What was not is no state to go on from, not even after a reset.
    if output.len() == output.0.capacity() {
        return None;
    }
    deflater.reset();
    CODEC.with_borrow_mut(|codec| codec.deflaters.get_mut(index).map(|place| place.replace(deflater)));
    let length = output.len().checked_sub(TAIL.len())?;
    output.0.truncate(length);
    Some(output)
}

/// Compresses the body of an HTTP answer; nothing when that does not make it smaller.
pub(super) fn gzip(body: &[u8]) -> Option<Bytes> {
    let kept = CODEC.with_borrow_mut(|codec| codec.gzip.take());
    let mut gzip = kept.unwrap_or_else(|| Compress::new_gzip(LEVEL, LARGEST_WINDOW));
    let mut output = Output::begin();
    output.0.reserve_exact(most_compressed(body.len()));
    if gzip.compress_vec(body, &mut output.0, FlushCompress::Finish).ok()? != Status::StreamEnd {
        return None;
    }
    gzip.reset();
    CODEC.with_borrow_mut(|codec| codec.gzip = Some(gzip));
    (output.len() < body.len()).then(|| Bytes::copy_from_slice(&output))
}
