//! Where operators look: metrics, probes and a status page over HTTP, read only, and a Unix socket where sessions can be seen and ended.
//!
//! Nothing here can be reached through the door that clients use, and nothing here opens a connection to the backend on request.

mod desk;
mod handover;
mod health;
mod host;
mod http;
mod page;
mod predecessor;
mod protocol;
mod socket;
mod socket_file;
mod stream;
mod verbs;
mod view;

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

pub use desk::{LeaveCalls, LeaveDesk, Leaving, ReloadCalls, ReloadDesk, ReloadOutcome};
pub use handover::Listeners;
pub use health::Phase;
pub use page::lines;
pub use predecessor::{HandoverError, Incumbent, Relieved};
pub use protocol::{Body, CertLine, DrainLine, Fault, FaultCode, Reply, Request, Selector, SessionLine};
pub use socket_file::SocketError;
pub use view::{About, BackendStatus, CertificatesStatus, ConnectionsStatus, SessionsStatus, Status, View};

use health::{BackendState, watch_backend};
use http::Endpoint;
use socket_file::{AdminSocket, SocketFile};

use crate::config::AdminSettings;
use crate::listen::{BindError, bind};
use crate::observe::Event;

/// The endpoint and the socket, bound and not yet served.
#[derive(Debug)]
pub struct Admin {
    endpoint: Option<TcpListener>,
    hosts: Vec<String>,
    socket: Option<AdminSocket>,
}

/// Endpoint and socket while they are served; dropping it ends both.
#[derive(Debug)]
pub struct ServedAdmin {
    _tasks: JoinSet<()>,
    endpoint: Option<AbortHandle>,
    file: Option<Arc<SocketFile>>,
}

/// Why operators could not look.
#[derive(Debug)]
pub enum AdminError {
    /// `admin.listen` cannot be bound.
    Endpoint(BindError),
    /// `admin.socket` cannot be made.
    Socket(SocketError),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Its text begins with `listen:`.
            Self::Endpoint(error) => write!(f, "admin.{error}"),
            Self::Socket(error) => error.fmt(f),
        }
    }
}

impl Admin {
    /// Binds the endpoint, if one is configured, unless the daemon that runs already gives it.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn bind(settings: &AdminSettings, incumbent: Option<&mut Incumbent>) -> Result<Self, AdminError> {
        let given = settings.listen.zip(incumbent).and_then(|(address, incumbent)| incumbent.take(address));
        let bound = || settings.listen.map(bind).transpose().map_err(AdminError::Endpoint);
        let endpoint = given.map_or_else(bound, |given| Ok(Some(given)))?;
        Ok(Self { endpoint, hosts: settings.hosts.clone(), socket: None })
    }

    /// Makes the socket, if one is configured: as the user whom it is to belong to. Nobody finds it before [`Admin::publish`]. The name may
    /// be in use only where its owner is taken over from.
    ///
    /// # Errors
    /// It cannot be made; nothing is left behind.
    pub fn with_socket(self, settings: &AdminSettings, takes_over: bool) -> Result<Self, AdminError> {
        let make = |path| AdminSocket::bind(path, takes_over);
        let socket = settings.socket.as_deref().map(make).transpose().map_err(AdminError::Socket)?;
        Ok(Self { socket, ..self })
    }

    /// Gives the socket its name: from then on this is the process that operators ask.
    ///
    /// # Errors
    /// It cannot have it; it is served under the one that it was made with.
    pub fn publish(&mut self) -> Result<(), AdminError> {
        self.socket.as_mut().map_or(Ok(()), AdminSocket::publish).map_err(AdminError::Socket)
    }

    /// The endpoint's listener once more, for who may have to give it away.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn another_endpoint(&self) -> io::Result<Option<TcpListener>> {
        self.endpoint.as_ref().map(TcpListener::try_clone).transpose()
    }

    /// Begins to serve, within a runtime.
    ///
    /// # Errors
    /// The kernel or the runtime refuses a socket.
    pub fn serve(self, view: View) -> io::Result<ServedAdmin> {
        let Self { endpoint, hosts, socket } = self;
        let view = Arc::new(view);
        let mut tasks = JoinSet::new();
        let (seen, backend) = watch::channel(BackendState::Unknown);
        if endpoint.is_some() || socket.is_some() {
            tasks.spawn(watch_backend(Arc::clone(&view.snapshots), view.observers.clone(), seen));
        }
        let mut served = None;
        if let Some(listener) = endpoint {
            let address = format!("http://{}", listener.local_addr()?);
            let endpoint = Endpoint { view: Arc::clone(&view), backend: backend.clone(), hosts };
            served = Some(tasks.spawn(http::serve(tokio::net::TcpListener::from_std(listener)?, endpoint)));
            view.observers.emit(&Event::AdminListening { address: &address });
        }
        let mut file = None;
        if let Some((listener, name)) = socket.map(AdminSocket::into_parts) {
            let (address, name) = (name.to_string(), Arc::new(name));
            file = Some(Arc::clone(&name));
            tasks.spawn(socket::serve(tokio::net::UnixListener::from_std(listener)?, name, Arc::clone(&view), backend));
            view.observers.emit(&Event::AdminListening { address: &address });
        }
        Ok(ServedAdmin { _tasks: tasks, endpoint: served, file })
    }
}

impl ServedAdmin {
    /// Whoever looks at the endpoint from now on sees the successor.
    pub fn leave_endpoint(&self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.abort();
        }
    }
}

impl Drop for ServedAdmin {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}
