//! The accept loop: it never waits for a session, and outlives every error of accept(2).

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::tcp::{BACKLOG, prepare};
use crate::observe::Event;
use crate::os;
use crate::session::{self, Door};
use crate::types::PeerAddress;

/// The pause after an accept(2) that failed for want of descriptors or memory: long enough not to spin, short enough not to be felt.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How often such a failure is told; all are counted.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Serves every connection of `listener` as a task of its own, until `stop` says so or its sender is gone; then those that wait in its
/// queue, and no more.
pub async fn accept_all(listener: TcpListener, door: Arc<Door>, mut stop: watch::Receiver<bool>) {
    let mut reserve = Reserve::take();
    let mut told = None;
    loop {
        let accepted = tokio::select! {
            // Both branches are cancel-safe: a connection is either returned or left in the queue.
            accepted = listener.accept() => Some(accepted),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(accepted) = accepted else { break };
        match accepted {
            Ok((stream, address)) => receive(stream, address, &door),
            Err(error) if belongs_to_connection(&error) => {}
            Err(error) => {
                let again = told.is_some_and(|told: Instant| told.elapsed() < TELL_INTERVAL);
                door.observers.emit(&Event::AcceptFailed { error: &error, again });
                if !again {
                    told = Some(Instant::now());
                }
                if os::is_out_of_descriptors(&error) && !door.house.handshakes.shed_oldest() {
                    reserve.turn_one_away(&listener).await;
                }
                sleep(BACK_OFF).await;
            }
        }
    }
    take_those_who_wait(&listener, BACKLOG, |stream, address| receive(stream, address, &door)).await;
}

fn receive(stream: TcpStream, address: SocketAddr, door: &Arc<Door>) {
    door.observers.emit(&Event::ConnectionAccepted);
    // What fails here is a connection that has gone already.
    if prepare(&stream).is_ok() {
        tokio::spawn(session::serve(stream, PeerAddress::new(address), Arc::clone(door)));
    }
}

/// The kernel has accepted them: closing the listener would reset them. No more than its queue holds: those who keep coming would keep
/// the daemon from its end.
async fn take_those_who_wait(listener: &TcpListener, most: u16, mut receive: impl FnMut(TcpStream, SocketAddr)) {
    for _ in 0..most {
        let Ok(Ok((stream, address))) = timeout(Duration::ZERO, listener.accept()).await else { return };
        receive(stream, address);
    }
}

/// A descriptor that is kept back: with it, one who waits can be turned away even when there is no other left, instead of waiting for
/// nothing.
struct Reserve(Option<File>);

impl Reserve {
    fn take() -> Self {
        Self(File::open("/dev/null").ok())
    }

    async fn turn_one_away(&mut self, listener: &TcpListener) {
        self.0 = None;
        let _ = timeout(Duration::from_millis(1), listener.accept()).await;
        *self = Self::take();
    }
}

/// Errors of the connection that was to be accepted, not of the listener: accept(2) says to go on as if nothing had been.
fn belongs_to_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[tokio::test]
    async fn at_the_end_those_who_wait_are_taken_and_those_who_keep_coming_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let mut clients = vec![connect(), connect(), connect()];
        let mut taken = Vec::new();
        take_those_who_wait(&listener, 5, |stream, _| {
            taken.push(stream);
            // A newcomer for each that is taken.
            clients.push(connect());
        })
        .await;
        assert_eq!(taken.len(), 5);
        take_those_who_wait(&listener, u16::MAX, |stream, _| taken.push(stream)).await;
        assert_eq!((taken.len(), clients.len()), (8, 8), "an empty queue is not waited for");
    }

    #[test]
    fn want_of_descriptors_or_memory_is_no_error_of_a_connection() {
        for (errno, of_connection) in [
            (Errno::EMFILE, false),
            (Errno::ENFILE, false),
            (Errno::ENOBUFS, false),
            (Errno::ENOMEM, false),
            (Errno::ECONNABORTED, true),
            (Errno::EPERM, true),
            (Errno::ENETDOWN, true),
            (Errno::EINTR, true),
        ] {
            assert_eq!(belongs_to_connection(&io::Error::from(errno)), of_connection, "{errno}");
        }
    }
}
