//! The way of a line from whoever emits it to the thread that writes the log.
//!
//! Nobody waits for whoever reads standard error: a terminal that is stopped or a pipe that is full must not stop the daemon. The queue is
//! bounded in bytes: a line that finds no room is counted, and the log says how many are missing once it can be written again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::worker::Worker;

/// What may wait to be written: some five thousand lines.
const QUEUE_BYTES: usize = 1024 * 1024;

/// The end of the queue that lines are put into. Clones share the queue.
#[derive(Clone)]
pub(super) struct Lines {
    orders: Sender<Order>,
    shared: Arc<Shared>,
}

/// The thread that writes the lines, and the queue before it.
pub(super) struct LineWriter {
    lines: Lines,
    thread: Worker,
}

/// What both ends know.
#[derive(Default)]
struct Shared {
    /// Bytes in the queue.
    queued: AtomicUsize,
    /// Lines that found no room, and that nobody was told of.
    lost: AtomicU64,
}

enum Order {
    /// Write a line, newline included.
    Write(Box<[u8]>),
    /// Write what is queued, and end.
    Stop,
}

impl LineWriter {
    /// Starts the thread that writes to `output`. `tell_lost` writes there, by its own way, how many lines are missing.
    pub(super) fn start(output: impl Write + Send + 'static, tell_lost: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let known = Arc::clone(&shared);
        let thread = Worker::start("log", move || write_all(&queue, &known, output, tell_lost))?;
        Ok(Self { lines: Lines { orders, shared }, thread })
    }

    /// Where lines are put.
    pub(super) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Has what is queued written, and ends the thread. `false` if that took longer than `patience`. Blocks; later lines are lost.
    pub(super) fn stop(&self, patience: Duration) -> bool {
        let _ = self.lines.orders.send(Order::Stop); // a thread that has ended already has nothing left to write
        self.thread.join(patience)
    }
}

/// The thread. What cannot be written is nobody's to hear of: this is where faults are told.
fn write_all(queue: &Receiver<Order>, shared: &Shared, mut output: impl Write, tell_lost: impl Fn(u64)) {
    while let Ok(Order::Write(line)) = queue.recv() {
        let _ = output.write_all(&line);
        let before = shared.queued.fetch_sub(line.len(), Ordering::AcqRel);
        // The queue is empty: what was lost was lost behind all that is written.
        if before == line.len() {
            tell(shared, &tell_lost);
        }
    }
    tell(shared, &tell_lost);
}

fn tell(shared: &Shared, tell_lost: impl Fn(u64)) {
    match shared.lost.swap(0, Ordering::AcqRel) {
        0 => {}
        lost => tell_lost(lost),
    }
}

impl Lines {
    /// Takes room for so many bytes, unless there is none.
    fn take_room(&self, length: usize) -> bool {
        let more = |queued: usize| queued.checked_add(length).filter(|sum| *sum <= QUEUE_BYTES);
        self.shared.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }
}

/// A line is one write: the formatter hands over whole lines.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.take_room(line.len()) || self.orders.send(Order::Write(line.into())).is_err() {
            self.shared.lost.fetch_add(1, Ordering::AcqRel);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader, pipe};
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A writer into a pipe that nobody reads yet.
    fn into_pipe() -> (LineWriter, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let told = writer.try_clone().unwrap();
        let tell_lost = move |lost| writeln!(&told, "lost {lost}").unwrap();
        (LineWriter::start(writer, tell_lost).unwrap(), reader)
    }

    fn read_all(reader: PipeReader) -> Vec<String> {
        BufReader::new(reader).lines().map(Result::unwrap).collect()
    }

    #[test]
    fn lines_keep_their_order_and_are_written_before_the_end() {
        let (writer, reader) = into_pipe();
        let mut lines = writer.lines();
        (0..1000).for_each(|number| lines.write_all(format!("line {number}\n").as_bytes()).unwrap());
        let reading = thread::spawn(move || read_all(reader));
        assert!(writer.stop(PATIENCE));
        drop((writer, lines));
        let read = reading.join().unwrap();
        assert_eq!(read, (0..1000).map(|number| format!("line {number}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_stops_holds_nobody_up_and_is_told_what_it_missed() {
        let (writer, reader) = into_pipe();
        let mut lines = writer.lines();
        let long = "x".repeat(999);
        // Twice what the queue holds, and nobody reads.
        let sent = 2 * QUEUE_BYTES / 1000;
        (0..sent).for_each(|_| lines.write_all(format!("{long}\n").as_bytes()).unwrap());
        assert!(!writer.stop(Duration::ZERO), "the thread waits for the reader");
        drop((writer, lines));
        let mut read = read_all(reader);
        let last = read.pop().unwrap();
        let lost = last.strip_prefix("lost ").unwrap().parse::<usize>().unwrap();
        assert!(lost > 0 && read.iter().all(|line| *line == long));
        assert_eq!(read.len() + lost, sent);
    }
}
