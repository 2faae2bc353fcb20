//! Listening sockets that systemd has bound, and passes to the processes that it starts (sd_listen_fds_with_names(3)).
//!
//! The home of `listenfd`.

use std::env;
use std::fmt;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// The sockets that this process was started with, each with the name that its unit gives it.
pub struct Inherited {
    sockets: ListenFd,
    names: Vec<String>,
}

/// A name that cannot be listened on.
#[derive(Debug)]
pub struct InheritError {
    name: String,
    what: Obstacle,
}

#[derive(Debug)]
enum Obstacle {
    /// What was passed instead.
    NotPassed(Vec<String>),
    /// It is no listening TCP socket.
    NotTcp(io::Error),
}

impl Inherited {
    /// Those that the environment tells of. Once, before there is a thread.
    pub fn from_environment() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        let names = names.split(':').take(sockets.len()).map(str::to_owned).collect();
        Self { sockets, names }
    }

    /// All sockets of a name: a unit can have several.
    ///
    /// # Errors
    /// There is none, or one that is no TCP socket.
    pub fn take(&mut self, name: &str) -> Result<Vec<TcpListener>, InheritError> {
        let fault = |what| InheritError { name: name.to_owned(), what };
        let named = self.names.iter().enumerate().filter(|(_, own)| *own == name);
        let mut found = Vec::new();
        for (index, _) in named {
            let listener = self.sockets.take_tcp_listener(index).map_err(|error| fault(Obstacle::NotTcp(error)))?;
            found.extend(listener);
        }
        if found.is_empty() {
            return Err(fault(Obstacle::NotPassed(self.names.clone())));
        }
        found.iter().try_for_each(|listener| listener.set_nonblocking(true)).map_err(|error| fault(Obstacle::NotTcp(error)))?;
        Ok(found)
    }
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, what } = self;
        write!(f, "listen: systemd:{name}: ")?;
        match what {
            Obstacle::NotPassed(names) if names.is_empty() => {
                write!(
                    f,
                    "systemd passed no socket; enable a socket unit with FileDescriptorName={name}, and start the service by systemctl"
                )
            }
            Obstacle::NotPassed(names) => {
                write!(f, "systemd passed the sockets {}; expected FileDescriptorName={name} in the socket unit", names.join(", "))
            }
            Obstacle::NotTcp(error) => write!(f, "it is no listening TCP socket ({error}); write ListenStream=PORT in the socket unit"),
        }
    }
}

impl std::error::Error for InheritError {}
