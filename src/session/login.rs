//! The backend's side of the login: its words go to the client as they are, up to the first ReadyForQuery, which waits until the
//! session's start is on record.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep_until, timeout_at};

use super::Transport;
use super::answer::Answer;
use super::arrival::Arrival;
use super::closing::discard;
use super::judge::Judgement;
use super::live::Newcomer;
use super::notice;
use super::panics::attempt;
use super::registry::Registration;
use super::reply::{Rejected, Reply};
use super::startup::Encrypted;
use super::timers::Timers;
use crate::backend::{BackendStream, Credentials};
use crate::error::{BackendFailure, PasswordFault, SessionError};
use crate::identity::{ClientIdentity, ClientName};
use crate::limits::SessionPermit;
use crate::observe::SessionOpening;
use crate::os::unix_now;
use crate::policy::{Bounds, Method, Replication, Request};
use crate::snapshot::Terms;
use crate::types::RoleName;

/// What the backend says before ReadyForQuery, mostly: parameters and its key, all at once.
const GREETING_LENGTH: usize = 2048;

/// A connection whose StartupMessage is with the backend.
pub(super) struct Connecting<S> {
    stream: Encrypted<S>,
    backend: BackendStream,
    identity: ClientIdentity,
    holding: Holding,
    arrival: Box<Arrival>,
}

/// What a grant leaves behind when it is spent: as whom, by which name, held to what, and the slot it takes.
pub(super) struct Holding {
    pub(super) role: RoleName,
    pub(super) clientname: ClientName,
    pub(super) method: Method,
    pub(super) bounds: Bounds,
    /// What was granted.
    pub(super) request: Request,
    pub(super) permit: SessionPermit,
}

/// A session: both sides are ready, and its start is on record.
pub(super) struct Connected<S> {
    pub(super) stream: Encrypted<S>,
    pub(super) backend: BackendStream,
    pub(super) registration: Registration,
    pub(super) permit: SessionPermit,
    /// The backend's answer, ReadyForQuery included, which the client has not had.
    pub(super) greeting: Vec<u8>,
    /// What the backend sent behind it.
    pub(super) early: Vec<u8>,
    pub(super) arrival: Box<Arrival>,
}

impl<S: Transport> Connecting<S> {
    pub(super) fn new(
        stream: Encrypted<S>,
        backend: BackendStream,
        identity: ClientIdentity,
        holding: Holding,
        arrival: Box<Arrival>,
    ) -> Self {
        Self { stream, backend, identity, holding, arrival }
    }

    /// Takes the backend's answer. Between AuthenticationOk and ReadyForQuery it may take its time, as behind PostgreSQL alone, for as
    /// long as the client is there.
    pub(super) async fn log_in(mut self) -> Result<Connected<S>, Rejected<S>> {
        let mut answer = Answer::default();
        let outcome = attempt(self.authenticate(&mut answer)).await;
        let Self { stream, backend, identity, holding, mut arrival, .. } = self;
        arrival.trail.backend_pid = answer.pid().map(u32::cast_signed);
        if outcome.is_ok()
            && let Some(notice) = expiry_notice(&identity, holding.request.replication, &arrival.terms)
        {
            answer.put_before_ready(notice);
        }
        let (greeting, early, cancel) = answer.into_parts();
        let Holding { role, clientname, bounds, request, permit, .. } = holding;
        let reject = |error, stream, arrival| Rejected::new(error, Reply::Encrypted(Box::new(stream)), arrival);
        if let Err(error) = outcome {
            abandon(backend, permit);
            return Err(reject(error, stream, arrival).after(greeting));
        }
        let terms = &arrival.terms;
        let newcomer = Newcomer {
            id: arrival.trail.session,
            client: arrival.trail.client,
            ends: arrival.ends(),
            role,
            startup: arrival.trail.startup.clone(),
            request,
            identity,
            clientname,
            cancel,
            backend: Arc::clone(terms.backend()),
            timers: Timers::of(terms, bounds),
        };
        let registration = match attempt(enter(&arrival, newcomer)).await {
            Ok(registration) => registration,
            Err(error) => {
                abandon(backend, permit);
                return Err(reject(error, stream, arrival));
            }
        };
        Ok(Connected { stream, backend, registration, permit, greeting, early, arrival })
    }

    async fn authenticate(&mut self, answer: &mut Answer) -> Result<(), SessionError> {
        match self.holding.method {
            Method::ScramWithCertificate => self.relay_password(answer).await?,
            Method::Cert | Method::TrustWithCertificate | Method::Reject | Method::Unsupported(_) => {}
        }
        self.converse(answer).await
    }

    async fn converse(&mut self, answer: &mut Answer) -> Result<(), SessionError> {
        loop {
            let reply = answer.understand(self.credentials())?;
            self.tell_backend(&reply).await;
            if answer.is_ready() {
                return Ok(());
            }
            let authenticated = answer.is_authenticated();
            self.receive(answer.inbound(), authenticated).await?;
        }
    }

    /// Waits for more of the backend's words, for as long as the client is there, and until AuthenticationOk no longer than the deadline.
    pub(super) async fn receive(&mut self, inbound: &mut Vec<u8>, authenticated: bool) -> Result<(), SessionError> {
        // Without it read_buf would take 64 bytes at a time.
        inbound.reserve(GREETING_LENGTH);
        let read = self.backend.read_buf(inbound);
        let gone = poll_fn(|cx| self.stream.transport().inner().poll_gone(cx));
        let read = tokio::select! {
            biased;
            read = read => read,
            () = gone => return Err(SessionError::ClientClosed),
            error = self.arrival.must_go() => return Err(error),
            () = sleep_until(self.arrival.deadline()), if !authenticated => return Err(SessionError::Backend(BackendFailure::Silent)),
        };
        if matches!(read, Ok(1..)) { Ok(()) } else { Err(SessionError::Backend(BackendFailure::Closed)) }
    }

    /// A backend that closes instead of reading it is found out by the next read.
    pub(super) async fn tell_backend(&mut self, bytes: &[u8]) {
        let _ = timeout_at(self.arrival.deadline(), self.backend.write_all(bytes)).await;
    }

    pub(super) async fn tell_client(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let Self { stream, arrival, .. } = self;
        let told = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        arrival.in_time(told).await?.map_err(|_| SessionError::ClientClosed)
    }

    pub(super) async fn read_exact_from_client(&mut self, buffer: &mut [u8]) -> Result<(), SessionError> {
        let Self { stream, arrival, .. } = self;
        arrival.in_time(stream.read_exact(buffer)).await?.map(drop).map_err(|_| SessionError::ClientClosed)
    }

    /// A password exchange that is at fault.
    pub(super) fn password(&self, fault: PasswordFault) -> SessionError {
        SessionError::Password(fault, self.holding.role.clone())
    }

    fn credentials(&self) -> Credentials<'_> {
        let terms = &self.arrival.terms;
        let startup = self.arrival.trail.startup.as_ref();
        let database = startup.map(|startup| &*startup.database).filter(|name| !name.is_empty()).unwrap_or(b"replication");
        Credentials::of(terms.backend(), terms.passfile(), database, &self.holding.role)
    }
}

/// Leaves a backend that has no session. It keeps its place until it has ended: one that sleeps on in its login (post_auth_delay) takes one
/// of PostgreSQL's too.
fn abandon(mut backend: BackendStream, permit: SessionPermit) {
    tokio::spawn(async move {
        let _ = backend.shutdown().await;
        discard(&mut backend, usize::MAX).await;
        drop(permit);
    });
}

/// What a client is told of its certificate. A walsender's client does not expect a word.
fn expiry_notice(identity: &ClientIdentity, replication: Replication, terms: &Terms) -> Option<Vec<u8>> {
    let within = terms.expiry_notice().filter(|_| replication == Replication::None)?;
    notice::of_expiry(identity, within, unix_now())
}

/// Makes it a session that others can see, and puts its start on record.
async fn enter(arrival: &Arrival, newcomer: Newcomer) -> Result<Registration, SessionError> {
    let registration = arrival.door.house.sessions.register(newcomer).ok_or(SessionError::Draining)?;
    // A reload since the arrival has judged those who were in; whoever was on the way is judged now.
    let current = arrival.door.snapshots.current();
    if !Arc::ptr_eq(current.terms(), &arrival.terms) {
        Judgement::of(vec![Arc::clone(registration.session())], &current, unix_now()).settle(&arrival.door.snapshots);
    }
    drop(current);
    let opening = SessionOpening { trail: arrival.trail.clone(), setup: arrival.accepted.elapsed() };
    let recorded = arrival.door.observers.record_session_start(&opening).await;
    recorded.map(|()| registration).map_err(|_| SessionError::AuditUnavailable)
}
