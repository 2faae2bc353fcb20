//! A TLS connection as a stream. Its records are rustls's; its buffers are these, and an idle connection has none.
//!
//! A read of the socket goes to a buffer of the worker thread, is decrypted there and copied to whoever reads; only an incomplete
//! record stays with the connection. A write is encrypted into the same buffer and given to the socket at once; what that does not
//! take is kept, at most a chunk of 64 KiB, and nothing more is taken until it is gone.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{CommonState, Error, InvalidMessage, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::leftover::Leftover;
use super::records::{RECORD_OVERHEAD, RECORD_PLAINTEXT, RECORD_SIZE, Reached, Records};
use super::scratch::{CHUNK, SCRATCH_SIZE, with_scratch};

/// How much of a handshake is held back until it is whole, records and all: of the ClientHello, and of what the client says behind it, of
/// which rustls takes no message that is longer.
const HELLO_LIMIT: usize = 16 * 1024;
const HANDSHAKE_LIMIT: usize = 0xffff;
/// The least that is read at once behind what is held.
const READ_SIZE: usize = 4096;
/// Reads that may bring no plaintext before it is somebody else's turn, and bytes without any: a KeyUpdate is 27, and two new keys.
const READS_PER_POLL: usize = 16;
const IDLE_PER_TURN: usize = 16 * 1024;

/// A TLS connection over `S`: the server's side.
///
/// A read at its end gives `UnexpectedEof` if the client's close_notify is missing. A KeyUpdate that the client asks for goes out in
/// front of the next record, as RFC 8446 has it (section 4.6.3).
pub struct TlsStream<S> {
    transport: S,
    records: Records,
    /// What is not a whole record yet, or a whole handshake message.
    partial: Vec<u8>,
    /// What was decrypted, and not read.
    plaintext: Leftover,
    /// What was encrypted, and not sent.
    outgoing: Leftover,
    reading: Reading,
    writing: Writing,
    /// Bytes that were read and brought no plaintext since it was last somebody else's turn.
    idle: usize,
}

/// The client's half.
enum Reading {
    Open,
    /// By close_notify.
    Closed,
    /// Without.
    Truncated,
    Failed(Box<Error>),
}

/// Our half.
#[derive(PartialEq, Eq)]
enum Writing {
    Open,
    /// By close_notify.
    Closed,
}

impl<S> TlsStream<S> {
    /// What carries the connection.
    pub fn transport(&self) -> &S {
        &self.transport
    }

    /// The same, for what is not to be encrypted: an end without close_notify.
    pub fn transport_mut(&mut self) -> &mut S {
        &mut self.transport
    }

    /// Gives up the connection, and what carries it back.
    pub(super) fn into_transport(self) -> S {
        self.transport
    }

    /// The memory that its buffers take.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.partial.capacity().saturating_add(self.plaintext.capacity()).saturating_add(self.outgoing.capacity())
    }

    /// What was negotiated.
    pub(super) fn negotiated(&self) -> &CommonState {
        self.records.negotiated()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Does the handshake with the client at the other end of `transport`. Where it fails, `transport` comes back with as much of the
    /// alert written as it took at once.
    pub(super) async fn accept(transport: S, config: Arc<ServerConfig>) -> Result<Self, (io::Error, S)> {
        let records = match Records::new(config) {
            Ok(records) => records,
            Err(error) => return Err((io::Error::other(error), transport)),
        };
        let (partial, plaintext, outgoing) = (Vec::new(), Leftover::default(), Leftover::default());
        let mut stream = Self { transport, records, partial, plaintext, outgoing, reading: Reading::Open, writing: Writing::Open, idle: 0 };
        match std::future::poll_fn(|cx| stream.poll_handshake(cx)).await {
            Ok(()) => Ok(stream),
            Err(error) => Err((error, stream.into_transport())),
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // All that rustls has to say at one time is one write.
            ready!(self.poll_send(cx))?;
            if !self.negotiated().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            // What comes early is kept for the first read.
            let limit = if self.negotiated().protocol_version().is_none() { HELLO_LIMIT } else { HANDSHAKE_LIMIT };
            let received = ready!(self.poll_receive(&mut ReadBuf::new(&mut []), limit, cx));
            if let Err(error) = received.and_then(|_| self.check()) {
                // The alert must reach the client, and the error must not wait for that.
                let _ = self.poll_send(cx);
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Reads once from the socket, and gives how many bytes came. What is plaintext goes to `buffer`, and what it has no room for is kept;
    /// at most `limit` bytes are held until they are whole. An end is noted in `reading`.
    fn poll_receive(&mut self, buffer: &mut ReadBuf<'_>, limit: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let held = self.partial.len();
        if held >= limit {
            self.reading = Reading::Failed(Box::new(InvalidMessage::HandshakePayloadTooLarge.into()));
            return Poll::Ready(Ok(0));
        }
        with_scratch(|scratch| {
            let size = read_size(held, buffer.remaining());
            let (front, fresh) = scratch.split_at_mut_checked(held).unwrap_or_default();
            let mut read = ReadBuf::new(fresh.get_mut(..size).unwrap_or_default());
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
            let count = read.filled().len();
            if count == 0 {
                self.reading = Reading::Truncated;
            } else if count < held {
                // A trickle: what is held grows where it is, or each byte would cost a copy of all of it.
                let mut whole = mem::take(&mut self.partial);
                whole.reserve_exact(count);
                whole.extend_from_slice(read.filled());
                let done = self.decrypt(&mut whole, buffer);
                self.partial = if done == 0 { whole } else { whole.get(done..).unwrap_or_default().to_vec() };
            } else {
                front.copy_from_slice(&self.partial);
                let whole = scratch.get_mut(..held.saturating_add(count)).unwrap_or_default();
                let done = self.decrypt(whole, buffer);
                self.partial = whole.get(done..).unwrap_or_default().to_vec();
            }
            Poll::Ready(Ok(count))
        })
    }

    /// Decrypts what is whole of `incoming`, and gives the length of that.
    fn decrypt(&mut self, incoming: &mut [u8], buffer: &mut ReadBuf<'_>) -> usize {
        let Self { records, plaintext, outgoing, .. } = self;
        let mut useful = 0_usize;
        let (done, reached) = records.receive(incoming, outgoing.end(), |record| {
            useful = useful.saturating_add(record.len()).saturating_add(RECORD_OVERHEAD);
            let (now, later) = record.split_at(record.len().min(buffer.remaining()));
            buffer.put_slice(now);
            plaintext.end().extend_from_slice(later);
        });
        self.idle = self.idle.saturating_add(done.saturating_sub(useful));
        match reached {
            Ok(Reached::Handshaking | Reached::Open) => return done,
            Ok(Reached::Closed) => self.reading = Reading::Closed,
            Err(error) => self.reading = Reading::Failed(Box::new(error)),
        }
        incoming.len()
    }

    /// Hands over what was encrypted, down to the socket.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            match ready!(Pin::new(&mut self.transport).poll_write(cx, self.outgoing.rest()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outgoing.take(count),
            }
        }
        Pin::new(&mut self.transport).poll_flush(cx)
    }
}

impl<S> TlsStream<S> {
    /// What has to be said of a connection of which no more can be read, if it is not a good end.
    fn check(&self) -> io::Result<()> {
        match &self.reading {
            Reading::Open | Reading::Closed => Ok(()),
            Reading::Truncated => Err(io::ErrorKind::UnexpectedEof.into()),
            Reading::Failed(error) => Err(io::Error::new(io::ErrorKind::InvalidData, (**error).clone())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let early = stream.plaintext.rest();
        let now = early.get(..early.len().min(buffer.remaining())).unwrap_or_default();
        buffer.put_slice(now);
        let count = now.len();
        stream.plaintext.take(count);
        for _ in 0..READS_PER_POLL {
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if stream.idle >= IDLE_PER_TURN {
                break;
            }
            match stream.reading {
                Reading::Open => {}
                Reading::Closed | Reading::Truncated | Reading::Failed(_) => return Poll::Ready(stream.check()),
            }
            ready!(stream.poll_receive(buffer, RECORD_SIZE, cx))?;
            if let Reading::Failed(_) = stream.reading {
                // The alert, if rustls has one, goes out even if nobody writes; what does not go at once goes with the shutdown.
                let _ = stream.poll_send(cx);
            }
        }
        stream.idle = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, plaintext: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if let Reading::Failed(_) = stream.reading {
            return Poll::Ready(stream.check().map(|()| 0));
        }
        if stream.writing == Writing::Closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !stream.outgoing.is_empty() {
            ready!(stream.poll_send(cx))?;
        }
        let plaintext = plaintext.get(..plaintext.len().min(CHUNK)).unwrap_or_default();
        with_scratch(|scratch| {
            let length = stream.records.seal(&mut stream.partial, plaintext, scratch).map_err(io::Error::other)?;
            let sealed = scratch.get(..length).unwrap_or_default();
            let sent = match Pin::new(&mut stream.transport).poll_write(cx, sealed) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            stream.outgoing.end().extend_from_slice(sealed.get(sent..).unwrap_or_default());
            Poll::Ready(Ok(plaintext.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.writing == Writing::Open {
            stream.writing = Writing::Closed;
            // After an error its alert is the last word.
            if !matches!(stream.reading, Reading::Failed(_)) {
                stream.records.close(&mut stream.partial, stream.outgoing.end()).map_err(io::Error::other)?;
            }
        }
        ready!(stream.poll_send(cx))?;
        match ready!(Pin::new(&mut stream.transport).poll_shutdown(cx)) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

/// How much is read at once behind `held` bytes, for somebody with room for so much plaintext: no more than fits there, if its records
/// are as long as they may be, so that a fast sender's are read whole.
fn read_size(held: usize, room: usize) -> usize {
    let overhead = room.div_ceil(RECORD_PLAINTEXT).saturating_mul(RECORD_OVERHEAD);
    let wanted = room.saturating_add(overhead).min(SCRATCH_SIZE);
    wanted.saturating_sub(held).max(READ_SIZE).min(SCRATCH_SIZE.saturating_sub(held))
}
