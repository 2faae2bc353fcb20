//! A session as a task of its own: the relay, and what is done when it is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::Transport;
use super::arrival::Door;
use super::closing::{part_encrypted, part_mute};
use super::login::Connected;
use super::panics::poll_guarded;
use super::registry::Registration;
use super::relay::{Finish, Parting, Relay, Release, Traffic};
use super::startup::Encrypted;
use crate::backend::BackendStream;
use crate::error::EndReason;
use crate::limits::SessionPermit;
use crate::observe::{Event, SessionReport};

/// The relay of a client's TLS connection and a backend's socket.
type Pipe<S> = Relay<Encrypted<S>, BackendStream>;

/// What is left to do and to say when the relay is over.
struct Tail {
    door: Arc<Door>,
    registration: Registration,
    permit: SessionPermit,
}

/// The task of a session: small, because there are as many as sessions.
struct Session<S> {
    pipe: Option<Pipe<S>>,
    tail: Option<Box<Tail>>,
}

impl<S: Transport> Connected<S> {
    /// Lets the session run as a task of its own.
    pub(super) fn pipe(self) {
        let Self { stream, backend, registration, permit, greeting, early, arrival } = self;
        let super::Arrival { door, .. } = *arrival;
        let pipe = Relay::new(stream, backend, Arc::clone(registration.session()), greeting, &early);
        let tail = Tail { door, registration, permit };
        tokio::spawn(Session { pipe: Some(pipe), tail: Some(Box::new(tail)) });
    }
}

impl<S: Transport> Future for Session<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(()) };
        let lost = Finish { reason: EndReason::Internal, parting: Parting::Mute, release: Release::AtWork };
        let finish = ready!(poll_guarded(pipe, cx)).unwrap_or(lost);
        if let (Some(pipe), Some(tail)) = (self.pipe.take(), self.tail.take()) {
            let traffic = pipe.traffic();
            let (client, backend) = pipe.into_streams();
            // A pointer: the futures that say goodbye would hold the stream several times over.
            tokio::spawn(tail.close(Box::new(client), backend, traffic, finish));
        }
        Poll::Ready(())
    }
}

impl Tail {
    /// Records the end, then leaves both sides: the client with its last message, the backend with nothing to do for nobody.
    async fn close<S: Transport>(self: Box<Self>, client: Box<Encrypted<S>>, backend: BackendStream, traffic: Traffic, finish: Finish) {
        let Self { door, registration, permit } = *self;
        let session = registration.session();
        // It may have ended for another reason before it could follow the order.
        let withdrawal = session.withdrawal().filter(|withdrawal| withdrawal.reason() == finish.reason);
        door.observers.emit(&Event::SessionEnded(&SessionReport {
            session: session.id(),
            client: session.client(),
            role: session.role().clone(),
            database: session.startup().map(|startup| startup.database.clone()).unwrap_or_default(),
            reason: finish.reason,
            detail: withdrawal.map(ToString::to_string),
            duration: session.started().elapsed(),
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            statements: traffic.statements,
            errors: traffic.errors,
            truncated: traffic.truncated,
        }));
        let leave_client = async {
            match finish.parting {
                Parting::Orderly => {
                    let farewell = withdrawal.map_or_else(|| finish.reason.farewell(), |withdrawal| Some(withdrawal.response()));
                    let last_words = farewell.map(|response| response.encode()).unwrap_or_default();
                    part_encrypted(client, &last_words).await;
                }
                Parting::Mute => part_mute(client).await,
            }
        };
        let leave_backend = async {
            if finish.release != Release::Closed
                && let Some(request) = session.cancel()
            {
                let stubborn = || door.observers.emit(&Event::BackendStaysAtWork { session: session.id(), pid: request.pid });
                let at_work = finish.release == Release::AtWork;
                Box::pin(door.house.call_offs.call_off(backend, at_work, session.backend(), request, stubborn)).await;
            }
        };
        tokio::join!(leave_client, leave_backend);
        drop(permit);
    }
}
