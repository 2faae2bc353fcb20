//! Listening sockets that systemd has bound, and passes to the processes that it starts (sd_listen_fds_with_names(3)).
//!
//! The home of `listenfd`.

use std::env;
use std::fmt;
use std::io;
use std::iter;
use std::net::TcpListener;
use std::process;

use listenfd::ListenFd;

use super::tcp::adopt;
use crate::os;

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
        // What was meant for a parent of this process is not here, whatever the numbers say (sd_listen_fds(3)).
        let ours = env::var("LISTEN_PID").is_ok_and(|pid| pid == process::id().to_string());
        let sockets = if ours { ListenFd::from_env() } else { ListenFd::empty() };
        // One without a name is called so by systemd, and by nobody else at all.
        let names = names.split(':').chain(iter::repeat("unknown")).take(sockets.len()).map(str::to_owned).collect();
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
            let listener = self.sockets.take_tcp_listener(index).and_then(|listener| listener.map(adopt).transpose());
            found.extend(listener.map_err(|error| fault(Obstacle::NotTcp(error)))?);
        }
        if found.is_empty() {
            return Err(fault(Obstacle::NotPassed(self.names.clone())));
        }
        Ok(found)
    }

    /// Closes all that nobody has taken, whose clients would wait for ever; gives their names.
    pub fn close_rest(mut self) -> Vec<String> {
        let rest = self.names.into_iter().enumerate().filter_map(|(index, name)| {
            let descriptor = self.sockets.take_raw_fd(index).ok().flatten()?;
            os::close(descriptor).is_ok().then_some(name)
        });
        rest.collect()
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
            Obstacle::NotTcp(error) => write!(f, "{error}, expected one that listens by TCP; write ListenStream=PORT in the socket unit"),
        }
    }
}

impl std::error::Error for InheritError {}
