//! A thread of this floor, and how long its end is waited for.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running thread.
pub(super) struct Worker(Mutex<Option<Running>>);

/// The thread, and the channel that closes when it ends.
struct Running {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Worker {
    /// Starts it under this name.
    pub(super) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (alive, ended) = mpsc::channel();
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop::<Sender<()>>(alive);
        })?;
        Ok(Self(Mutex::new(Some(Running { handle, ended }))))
    }

    /// Waits for the end of a thread that has been told to end. `false` if that took longer than `patience`, or it died of a panic: then it is
    /// left alone. Blocks.
    pub(super) fn join(&self, patience: Duration) -> bool {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { handle, ended }) = running else { return true };
        ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected) && handle.join().is_ok()
    }
}
