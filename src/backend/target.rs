//! Where the one PostgreSQL behind Postern listens: on this machine, or nowhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A backend's address. A host that is not this machine cannot be constructed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendTarget {
    /// A Unix socket: the directory's `.s.PGSQL.PORT`, as libpq forms it.
    Unix(PathBuf),
    /// 127.0.0.0/8 or ::1.
    Loopback(SocketAddr),
}

/// A `backend.host` that is neither a directory nor loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLocal;

impl fmt::Display for NotLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an absolute directory, a loopback address or localhost")
    }
}

impl BackendTarget {
    /// Reads libpq's `host` and `port`: an absolute path is the socket's directory, `localhost` is 127.0.0.1, and an IP literal
    /// must be loopback. No name is ever looked up.
    ///
    /// # Errors
    /// [`NotLocal`] for everything else.
    pub fn parse(host: &str, port: u16) -> Result<Self, NotLocal> {
        if Path::new(host).is_absolute() {
            return Ok(Self::Unix(Path::new(host).join(format!(".s.PGSQL.{port}"))));
        }
        if host == "localhost" {
            return Ok(Self::Loopback(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        let address: IpAddr = host.parse().map_err(|_| NotLocal)?;
        let loopback = match address {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST,
        };
        loopback.then(|| Self::Loopback(SocketAddr::new(address, port))).ok_or(NotLocal)
    }
}

impl fmt::Display for BackendTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Loopback(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_can_be_a_backend() {
        assert_eq!(BackendTarget::parse("/var/run/postgresql", 5433), Ok(BackendTarget::Unix("/var/run/postgresql/.s.PGSQL.5433".into())));
        for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
            assert!(matches!(BackendTarget::parse(host, 5432), Ok(BackendTarget::Loopback(_))), "{host}");
        }
        for host in ["", "db.example", "10.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "relative/dir", "@abstract", "LOCALHOST"] {
            assert_eq!(BackendTarget::parse(host, 5432), Err(NotLocal), "{host}");
        }
    }
}
