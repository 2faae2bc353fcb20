//! A stream of which the first bytes have been read already: the beginning of a ClientHello on a direct TLS connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Yields at most four bytes that were read before, then what the stream holds.
#[derive(Debug)]
pub(super) struct Prefixed<S> {
    prefix: [u8; 4],
    left: usize,
    stream: S,
}

impl<S> Prefixed<S> {
    /// A stream of which nothing has been read.
    pub(super) fn untouched(stream: S) -> Self {
        Self { prefix: [0; 4], left: 0, stream }
    }

    /// The stream itself.
    pub(super) fn inner(&self) -> &S {
        &self.stream
    }

    /// A stream whose first four bytes were these.
    pub(super) fn replaying(prefix: [u8; 4], stream: S) -> Self {
        Self { prefix, left: prefix.len(), stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left == 0 {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let from = this.prefix.len().saturating_sub(this.left);
        let rest = this.prefix.get(from..).unwrap_or(&[]);
        let taken = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..taken).unwrap_or(&[]));
        this.left = this.left.saturating_sub(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
