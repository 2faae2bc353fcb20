//! A panic ends the connection it happened in, never the daemon.
//!
//! What a stage of a login does is guarded without the stage itself, which holds the client's stream: so the client of a login that fails
//! this way is told, and only a panic where rustls holds the stream leaves nothing to tell it by.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::error::SessionError;

/// What `step` gives; a panic in it is a fault of this login alone, and its client can still be told.
///
/// # Errors
/// [`SessionError::Internal`]
pub(super) fn guarded<T>(step: impl FnOnce() -> T) -> Result<T, SessionError> {
    // What the step could leave half-changed is dropped with the connection.
    catch_unwind(AssertUnwindSafe(step)).map_err(|_| SessionError::Internal)
}

/// The same for a step that waits.
///
/// # Errors
/// Those of `step`, and [`SessionError::Internal`].
pub(super) async fn attempt<T>(step: impl Future<Output = Result<T, SessionError>>) -> Result<T, SessionError> {
    let mut step = pin!(step);
    poll_fn(|cx| poll_guarded(&mut step, cx)).await?
}

/// One poll of a future; a panic in it is an error, and the future must not be polled again.
pub(super) fn poll_guarded<F: Future + Unpin>(future: &mut F, cx: &mut Context<'_>) -> Poll<Result<F::Output, SessionError>> {
    match guarded(|| Pin::new(&mut *future).poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_step_that_does_not_wait_is_an_error_and_takes_nothing_but_what_the_step_held() {
        let (stream, identity) = (String::from("the client's"), String::from("alice"));
        let decision: Result<bool, _> = guarded(|| {
            let held = identity;
            assert_ne!(held, "alice", "on purpose, as a decision that consumes the identity could");
            true
        });
        assert!(matches!(decision, Err(SessionError::Internal)));
        assert_eq!(stream, "the client's", "it can still be told");
        assert!(matches!(guarded(|| 7), Ok(7)));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_own_connection() {
        let mut sound = Box::pin(async { 7 });
        assert!(matches!(poll_fn(|cx| poll_guarded(&mut sound, cx)).await, Ok(7)));
        let mut faulty = Box::pin(async { panic!("on purpose") });
        let outcome: Result<(), _> = poll_fn(|cx| poll_guarded(&mut faulty, cx)).await;
        assert!(matches!(outcome, Err(SessionError::Internal)));
    }
}
