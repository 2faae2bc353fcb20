//! Connections that wait for nobody.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Connects to a Unix socket. Where as many wait already as its listener takes, connect(2) would wait with them, without end if that process
/// is stopped: this does not. What is read and written by the connection waits as ever.
///
/// # Errors
/// What the kernel said; [`io::ErrorKind::WouldBlock`] if it would have to wait.
pub fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A listener with as many waiting as it takes, as that of a process that is stopped; and who waits.
#[cfg(test)]
pub fn stopped_listener(path: &Path) -> (std::os::unix::net::UnixListener, UnixStream) {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = connect_at_once(path).unwrap();
    (listener, waiting)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_that_accepts_nobody_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stopped.sock");
        let (listener, waiting) = stopped_listener(&path);
        assert_eq!(connect_at_once(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop((listener, waiting));
        assert_eq!(connect_at_once(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(connect_at_once(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_read_by_the_connection_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alive.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut near = connect_at_once(&path).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let reader = std::thread::spawn(move || near.read(&mut [0; 1]).unwrap());
        far.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    }
}
