//! The orderly end: nobody new comes in, and everybody who is in finishes what they are at.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::signals::{Signal, Signals};
use crate::config::ShutdownSettings;
use crate::observe::{Event, Observers};
use crate::session::{Sessions, ask_all_to_leave};

/// What draining works on.
pub(super) struct Drain<'a> {
    /// How long its parts may take.
    pub(super) shutdown: ShutdownSettings,
    /// Ends listening.
    pub(super) stop: &'a watch::Sender<bool>,
    /// Those who are in.
    pub(super) sessions: &'a Arc<Sessions>,
    /// Ends when nothing of any connection lives.
    pub(super) all_gone: &'a mut mpsc::Receiver<()>,
}

impl Drain<'_> {
    /// Goes on accepting for a while, so that whoever sends clients here can learn not to, or until listening has been ended; then lets the
    /// sessions leave. Resolves when all have left, or when their time is over.
    pub(super) async fn run(self) {
        let Self { shutdown: ShutdownSettings { delay, drain_timeout }, stop, sessions, all_gone } = self;
        let mut stopped = stop.subscribe();
        let _ = timeout(delay, stopped.wait_for(|stopped| *stopped)).await;
        stop.send_replace(true);
        let leaving = async {
            tokio::select! {
                // Nothing is ever sent: the channel ends when the last connection has gone.
                _ = all_gone.recv() => {}
                () = ask_all_to_leave(Arc::clone(sessions)) => {}
            }
        };
        let _ = timeout(drain_timeout, leaving).await;
    }
}

/// Resolves when a draining daemon is told again to stop; the first TERM is no second one where an operator has asked, and not a signal.
pub(super) async fn told_again(signals: &mut Signals, observers: &Observers, mut asked: bool) {
    loop {
        match signals.next().await {
            Signal::Drain if std::mem::take(&mut asked) => {}
            Signal::Drain | Signal::Stop => return,
            Signal::ReopenFiles => observers.reopen(),
            Signal::Reload => observers.emit(&Event::ReloadIgnored),
        }
    }
}
