//! The pipe: bytes both ways, with bounded memory, between two streams that may each stop, end or break at any byte.
//!
//! Nothing is copied but what the other side does not take at once, and nothing is held while nothing flows: one scratch buffer per
//! worker thread serves all sessions. The relay knows where messages end, so that a session can be ended between two of them.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::live::LiveSession;
use crate::error::EndReason;
use crate::wire::{BackendScanner, FrontendScanner, TransactionStatus};

/// The time an ordered end waits for a message boundary; after it the connection closes without a message.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(4);
/// Chunks that one direction may pass before it is the other's turn: neither can starve the other, however fast it is.
const CHUNKS_PER_POLL: usize = 8;
/// How much is read at once, and the most that is held for a side that does not take it.
const SCRATCH_SIZE: usize = 64 * 1024;

thread_local! {
    /// Bytes on their way, for the length of one poll: memory by worker, not by session.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_SIZE].into());
}

/// A session's two streams and what is known of the conversation. Resolves when the conversation is over; the streams are then
/// taken with [`Relay::into_streams`] to be closed.
pub(super) struct Relay<C, B> {
    client: C,
    backend: B,
    frontend: FrontendScanner,
    answers: BackendScanner,
    up: Flow,
    down: Flow,
    live: Arc<LiveSession>,
    ending: Option<Ending>,
    /// The client sent a length that cannot be; nothing behind it was forwarded.
    violated: bool,
    /// The backend sent one; what is whole before it still goes to the client, and nothing behind it.
    garbled: bool,
    /// The client closed its side without close_notify.
    truncated: bool,
}

/// How a conversation was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finish {
    /// Why.
    pub reason: EndReason,
    /// How the client is left.
    pub parting: Parting,
    /// How the backend is left.
    pub release: Release,
}

/// How the client is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// At a message boundary: the reason's last message, if it has one, then close_notify and FIN.
    Orderly,
    /// Inside a message, or with nobody there: FIN alone, so that nothing looks complete.
    Mute,
}

/// How the backend is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// It has ended, or what it does was asked for to the end.
    Closed,
    /// It says that it is idle, and ends by itself where that is so: what it was asked without a Sync it does before it says anything.
    Idle,
    /// It works for nobody.
    AtWork,
}

/// What passed, for the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Bytes from the client to the backend.
    pub bytes_in: u64,
    /// Bytes from the backend to the client.
    pub bytes_out: u64,
    /// Statements that the backend completed.
    pub statements: u64,
    /// ErrorResponses of the backend.
    pub errors: u64,
    /// The client's side ended without close_notify: what it was about to send may be missing.
    pub truncated: bool,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and not yet taken by the other side.
    pending: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
    /// The other side may hold encrypted bytes that its socket has not taken.
    unflushed: bool,
    /// The source has ended.
    ended: bool,
    /// The sink takes nothing any more: what comes is dropped.
    broken: bool,
    bytes: u64,
}

/// An ordered end on its way.
struct Ending {
    reason: EndReason,
    deadline: Pin<Box<Sleep>>,
    /// The last bytes before the farewell have been cut at a message boundary.
    cut: bool,
}

impl<C, B> Relay<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// A relay for a session that has logged in. `greeting` ends with the first ReadyForQuery and is the client's first read;
    /// `early` is what the backend sent behind it.
    pub(super) fn new(client: C, backend: B, live: Arc<LiveSession>, greeting: Vec<u8>, early: &[u8]) -> Self {
        let mut frontend = FrontendScanner::default();
        let mut answers = BackendScanner::after_login();
        let fault = answers.feed(early, &mut frontend).err();
        let sound = fault.map_or(early, |fault| early.get(..fault.sound).unwrap_or(&[]));
        let pending = [&greeting, sound].concat();
        let garbled = fault.is_some();
        let down = Flow { bytes: length(&pending), pending, ended: garbled, ..Flow::default() };
        let up = Flow::default();
        Self { client, backend, frontend, answers, up, down, live, ending: None, violated: false, garbled, truncated: false }
    }

    /// What has passed.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            bytes_in: self.up.bytes,
            bytes_out: self.down.bytes,
            statements: self.answers.statements(),
            errors: self.answers.errors(),
            truncated: self.truncated,
        }
    }

    /// The streams, client first.
    pub(super) fn into_streams(self) -> (C, B) {
        (self.client, self.backend)
    }

    /// Whether the last ReadyForQuery said idle and everything asked since has been answered.
    fn is_idle(&self) -> bool {
        self.answers.ready() == Some(TransactionStatus::Idle) && self.frontend.is_answered()
    }

    /// Whether the backend is working on something.
    fn is_running(&self) -> bool {
        self.answers.ready().is_none() || !self.frontend.is_answered()
    }

    /// Whether it was asked to leave when it is idle, and is.
    fn leaves(&self) -> bool {
        // A client that has just come would otherwise read of the end instead of the answer to its first statement.
        self.live.may_leave(self.up.bytes > 0) && self.is_idle()
    }

    /// Begins an ordered end.
    fn begin_ending(&mut self, reason: EndReason) {
        self.ending = Some(Ending { reason, deadline: Box::pin(sleep(FAREWELL_TIMEOUT)), cut: false });
    }

    fn finish(&self, reason: EndReason, parting: Parting) -> Finish {
        let release = if matches!(reason, EndReason::Backend | EndReason::BackendLost | EndReason::Client) {
            Release::Closed
        } else if self.is_running() {
            Release::AtWork
        } else {
            Release::Idle
        };
        Finish { reason, parting, release }
    }

    /// Both ways, until all that moves has to be waited for.
    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        if let Poll::Ready(finish) = self.poll_down(cx) {
            return Poll::Ready(finish);
        }
        match &mut self.ending {
            // From the order on nothing of the client's is read.
            Some(ending) => {
                let reason = ending.reason;
                if !self.down.broken {
                    ready!(ending.deadline.as_mut().poll(cx));
                }
                Poll::Ready(self.finish(reason, Parting::Mute))
            }
            None if self.down.broken => self.poll_unwritable(cx),
            None => self.poll_up(cx),
        }
    }

    /// Client to backend, until one of them has to be waited for.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        for _ in 0..CHUNKS_PER_POLL {
            if ready!(self.up.poll_drain(&mut self.backend, cx)).is_err() {
                self.up.broken = true;
            }
            if self.up.ended {
                ready!(Pin::new(&mut self.backend).poll_shutdown(cx)).ok();
                return Poll::Pending;
            }
            let step = SCRATCH.with_borrow_mut(|scratch| {
                let mut chunk = match ready!(poll_chunk(&mut self.client, scratch, cx)) {
                    Ok(chunk) => chunk,
                    // No close_notify: the bytes so far are whole and authentic, and PostgreSQL would run what they ask. Where a write
                    // has failed before, it is what a reset looks like.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !self.down.broken => {
                        self.truncated = true;
                        &[]
                    }
                    Err(_) => return Poll::Ready(Err(self.finish(EndReason::ClientLost, Parting::Mute))),
                };
                if let Err(fault) = self.frontend.feed(chunk) {
                    // As PostgreSQL, which answers what came before, logs "invalid message length" and closes
                    // (src/backend/libpq/pqcomm.c, pq_getmessage).
                    chunk = chunk.get(..fault.sound).unwrap_or(&[]);
                    self.violated = true;
                }
                self.up.ended = chunk.is_empty() || self.violated;
                self.up.bytes = self.up.bytes.saturating_add(length(chunk));
                self.up.send(&mut self.backend, chunk, cx);
                Poll::Ready(Ok(()))
            });
            if let Err(finish) = ready!(step) {
                return Poll::Ready(finish);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Backend to client, until one of them has to be waited for.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        for _ in 0..CHUNKS_PER_POLL {
            if ready!(self.down.poll_drain(&mut self.client, cx)).is_err() {
                self.down.broken = true;
            }
            if self.down.broken && !self.said_goodbye() {
                return Poll::Pending;
            }
            if let Some(ending) = &self.ending
                && (ending.cut || self.answers.at_boundary())
            {
                return Poll::Ready(self.finish(ending.reason, Parting::Orderly));
            }
            if self.down.ended {
                return Poll::Ready(self.backend_ended());
            }
            ready!(SCRATCH.with_borrow_mut(|scratch| {
                // A backend that resets has ended, like one that closes.
                let mut chunk = ready!(poll_chunk(&mut self.backend, scratch, cx)).unwrap_or(&[]);
                self.down.ended = chunk.is_empty();
                let boundary = self.answers.feed(chunk, &mut self.frontend).unwrap_or_else(|fault| {
                    // What it has completed so far it may have done for good: the client is to know.
                    chunk = chunk.get(..fault.sound).unwrap_or(&[]);
                    (self.garbled, self.down.ended) = (true, true);
                    fault.sound
                });
                if let Some(ending) = &mut self.ending
                    && boundary > 0
                {
                    ending.cut = true;
                    chunk = chunk.get(..boundary).unwrap_or(chunk);
                }
                self.down.bytes = self.down.bytes.saturating_add(length(chunk));
                self.down.send(&mut self.client, chunk, cx);
                Poll::Ready(())
            }));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A client that cannot be written to is lost, unless it has said goodbye: then what it asked for is still carried out, and
    /// nobody reads the answers.
    fn poll_unwritable(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        if !self.said_goodbye()
            && let Poll::Ready(finish) = self.poll_up(cx)
        {
            return Poll::Ready(finish);
        }
        if self.said_goodbye() { self.poll_down(cx) } else { Poll::Ready(self.finish(EndReason::ClientLost, Parting::Mute)) }
    }

    /// Whether the client ended its side, by Terminate or by closing it.
    fn said_goodbye(&self) -> bool {
        self.up.ended || self.frontend.is_terminated()
    }

    /// The backend's end means what went before it: a goodbye, its own FATAL, or neither.
    fn backend_ended(&self) -> Finish {
        if self.garbled {
            self.finish(EndReason::Protocol, Parting::Mute)
        } else if !self.answers.at_boundary() {
            // Whatever the client did: nothing may make half a message look like all there is.
            self.finish(EndReason::BackendLost, Parting::Mute)
        } else if self.violated {
            self.finish(EndReason::Protocol, Parting::Orderly)
        } else if self.said_goodbye() {
            self.finish(EndReason::Client, Parting::Orderly)
        } else if self.answers.ended_with_error() {
            self.finish(EndReason::Backend, Parting::Orderly)
        } else {
            self.finish(EndReason::BackendLost, Parting::Orderly)
        }
    }
}

impl<C, B> Future for Relay<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Finish;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finish> {
        let relay = &mut *self;
        if relay.ending.is_none()
            && let Some(reason) = relay.live.order(cx.waker()).or_else(|| relay.leaves().then_some(EndReason::Drain))
        {
            relay.begin_ending(reason);
        }
        let passed = relay.up.bytes.wrapping_add(relay.down.bytes);
        let mut outcome = relay.poll_both(cx);
        // Nobody asks again: what has just passed may be what it was waited for.
        if outcome.is_pending() && relay.ending.is_none() && relay.leaves() {
            relay.begin_ending(EndReason::Drain);
            outcome = relay.poll_both(cx);
        }
        if relay.up.bytes.wrapping_add(relay.down.bytes) != passed {
            relay.live.note_activity(relay.is_idle());
        }
        relay.live.show(relay.up.bytes, relay.down.bytes, relay.is_running());
        outcome
    }
}

impl Flow {
    /// Hands over what is pending, down to the socket.
    fn poll_drain<W: AsyncWrite + Unpin>(&mut self, sink: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.pending.get(self.taken..)
            && !rest.is_empty()
            && !self.broken
        {
            match ready!(Pin::new(&mut *sink).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.taken = self.taken.saturating_add(count),
            }
            self.unflushed = true;
        }
        if self.taken > 0 || self.broken {
            self.pending = Vec::new();
            self.taken = 0;
        }
        if self.unflushed && !self.broken {
            ready!(Pin::new(sink).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands over a chunk; what is not taken at once is kept.
    fn send<W: AsyncWrite + Unpin>(&mut self, sink: &mut W, chunk: &[u8], cx: &mut Context<'_>) {
        let mut rest = chunk;
        while !rest.is_empty() && !self.broken {
            match Pin::new(&mut *sink).poll_write(cx, rest) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.unflushed = true;
                    rest = rest.get(count..).unwrap_or(&[]);
                }
                Poll::Ready(_) => self.broken = true,
                Poll::Pending => break,
            }
        }
        if !self.broken {
            self.pending.extend_from_slice(rest);
        }
    }
}

fn poll_chunk<'a, R: AsyncRead + Unpin>(source: &mut R, scratch: &'a mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<&'a [u8]>> {
    let mut buffer = ReadBuf::new(scratch);
    ready!(Pin::new(source).poll_read(cx, &mut buffer))?;
    let filled = buffer.filled().len();
    Poll::Ready(Ok(scratch.get(..filled).unwrap_or(&[])))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
