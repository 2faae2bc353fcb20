//! What a backend still does for a session that is over is called off.
//!
//! PostgreSQL ignores a cancel that arrives between two statements: it can overtake a statement that is on its way, and of several that
//! were sent at once it meets the first alone. So our side is closed, which is what the backend reads behind all that, and the cancel is
//! sent again until the backend has ended. What it still says is read and dropped: it might wait for that.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use super::closing::discard;
use crate::backend::{BackendSettings, BackendStream, forward_cancel};
use crate::wire::CancelRequest;

/// How long the backend is asked to end; then its connection is closed, and it ends where it next writes.
const PATIENCE: Duration = Duration::from_secs(6);
/// The pause behind the first cancel. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Has the backend leave what it does, and waits until it has.
pub(super) async fn call_off(mut backend: BackendStream, settings: &BackendSettings, request: &CancelRequest) {
    let _ = backend.shutdown().await;
    let cancels = async {
        let mut pause = FIRST_PAUSE;
        loop {
            // One that fails is followed by the next.
            let _ = forward_cancel(settings, request).await;
            sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    };
    tokio::select! {
        () = discard(&mut backend, usize::MAX) => {}
        () = cancels => {}
        () = sleep(PATIENCE) => {}
    }
}
