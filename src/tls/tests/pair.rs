//! Our end of a connection after its handshake, over a line that the test holds in its hand.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io::{self, Read as _, Write as _};
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use super::*;

/// A socket: each read gives one piece, and what is written is taken as far as there is room.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Ends>>);

pub(super) struct Ends {
    pub(super) inbound: VecDeque<Vec<u8>>,
    pub(super) ended: bool,
    pub(super) outbound: Vec<u8>,
    pub(super) room: usize,
    pub(super) writes: usize,
    pub(super) closed: bool,
}

impl Line {
    pub(super) fn new() -> Self {
        let ends = Ends { inbound: VecDeque::new(), ended: false, outbound: Vec::new(), room: usize::MAX, writes: 0, closed: false };
        Self(Arc::new(Mutex::new(ends)))
    }

    pub(super) fn ends(&self) -> std::sync::MutexGuard<'_, Ends> {
        self.0.lock().expect("a line")
    }

    pub(super) fn push(&self, piece: &[u8]) {
        self.ends().inbound.push_back(piece.to_vec());
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.ends();
        let Some(mut piece) = ends.inbound.pop_front() else {
            return if ends.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            ends.inbound.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.ends();
        if ends.room == 0 {
            return Poll::Pending;
        }
        let taken = bytes.len().min(ends.room);
        ends.room -= taken;
        ends.writes += 1;
        ends.outbound.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ends().closed = true;
        Poll::Ready(Ok(()))
    }
}

/// A connection after its handshake: our stream, and rustls as its client.
pub(super) struct Pair {
    pub(super) stream: TlsStream<Line>,
    pub(super) line: Line,
    pub(super) client: ClientConnection,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::speaking(b"")
    }

    /// The client says `early` in the same piece as its Finished.
    pub(super) fn speaking(early: &[u8]) -> Self {
        let world = World::new();
        let acceptor = world.acceptor();
        let mut client = world.client(&Draft::leaf("alice")).connection();
        client.set_buffer_limit(None);
        let line = Line::new();
        let mut accept = pin!(acceptor.accept(line.clone(), Negotiation::Requested));
        let mut early = Some(early);
        loop {
            if !client.is_handshaking()
                && let Some(early) = early.take()
            {
                client.writer().write_all(early).expect("a write");
            }
            let said = records_of(&mut client);
            if !said.is_empty() {
                line.push(&said);
            }
            if let Poll::Ready(outcome) = accept.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                let established = outcome.map_err(|(cause, _)| cause).expect("a handshake");
                assert!(established.peer.is_some());
                return Self { stream: established.stream, line, client };
            }
            let heard = std::mem::take(&mut line.ends().outbound);
            assert!(!heard.is_empty(), "nobody has anything to say");
            client.read_tls(&mut &heard[..]).expect("records");
            client.process_new_packets().expect("a handshake");
        }
    }

    /// The records of what the client says.
    pub(super) fn records(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(plaintext).expect("a write");
        records_of(&mut self.client)
    }

    pub(super) fn read(&mut self, size: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = vec![0; size];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        let length = buffer.filled().len();
        bytes.truncate(length);
        read.map_ok(|()| bytes)
    }

    /// What the next read gives at once.
    pub(super) fn read_now(&mut self, size: usize) -> Vec<u8> {
        match self.read(size) {
            Poll::Ready(Ok(bytes)) => bytes,
            other @ (Poll::Pending | Poll::Ready(_)) => panic!("{other:?} instead of plaintext"),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
    }

    pub(super) fn flush(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(Waker::noop()))
    }

    pub(super) fn shut_down(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()))
    }

    /// What the client understands of all that has been sent.
    pub(super) fn hear(&mut self) -> Result<Vec<u8>, Error> {
        let sent = std::mem::take(&mut self.line.ends().outbound);
        let (mut sent, mut heard) = (&sent[..], Vec::new());
        while !sent.is_empty() {
            self.client.read_tls(&mut sent).expect("records");
            self.client.process_new_packets()?;
            match self.client.reader().read_to_end(&mut heard) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        Ok(heard)
    }
}

pub(super) fn records_of(client: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).expect("records");
    }
    records
}
