//! Leaving a client so that the last words reach it.
//!
//! A socket that is closed with unread bytes answers with RST, and an RST makes the peer forget what it has received: so the last
//! message is flushed, our side is closed, and what still comes is read and dropped, for a bounded time and a bounded amount.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::Transport;
use super::startup::Encrypted;

/// How long the last words may take to be taken.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what still comes is read and dropped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of it, and how much at once.
const DRAIN_LIMIT: usize = 256 * 1024;
const DRAIN_SIZE: usize = 8 * 1024;

/// Sends the last words in the clear, if there are any, and FIN.
pub(super) async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, last_words: &[u8]) {
    let _ = timeout(FLUSH_TIMEOUT, say(&mut stream, last_words)).await;
    drain(&mut stream).await;
}

/// Sends the last words inside TLS, if there are any, then close_notify and FIN.
pub(super) async fn part_encrypted<S: Transport>(mut stream: Box<Encrypted<S>>, last_words: &[u8]) {
    let _ = timeout(FLUSH_TIMEOUT, say(&mut *stream, last_words)).await;
    drain(stream.transport_mut()).await;
}

/// Sends FIN without close_notify: the peer can tell that something is missing.
pub(super) async fn part_mute<S: Transport>(mut stream: Box<Encrypted<S>>) {
    part(stream.transport_mut(), b"").await;
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, last_words: &[u8]) {
    if stream.write_all(last_words).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

async fn drain<S: AsyncRead + Unpin>(stream: &mut S) {
    let _ = timeout(DRAIN_TIMEOUT, discard(stream, DRAIN_LIMIT)).await;
}

/// Reads and drops what comes until it ends, or until so many bytes have come.
pub(super) async fn discard<S: AsyncRead + Unpin>(stream: &mut S, most: usize) {
    let mut left = most;
    poll_fn(|cx| {
        // Memory by poll, not by connection: when a service stops, thousands leave at once.
        let mut buffer = [MaybeUninit::uninit(); DRAIN_SIZE];
        while left > 0 {
            let mut read = ReadBuf::uninit(&mut buffer);
            if ready!(Pin::new(&mut *stream).poll_read(cx, &mut read)).is_err() || read.filled().is_empty() {
                break;
            }
            left = left.saturating_sub(read.filled().len());
        }
        Poll::Ready(())
    })
    .await;
}
