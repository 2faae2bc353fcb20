//! The way of a record from a session to the thread that writes it.
//!
//! No session ever waits for the disk, except for its `session.start` where the trail is required. The queue is bounded in
//! bytes: what finds no room is counted, and the trail says how many are missing.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time;

use super::OnFailure;
use super::audit::Record;
use super::worker::Worker;
use super::writer::{Order, Shared, Writer};

/// The queue before the writer, and the writer's thread.
pub(super) struct Sink {
    orders: Sender<Order>,
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
    on_failure: OnFailure,
    thread: Worker,
}

/// Why a session's start is not in the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditUnavailable {
    /// The line could not be written: what the kernel said.
    Failed(String),
    /// The line was not written in time.
    TooSlow,
    /// The writer has ended.
    Stopped,
}

impl Sink {
    /// Starts the thread. `writer` is given what it shares with the queue.
    pub(super) fn start(on_failure: OnFailure, writer: impl FnOnce(Arc<Shared>) -> Writer) -> io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let writer = writer(Arc::clone(&shared));
        let thread = Worker::start("audit", move || writer.run(&queue))?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        Ok(Self { orders, room, shared, on_failure, thread })
    }

    /// Queues a record and goes on. Without room it is counted as lost.
    pub(super) fn emit(&self, record: Record) {
        self.offer(record, None);
    }

    /// Queues a record and waits until its line is written, at most 5 seconds.
    ///
    /// Under `continue` it neither fails nor waits again for a sink that was waited for in vain.
    /// Cancel-safe: under `refuse` a record that nobody waits for any more is not written.
    pub(super) async fn record(&self, record: Record) -> Result<(), AuditUnavailable> {
        match self.on_failure {
            OnFailure::Refuse => time::timeout(PATIENCE, self.insist(record)).await.unwrap_or(Err(AuditUnavailable::TooSlow)),
            OnFailure::Continue => {
                self.attempt(record).await;
                Ok(())
            }
        }
    }

    /// Has the file opened anew, after what is queued.
    pub(super) fn reopen(&self) {
        self.send(Order::Reopen);
    }

    /// Has what is queued written, and ends the thread. `false` if that took longer than `patience`: the thread is left alone.
    /// Blocks; later records are lost.
    pub(super) fn stop(&self, patience: Duration) -> bool {
        self.send(Order::Stop);
        self.thread.join(patience)
    }

    /// Waits for room, then for the line.
    async fn insist(&self, record: Record) -> Result<(), AuditUnavailable> {
        let room = Arc::clone(&self.room).acquire_many_owned(cost(&record)).await.map_err(|_| AuditUnavailable::Stopped)?;
        let (waiting, written) = oneshot::channel();
        self.orders.send(Order::Write { record, waiting: Some(waiting), room }).map_err(|_| AuditUnavailable::Stopped)?;
        written.await.unwrap_or(Err(AuditUnavailable::Stopped))
    }

    /// Queues if there is room, and waits for the line while the sink keeps up.
    async fn attempt(&self, record: Record) {
        if self.shared.stalled.load(Ordering::Relaxed) {
            return self.emit(record);
        }
        let (waiting, written) = oneshot::channel();
        self.offer(record, Some(waiting));
        if time::timeout(PATIENCE, written).await.is_err() {
            self.shared.stalled.store(true, Ordering::Relaxed);
        }
    }

    fn offer(&self, record: Record, waiting: Option<oneshot::Sender<Result<(), AuditUnavailable>>>) {
        match self.room_for(&record) {
            Some(room) => self.send(Order::Write { record, waiting, room }),
            None => self.drop_one(),
        }
    }

    /// A place in the queue. What anyone can cause without a certificate leaves a part of it to the records of sessions.
    fn room_for(&self, record: &Record) -> Option<OwnedSemaphorePermit> {
        if record.kind.is_some() && self.room.available_permits() < RESERVED_BYTES {
            return None;
        }
        Arc::clone(&self.room).try_acquire_many_owned(cost(record)).ok()
    }

    fn send(&self, order: Order) {
        if let Err(mpsc::SendError(Order::Write { .. })) = self.orders.send(order) {
            self.drop_one();
        }
    }

    fn drop_one(&self) {
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for AuditUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the audit record could not be written: {error}"),
            Self::TooSlow => write!(f, "the audit record was not written within {} s", PATIENCE.as_secs()),
            Self::Stopped => write!(f, "the audit writer has ended"),
        }
    }
}

impl std::error::Error for AuditUnavailable {}

/// What a record takes of the queue: its text and what holds it. A record is at most 64 KiB.
fn cost(record: &Record) -> u32 {
    u32::try_from(record.body.len()).unwrap_or(u32::MAX).saturating_add(256)
}

/// How long a session's start waits for its line (threats, T48).
const PATIENCE: Duration = Duration::from_secs(5);

/// What may wait for the disk: some ten thousand records, several seconds of logins at full speed.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// What of it is kept for records of those who have proven who they are.
const RESERVED_BYTES: usize = QUEUE_BYTES / 4;
