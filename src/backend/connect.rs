//! Reaching the backend: a socket, and proof of who is at its other end.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::{BackendSettings, BackendTarget};
use crate::error::{BackendFailure, SessionError};
use crate::policy::Grant;
use crate::wire::{CancelRequest, StartupMessage};

/// A connection to the backend.
#[derive(Debug)]
pub enum BackendStream {
    /// Through its Unix socket.
    Unix(UnixStream),
    /// Through loopback.
    Loopback(TcpStream),
}

/// Connects and sends the client's StartupMessage as the granted role, with `last` behind its parameters. The grant is spent: one grant,
/// one session.
///
/// A backend that closes while the packet is on its way may have said why: the caller reads on and finds its words, or its end.
///
/// # Errors
/// The cause; the caller bounds the time.
pub async fn connect(
    settings: &BackendSettings,
    startup: &StartupMessage,
    last: &[(&'static str, Vec<u8>)],
    grant: Grant,
) -> Result<BackendStream, SessionError> {
    let packet = startup.encode_as(grant.role(), last).map_err(SessionError::Startup)?;
    let mut stream = open(settings).await.map_err(SessionError::Backend)?;
    let _ = stream.write_all(&packet).await;
    Ok(stream)
}

/// Hands a CancelRequest to the backend and waits until it has been taken, which the backend shows by closing
/// (src/backend/tcop/backend_startup.c: there is never an answer).
///
/// # Errors
/// The backend could not be reached.
pub async fn forward_cancel(settings: &BackendSettings, request: &CancelRequest) -> Result<(), BackendFailure> {
    let exchange = async {
        let mut stream = open(settings).await?;
        stream.write_all(&request.encode()).await.map_err(|_| BackendFailure::Closed)?;
        // Whatever comes, an end or an error, says that the request is no longer in flight.
        let _ = stream.read(&mut [0; 1]).await;
        Ok(())
    };
    timeout(CANCEL_TIMEOUT, exchange).await.unwrap_or(Err(BackendFailure::Silent))
}

/// How long a CancelRequest may take to be taken.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn open(settings: &BackendSettings) -> Result<BackendStream, BackendFailure> {
    let unreachable = |error| BackendFailure::Unreachable { target: settings.target.to_string(), error };
    match &settings.target {
        BackendTarget::Unix(path) => {
            let stream = connect_unix(path).await.map_err(unreachable)?;
            if let Some(required) = settings.require_peer {
                let found = stream.peer_cred().map_err(unreachable)?.uid();
                if found != required {
                    return Err(BackendFailure::WrongPeer { found, required });
                }
            }
            Ok(BackendStream::Unix(stream))
        }
        BackendTarget::Loopback(address) => {
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            Ok(BackendStream::Loopback(stream))
        }
    }
}

/// A Unix socket whose queue is full answers EAGAIN at once, where TCP would wait: so it is tried again. The caller bounds the time.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let mut pause = FIRST_PAUSE;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Pauses between two tries at a full queue: they double, so that a crowd spreads out.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl AsyncRead for BackendStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Loopback(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for BackendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Loopback(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Loopback(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Loopback(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
