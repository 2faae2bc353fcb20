//! Open descriptors that one process gives another over a Unix socket (unix(7), SCM_RIGHTS), and who the other is.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
    sendmsg,
};

/// The most that one message carries (include/net/scm.h, SCM_MAX_FD).
const MOST_DESCRIPTORS: usize = 253;

/// Sends bytes, and with the first of them the descriptors. How many bytes were taken.
///
/// # Errors
/// What the kernel said; more than 253 do not fit.
pub fn send_with_descriptors(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {MOST_DESCRIPTORS} descriptors cannot be passed")));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Reads some bytes, and the descriptors that came with them.
///
/// # Errors
/// What the kernel said; or more came than one message may carry.
pub fn receive_with_descriptors(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("not all of its descriptors fit into this process: raise the limit on open descriptors"));
    }
    Ok((received.bytes, descriptors))
}

/// Closes a descriptor that this process was started with.
///
/// # Errors
/// There is none of this number.
pub fn close(inherited: RawFd) -> io::Result<()> {
    Ok(nix::unistd::close(inherited)?)
}

/// The process at the other end of a Unix socket, as it was when it connected or listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user that it ran as.
    pub uid: u32,
    /// Its process ID, if it has one here: another container's process may have none.
    pub pid: Option<i32>,
}

impl Peer {
    /// Who is at the other end of `socket`.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let found = getsockopt(socket, PeerCredentials)?;
        Ok(Self { uid: found.uid(), pid: Some(found.pid()).filter(|pid| *pid > 0) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_open_here_can_be_read_there() {
        let (near, far) = UnixStream::pair().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "within").unwrap();
        let opened = File::open(file.path()).unwrap();
        assert_eq!(send_with_descriptors(&near, b"line\n", &[opened.as_fd(), near.as_fd()]).unwrap(), 5);
        let mut bytes = [0; 64];
        let (length, mut descriptors) = receive_with_descriptors(&far, &mut bytes).unwrap();
        assert_eq!((&bytes[..length], descriptors.len()), (b"line\n".as_slice(), 2));
        let mut text = String::new();
        File::from(descriptors.remove(0)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "within");
        let own = Peer { uid: crate::os::effective_uid(), pid: i32::try_from(std::process::id()).ok() };
        assert_eq!(Peer::of(&far).unwrap(), own);
    }
}
