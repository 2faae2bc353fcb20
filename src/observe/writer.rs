//! The thread that writes the audit trail: the only place where a record gets its number.
//!
//! Numbers and the chain of hashes are given when a line is written, so that neither has a gap of its own making: what could
//! not be written is counted, and a gap record says how many as soon as the sink takes lines again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::OnFailure;
use super::audit::{Chain, Lost, Record};
use super::event::Event;
use super::merge::{Merged, Merger};
use super::metrics::AuditMeter;
use super::output::Output;
use super::sink::AuditUnavailable;

/// What the writer is asked to do.
pub(super) enum Order {
    /// Write a record.
    Write {
        /// The record.
        record: Record,
        /// Who waits until it is written.
        waiting: Option<oneshot::Sender<Result<(), AuditUnavailable>>>,
        /// Its place in the queue, free again once it is dealt with.
        room: OwnedSemaphorePermit,
    },
    /// Open the file anew.
    Reopen,
    /// Write what is queued and end.
    Stop,
}

/// What the writer and those who queue records both know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Records that found the queue full, not yet in a gap record.
    pub dropped: AtomicU64,
    /// Whether somebody waited for a line in vain, and none was written since.
    pub stalled: AtomicBool,
}

/// The thread's state.
pub(super) struct Writer {
    output: Output,
    on_failure: OnFailure,
    chain: Chain,
    merger: Merger,
    shared: Arc<Shared>,
    lost: Option<Lost>,
    failing: bool,
    meter: AuditMeter,
    tell: Box<dyn Fn(&Event<'_>) + Send>,
}

impl Writer {
    /// A writer that begins a chain. `tell` hears when the output fails and when it is back.
    pub(super) fn new(
        output: Output,
        on_failure: OnFailure,
        boot: String,
        shared: Arc<Shared>,
        meter: AuditMeter,
        tell: Box<dyn Fn(&Event<'_>) + Send>,
    ) -> Self {
        Self { output, on_failure, chain: Chain::new(boot), merger: Merger::new(), shared, lost: None, failing: false, meter, tell }
    }

    /// Writes until it is told to stop, or nobody is left who could tell it anything.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match self.next(orders) {
                Ok(Order::Write { record, waiting, room }) => {
                    self.take(record, waiting);
                    drop(room);
                }
                Ok(Order::Reopen) => self.reopen(),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.settle(),
            }
            self.write_merged(Instant::now());
        }
        self.finish();
    }

    /// Sleeps for as long as there is nothing to do, and no longer than a tick while something waits for its time.
    fn next(&self, orders: &Receiver<Order>) -> Result<Order, RecvTimeoutError> {
        if self.lost.is_some() || self.merger.is_pending() {
            orders.recv_timeout(TICK)
        } else {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        }
    }

    fn take(&mut self, record: Record, waiting: Option<oneshot::Sender<Result<(), AuditUnavailable>>>) {
        let refuses = self.on_failure == OnFailure::Refuse;
        match waiting {
            // Nobody waits any more: the session was refused, and must not be said to have started.
            Some(waiting) if refuses && waiting.is_closed() => {}
            Some(waiting) => {
                let written = self.append(&record);
                if written.is_err() && !refuses {
                    self.lose(1, record.at);
                }
                // If the receiver is gone now, the line stands all the same.
                let _ = waiting.send(written.map_err(|error| AuditUnavailable::Failed(error.to_string())));
            }
            None => self.note(&record),
        }
    }

    /// Writes a record that nobody waits for, or counts it.
    fn note(&mut self, record: &Record) {
        let whole = record.kind.is_none_or(|kind| self.merger.admits(kind, Instant::now(), record.at));
        if whole && self.append(record).is_err() {
            self.lose(1, record.at);
        }
    }

    fn write_merged(&mut self, now: Instant) {
        if self.merger.is_pending() {
            let due = self.merger.due(now);
            self.write_counts(&due);
        }
    }

    fn write_counts(&mut self, counts: &[Merged]) {
        for merged in counts {
            if self.append(&Record::merged(merged, SystemTime::now())).is_err() {
                self.lose(merged.count, merged.last);
            }
        }
    }

    /// Looks whether a sink that failed is back, so that the trail says so before the next record comes.
    fn settle(&mut self) {
        self.lose(self.shared.dropped.swap(0, Ordering::Relaxed), SystemTime::now());
        if self.lost.is_some() {
            let closed = self.close_gap();
            self.judge(closed).ok(); // told already; the next tick tries again
        }
    }

    fn reopen(&mut self) {
        if let Err(error) = self.output.reopen() {
            (self.tell)(&Event::AuditFailed { error: &format!("reopening: {error}") });
        }
    }

    fn finish(&mut self) {
        let counts = self.merger.drain();
        self.write_counts(&counts);
        self.settle();
    }

    /// Writes a record, and the gap before it.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let closed = self.close_gap();
        let written = closed.and_then(|lost| self.write(record).map(|()| lost));
        self.judge(written)
    }

    /// The record of what was lost, if anything was. Returns how many that were.
    fn close_gap(&mut self) -> io::Result<u64> {
        let now = SystemTime::now();
        self.lose(self.shared.dropped.swap(0, Ordering::Relaxed), now);
        let Some(lost) = self.lost else { return Ok(0) };
        self.write(&Record::gap(&lost, now))?;
        self.lost = None;
        Ok(lost.count)
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.output.follow(self.failing, Instant::now())?;
        let line = self.chain.line(&record.body);
        self.output.append(&line)?;
        self.chain.advance(&line);
        self.meter.wrote(record.event);
        self.shared.stalled.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Tells once when the sink begins to fail, and once when it is back, or when records were lost for want of room.
    fn judge(&mut self, written: io::Result<u64>) -> io::Result<()> {
        match &written {
            Ok(lost) if self.failing || *lost > 0 => {
                self.failing = false;
                (self.tell)(&Event::AuditRecovered { lost: *lost });
            }
            Ok(_) => {}
            Err(error) if !self.failing => {
                self.failing = true;
                (self.tell)(&Event::AuditFailed { error: &error.to_string() });
            }
            Err(_) => {}
        }
        written.map(drop)
    }

    fn lose(&mut self, count: u64, at: SystemTime) {
        if count > 0 {
            self.meter.lost(count);
            let lost = self.lost.get_or_insert(Lost { count: 0, first: at, last: at });
            lost.count = lost.count.saturating_add(count);
            lost.last = at;
        }
    }
}

/// How often the writer looks at what waits for its time: counts of a second that is over, a sink that may be back.
const TICK: Duration = Duration::from_millis(250);
