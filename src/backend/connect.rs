//! Reaching the backend: a socket, and proof of who is at its other end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{BackendSettings, BackendTarget};
use crate::error::BackendFailure;
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

/// Connects and sends the client's StartupMessage as the granted role. The grant is spent: one grant, one session.
///
/// A backend that closes while the packet is on its way may have said why: the caller reads on and finds its words, or its end.
///
/// # Errors
/// The cause; the caller bounds the time.
pub async fn connect(settings: &BackendSettings, startup: &StartupMessage, grant: Grant) -> Result<BackendStream, BackendFailure> {
    let mut stream = open(settings).await?;
    let _ = stream.write_all(&startup.encode_as(grant.role())).await;
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
    match &settings.target {
        BackendTarget::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(BackendFailure::Unreachable)?;
            if let Some(required) = settings.require_peer {
                let found = stream.peer_cred().map_err(BackendFailure::Unreachable)?.uid();
                if found != required {
                    return Err(BackendFailure::WrongPeer { found, required });
                }
            }
            Ok(BackendStream::Unix(stream))
        }
        BackendTarget::Loopback(address) => {
            let stream = TcpStream::connect(address).await.map_err(BackendFailure::Unreachable)?;
            stream.set_nodelay(true).map_err(BackendFailure::Unreachable)?;
            Ok(BackendStream::Loopback(stream))
        }
    }
}

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
