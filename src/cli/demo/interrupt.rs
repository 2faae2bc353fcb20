//! INT, TERM and HUP: the story ends where it is, and cleans up.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::error::DemoError;

/// Whether somebody has asked to end.
#[derive(Default)]
pub(super) struct Interrupt {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Interrupt {
    /// Takes the signals over. From here on they end nothing by themselves.
    pub(super) fn install() -> Result<Arc<Self>, DemoError> {
        Self::try_install().map_err(|error| DemoError::io("wait for signals", error))
    }

    fn try_install() -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
        };
        let this = Arc::new(Self::default());
        let told = Arc::clone(&this);
        // It lives as long as the process: a second signal must not end the cleaning up.
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => told.ask(),
                        _ = terminate.recv() => told.ask(),
                        _ = hangup.recv() => told.ask(),
                    }
                }
            })
        })?;
        Ok(this)
    }

    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// An error if somebody has asked to end.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        self.pause(Duration::ZERO)
    }

    /// Waits, or gives an error as soon as somebody asks to end.
    pub(super) fn pause(&self, length: Duration) -> Result<(), DemoError> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(asked, length, |asked| !*asked);
        let (asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *asked { Err(DemoError::Interrupted) } else { Ok(()) }
    }

    /// Looks again and again until `look` finds something, for at most `patience`; `None` if it never does.
    pub(super) fn wait_for<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut() -> Result<Option<T>, DemoError>,
    ) -> Result<Option<T>, DemoError> {
        let started = Instant::now();
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if started.elapsed() > patience {
                return Ok(None);
            }
            self.pause(Duration::from_millis(10))?;
        }
    }
}
