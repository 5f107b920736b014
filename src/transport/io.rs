//! The byte stream beneath a WebSocket, whatever it is made of.

use std::{io, pin::Pin, task::Context, task::Poll};

use bytes::Buf;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::http::Stream;

/// A connected byte stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Takes the stream out of hyper, so that hyper's buffers and state machine are freed and nothing stands between the task and
/// the socket. The answer to the upgrade goes out with the first write, or flush.
pub(crate) fn take_stream(upgraded: Upgraded) -> Box<dyn Io> {
    let upgraded = match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => {
            let mut stream = parts.io.into_inner();
            stream.switch();
            return with_early_bytes(stream, parts.read_buf);
        }
        Err(upgraded) => upgraded,
    };
    // In-memory pipes of the tests.
    match upgraded.downcast::<TokioIo<DuplexStream>>() {
        Ok(parts) => with_early_bytes(parts.io.into_inner(), parts.read_buf),
        Err(upgraded) => Box::new(TokioIo::new(upgraded)),
    }
}

/// Bytes that arrived together with the upgrade request are read first.
fn with_early_bytes(io: impl Io + 'static, early: bytes::Bytes) -> Box<dyn Io> {
    if early.is_empty() { Box::new(io) } else { Box::new(Rewound { io, early }) }
}

struct Rewound<T> {
    io: T,
    early: bytes::Bytes,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.has_remaining() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
