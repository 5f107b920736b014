//! A TCP connection, counted against the limit for as long as it lives. The answer to an upgrade leaves it together with what the new
//! protocol says first.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

/// How the answer to an upgrade begins, and how it ends.
const SWITCH: (&[u8], &[u8]) = (b"HTTP/1.1 101 ", b"\r\n\r\n");
/// Pieces of the new protocol that go out with it; more follow in the next write.
const PIECES: usize = 7;

/// A TCP connection, counted against the limit for as long as it lives, beyond an upgrade too.
///
/// While hyper has it, the answer to an upgrade is held back. After `Stream::switch` it is written in front of the first bytes of
/// the new protocol, or with the next flush: one packet and one system call instead of two for each client that comes.
pub struct Stream {
    tcp: TcpStream,
    /// False once another protocol is spoken.
    is_http: bool,
    held: Box<[u8]>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        Self { tcp, is_http: true, held: Box::default(), _permit: permit }
    }

    /// From now on it speaks another protocol. Whoever has nothing to say yet has to flush it.
    pub(crate) fn switch(&mut self) {
        self.is_http = false;
    }

    /// Whether `bytes` are the answer to an upgrade, which is held back then.
    fn holds(&mut self, bytes: &[u8]) -> bool {
        let (begin, end) = SWITCH;
        let holds = self.is_http && self.held.is_empty() && bytes.starts_with(begin) && bytes.ends_with(end);
        if holds {
            self.held = bytes.into();
        }
        holds
    }

    /// Writes what is held, and `bytes` behind it. Says how many of `bytes` went out.
    fn poll_write_held(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let Self { tcp, held, .. } = self;
            let mut slices = [IoSlice::new(held); PIECES + 1];
            let behind =
                slices.iter_mut().skip(1).zip(bytes).map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count();
            let slices = slices.get(..=behind).unwrap_or_default();
            let written = ready!(Pin::new(tcp).poll_write_vectored(cx, slices))?;
            match (written, written.checked_sub(held.len())) {
                (0, _) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                (_, Some(0)) => *held = Box::default(),
                (_, Some(beyond)) => {
                    *held = Box::default();
                    return Poll::Ready(Ok(beyond));
                }
                (_, None) => *held = held.get(written..).unwrap_or_default().into(),
            }
        }
        if bytes.is_empty() { Poll::Ready(Ok(0)) } else { Pin::new(&mut self.tcp).poll_write_vectored(cx, bytes) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        if self.held.is_empty() {
            return Pin::new(&mut self.tcp).poll_write(cx, buf);
        }
        self.poll_write_held(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [only] if self.holds(only) => Poll::Ready(Ok(only.len())),
            _ if self.held.is_empty() => Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs),
            _ => self.poll_write_held(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_http {
            ready!(self.poll_write_held(cx, &[]))?;
        }
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_held(cx, &[]))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::Semaphore,
    };

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
        let peer = TcpStream::connect(listener.local_addr().expect("address")).await.expect("connect");
        let (tcp, _) = listener.accept().await.expect("accept");
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("a permit");
        (Stream::new(tcp, permit), peer)
    }

    async fn read(peer: &mut TcpStream) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        let count = peer.read(&mut bytes).await.expect("read");
        bytes.truncate(count);
        bytes
    }

    #[tokio::test]
    async fn the_answer_to_an_upgrade_leaves_with_the_first_bytes_of_the_new_protocol() {
        for vectored in [false, true] {
            let (mut stream, mut peer) = pair().await;
            stream.write_all(ANSWER).await.expect("write");
            stream.flush().await.expect("flush");
            assert_eq!(peer.try_read(&mut [0]).expect_err("nothing yet").kind(), io::ErrorKind::WouldBlock);
            stream.switch();
            let count = if vectored {
                stream.write_vectored(&[IoSlice::new(b"hel"), IoSlice::new(b"lo")]).await
            } else {
                stream.write(b"hello").await
            };
            assert_eq!(count.expect("write"), 5);
            assert_eq!(read(&mut peer).await, [ANSWER, b"hello"].concat());
            stream.write_all(b"again").await.expect("write");
            assert_eq!(read(&mut peer).await, b"again");
        }
    }

    #[tokio::test]
    async fn it_leaves_alone_when_flushed_or_shut_down() {
        let (mut stream, mut peer) = pair().await;
        stream.write_all(ANSWER).await.expect("write");
        stream.switch();
        stream.flush().await.expect("flush");
        assert_eq!(read(&mut peer).await, ANSWER);

        let (mut stream, mut peer) = pair().await;
        stream.write_all(ANSWER).await.expect("write");
        stream.shutdown().await.expect("shut down");
        assert_eq!(read(&mut peer).await, ANSWER);
        assert_eq!(read(&mut peer).await, b"");
    }

    #[tokio::test]
    async fn every_other_answer_leaves_at_once() {
        let (mut stream, mut peer) = pair().await;
        for answer in [&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..], b"HTTP/1.1 101 half of"] {
            stream.write_all(answer).await.expect("write");
            assert_eq!(read(&mut peer).await, answer);
        }
    }
}
