//! What a backend still does for a session that is over is called off.
//!
//! PostgreSQL ignores a cancel that arrives between two statements: it can overtake a statement that is on its way, and of several that
//! were sent at once it meets the first alone. So our side is closed, which is what the backend reads behind all that, and the cancel is
//! sent again until the backend has ended. What it still says is read and dropped: it might wait for that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::closing::discard;
use crate::backend::{BackendSettings, BackendStream, forward_cancel};
use crate::wire::CancelRequest;

/// How long the backend is asked to end.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a backend may take to end that says it is idle, before it is taken for one that is not: it would have told only at the next
/// Sync. When a service stops, thousands end at once.
const IDLE_GRACE: Duration = Duration::from_secs(1);
/// The pause behind the first cancel. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Cancels of all sessions that are on their way at once. Each is a process to PostgreSQL and a place in the queue that logins need too.
const MOST_UNDER_WAY: usize = 32;

/// The cancels that this process sends on its own account, for all sessions together.
#[derive(Clone)]
pub struct CallOffs(Arc<Semaphore>);

impl Default for CallOffs {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_UNDER_WAY)))
    }
}

impl CallOffs {
    /// Has the backend leave what it does, if it is `at_work` or proves to be, and waits until it has; `stubborn` is called where it does not, as a statement that catches
    /// every cancel. Then it ends when it next says something, and until then it is waited for: its place is not another's yet.
    pub(super) async fn call_off(
        &self,
        mut backend: BackendStream,
        at_work: bool,
        settings: &BackendSettings,
        request: &CancelRequest,
        stubborn: impl FnOnce(),
    ) {
        let _ = backend.shutdown().await;
        tokio::select! {
            () = discard(&mut backend, usize::MAX) => return,
            never = self.cancel_again_and_again(at_work, settings, request) => match never {},
            () = sleep(PATIENCE) => {}
        }
        stubborn();
        // Whatever it says, it reads nothing more of ours; and where it says more, nobody is there.
        let _ = backend.read(&mut [0; 1]).await;
    }

    async fn cancel_again_and_again(&self, at_work: bool, settings: &BackendSettings, request: &CancelRequest) -> Infallible {
        if !at_work {
            sleep(IDLE_GRACE).await;
        }
        let mut pause = FIRST_PAUSE;
        loop {
            if let Ok(_turn) = self.0.acquire().await {
                // One that fails is followed by the next.
                let _ = forward_cancel(settings, request).await;
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }
}
