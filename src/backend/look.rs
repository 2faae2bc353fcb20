//! Whether the backend answers: an SSLRequest on its socket, without a login.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::BackendSettings;
use super::connect::open;
use crate::error::BackendFailure;
use crate::wire::{FrameError, StartupPacket};

/// How long an answer may take. PostgreSQL gives it before it looks at anything else, so one that takes longer serves nobody.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks for TLS and takes either answer as a sign of life. PostgreSQL logs nothing of it, but for `connection received` where
/// log_connections is on (src/backend/tcop/backend_startup.c: "If we get no data at all, don't clutter the log").
///
/// # Errors
/// Why it cannot be said to answer.
pub async fn look(settings: &BackendSettings) -> Result<(), BackendFailure> {
    let exchange = async {
        let mut stream = open(settings).await?;
        stream.write_all(&StartupPacket::ssl_request()).await.map_err(|_| BackendFailure::Closed)?;
        match stream.read_u8().await {
            Ok(b'N' | b'S') => Ok(()),
            // An ErrorResponse: a postmaster that could not fork has no process for anybody.
            Ok(b'E') | Err(_) => Err(BackendFailure::Closed),
            Ok(byte) => Err(BackendFailure::Protocol(FrameError::Unexpected(byte))),
        }
    };
    timeout(PATIENCE, exchange).await.unwrap_or(Err(BackendFailure::Silent))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;
    use crate::backend::BackendTarget;

    /// What a backend that sends `answer` and then closes, if it accepts at all, is said to be.
    async fn seen(answer: Option<&'static [u8]>) -> Result<(), BackendFailure> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(".s.PGSQL.5432");
        let listener = UnixListener::bind(&socket).unwrap();
        let settings = BackendSettings {
            target: BackendTarget::Unix(socket),
            host: dir.path().to_str().unwrap().to_owned(),
            ..BackendSettings::nowhere()
        };
        let Some(answer) = answer else {
            drop(listener);
            return look(&settings).await;
        };
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
            stream.write_all(answer).await.unwrap();
        });
        let outcome = look(&settings).await;
        server.await.unwrap();
        outcome
    }

    #[tokio::test]
    async fn a_backend_lives_that_answers_yes_or_no() {
        assert!(seen(Some(b"N")).await.is_ok());
        assert!(seen(Some(b"S")).await.is_ok());
    }

    #[tokio::test]
    async fn one_that_is_absent_closes_or_talks_otherwise_does_not() {
        assert!(matches!(seen(None).await, Err(BackendFailure::Unreachable { .. })));
        assert!(matches!(seen(Some(b"")).await, Err(BackendFailure::Closed)));
        assert!(matches!(seen(Some(b"E")).await, Err(BackendFailure::Closed)));
        assert!(matches!(seen(Some(b"HTTP/1.1 200 OK")).await, Err(BackendFailure::Protocol(_))));
    }
}
