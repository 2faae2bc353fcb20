//! The operating system's answers to questions about itself: with `harden`, the home of `nix`; that of `rustix`.

mod account;
mod capabilities;
mod clock;
mod connect;
mod descriptors;
mod listeners;
mod lock;
mod process;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::kill;
use nix::sys::socket::SockaddrStorage;
use nix::unistd::{AccessFlags, Gid, Pid, Uid, access, getgroups, setegid, seteuid, setgroups};

pub use account::Account;
pub use capabilities::{drop_capabilities, empty_bounding_set};
pub use clock::monotonic;
pub use connect::connect_at_once;
#[cfg(test)]
pub use connect::stopped_listener;
pub use descriptors::{Peer, close, receive_with_descriptors, send_with_descriptors};
pub use listeners::Listeners;
pub use lock::Lock;
pub use nix::sys::signal::Signal;
pub use nix::unistd::User;
pub use process::{cpu_time, most_descriptors, open_descriptors, resident_bytes, threads};

/// The uid of the user who may be anybody.
pub const ROOT: u32 = 0;
/// The mode of a folder where everybody may remove only what is theirs: S_ISVTX (inode(7)).
pub const STICKY: u32 = 0o1000;

/// The uid of a user's name, as the system's databases know it; `None` where they do not.
///
/// # Errors
/// The databases could not be asked.
pub fn uid_of(name: &str) -> io::Result<Option<u32>> {
    Ok(user(name)?.map(|user| user.uid.as_raw()))
}

/// A user of this machine, by name; `None` where the system's databases know none.
///
/// # Errors
/// The databases could not be asked.
pub fn user(name: &str) -> io::Result<Option<User>> {
    Ok(User::from_name(name)?)
}

/// The name of a user; `None` where the system's databases know none.
///
/// # Errors
/// The databases could not be asked.
pub fn user_name(uid: u32) -> io::Result<Option<String>> {
    Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name))
}

/// The wall clock, in seconds since 1970.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// Whom this process acts as.
pub fn effective_uid() -> u32 {
    Uid::effective().as_raw()
}

/// The group that this process acts as.
pub fn effective_gid() -> u32 {
    Gid::effective().as_raw()
}

/// The addresses of this machine's network interfaces, each with its network's mask; without one that can be read, as a network of
/// its own (src/port/ifaddr.c, run_ifaddr_callback).
///
/// # Errors
/// They cannot be listed.
pub fn interfaces() -> io::Result<Vec<IpNet>> {
    let ip = |address: SockaddrStorage| match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (None, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        (None, None) => None,
    };
    let network = |interface: InterfaceAddress| {
        let address = ip(interface.address?)?;
        let mask = interface.netmask.and_then(ip).filter(|mask| !mask.is_unspecified());
        mask.and_then(|mask| IpNet::with_netmask(address, mask).ok()).or(Some(IpNet::from(address)))
    };
    Ok(getifaddrs()?.filter_map(network).collect())
}

/// Does something as another user, without any group but its own, and is itself again afterwards. The whole process is that user
/// meanwhile: for commands of one thread.
///
/// # Errors
/// This process may not act as that user, or cannot become itself again.
pub fn acting_as<T>(uid: u32, step: impl FnOnce() -> T) -> io::Result<T> {
    let (me, mine, groups) = (Uid::effective(), Gid::effective(), getgroups()?);
    let gid = User::from_uid(Uid::from_raw(uid))?.map_or(Gid::from_raw(uid), |user| user.gid);
    setgroups(&[])?;
    let outcome = setegid(gid).and_then(|()| seteuid(Uid::from_raw(uid))).map(|()| step());
    seteuid(me)?;
    setegid(mine)?;
    setgroups(&groups)?;
    Ok(outcome?)
}

/// The same for people, and for chown(1): the name, or the number where the databases know none.
pub fn us() -> String {
    let us = effective_uid();
    Account::of_uid(us).ok().and_then(|account| account.name).unwrap_or_else(|| us.to_string())
}

/// Whether this user may write to a file, or make files in a folder (access(2)).
///
/// # Errors
/// What the kernel said instead of yes.
pub fn may_write(path: &Path) -> io::Result<()> {
    Ok(access(path, AccessFlags::W_OK)?)
}

/// Opens a file for reading, without waiting for anybody at the other end if it is a pipe.
///
/// # Errors
/// It cannot be opened.
pub fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

/// Opens a folder, and not through a link.
///
/// # Errors
/// It cannot be opened, or is no folder.
pub fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits()).open(path)
}

/// Tells one process. That it is gone already is no error.
///
/// # Errors
/// It belongs to somebody else, or `pid` is none.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    // Neither 0 nor a negative number: those are groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Raises the soft limit on open descriptors to the hard one; gives what holds then.
///
/// # Errors
/// The kernel does not say, or does not allow it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Whether a call failed because this process (EMFILE) or this machine (ENFILE) has no descriptor left.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::EMFILE, Errno::ENFILE].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// TCP connections that neither side has closed for good, each with our end first.
#[derive(Debug, Default)]
pub struct Connections {
    /// Those of this network namespace. A table that changes while it is read may leave one out.
    pub open: HashSet<(SocketAddr, SocketAddr)>,
    /// Those among them on which data is on its way and nothing is heard: the retransmission or window-probe timer is running, and at least
    /// [`UNANSWERED`] packets in a row were not acknowledged (proc_net_tcp, net/ipv4/tcp_ipv4.c, get_tcp4_sock). A peer that answers window
    /// probes is not among them: each answer sets its count to zero.
    pub unheard: Vec<(SocketAddr, SocketAddr)>,
}

/// The TCP connections of this network namespace.
///
/// # Errors
/// The kernel's table cannot be read.
pub fn connections() -> io::Result<Connections> {
    let ipv4 = fs::read_to_string("/proc/self/net/tcp")?;
    // A kernel without IPv6 has no such table.
    let ipv6 = fs::read_to_string("/proc/self/net/tcp6").unwrap_or_default();
    let mut connections = Connections::default();
    for (ends, heard) in ipv4.lines().chain(ipv6.lines()).filter_map(connection) {
        connections.open.insert(ends);
        if !heard {
            connections.unheard.push(ends);
        }
    }
    Ok(connections)
}

/// Packets in a row that were not acknowledged: with Linux's doubling timer, some six seconds of silence on a fast network.
const UNANSWERED: u32 = 4;

/// TCP_ESTABLISHED and TCP_CLOSE_WAIT (include/net/tcp_states.h) as the table prints them.
const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";

/// The ends of one line, and whether they are heard, if neither side has closed it for good: `sl local remote st tx:rx timer:when
/// retransmits uid probes inode ..`, numbers in hexadecimal but the last.
fn connection(line: &str) -> Option<((SocketAddr, SocketAddr), bool)> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (local, remote, state) = (columns.next()?, columns.next()?, columns.next()?);
    let timer = columns.nth(1)?;
    let retransmits = u32::from_str_radix(columns.next()?, 16).ok()?;
    let probes = columns.nth(1)?.parse().ok()?;
    let unanswered = match timer.split_once(':')?.0 {
        "01" => retransmits,
        "04" => probes,
        _ => 0,
    };
    let open = [ESTABLISHED, CLOSE_WAIT].contains(&state);
    open.then(|| Some(((socket_address(local)?, socket_address(remote)?), unanswered < UNANSWERED))).flatten()
}

/// `ADDRESS:PORT` as the kernel prints them: the address in words of four bytes, each in the machine's order.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at..at.checked_add(8)?)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let octets = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_a_machine_can_run_out_of_descriptors() {
        for (errno, out) in [(Errno::EMFILE, true), (Errno::ENFILE, true), (Errno::ENOMEM, false), (Errno::ENOBUFS, false)] {
            assert_eq!(is_out_of_descriptors(&io::Error::from(errno)), out, "{errno}");
        }
        assert!(!is_out_of_descriptors(&io::Error::other("no number")));
    }

    #[test]
    fn a_peer_is_unheard_when_its_timer_runs_and_nothing_is_acknowledged() {
        let line = |timer: &str, retransmits: u32, probes: u32| {
            format!(
                "  12: 0100007F:1920 0302000A:C350 01 00000040:00000000 {timer}:0000014A {retransmits:08X}     0        {probes} 12345 4 0000"
            )
        };
        let ends = Some(("127.0.0.1:6432".parse().unwrap(), "10.0.2.3:50000".parse().unwrap()));
        let heard = |timer: &str, retransmits, probes| {
            let (found, heard) = connection(&line(timer, retransmits, probes)).unwrap();
            assert_eq!(Some(found), ends);
            heard
        };
        assert!(!heard("01", 4, 0) && !heard("04", 0, 4));
        assert!(heard("01", 3, 0));
        assert!(heard("04", 9, 0), "a stopped reader answers every probe");
        assert!(heard("02", 9, 9), "keepalive has limits of its own");
        assert_eq!(connection("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"), None);
    }

    #[test]
    fn an_ipv6_address_is_four_words_in_the_machines_order() {
        let mapped = socket_address("0000000000000000FFFF00000302000A:1538");
        assert_eq!(mapped, Some("10.0.2.3:5432".parse().unwrap()));
        assert_eq!(socket_address("00000000000000000000000001000000:1538"), Some("[::1]:5432".parse().unwrap()));
        assert_eq!(socket_address("0302000A"), None);
    }

    #[test]
    fn the_kernels_table_can_be_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ends = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        // It may be left out of a table that changes while it is read.
        assert!((0..20).any(|_| connections().unwrap().open.contains(&ends)));
    }

    #[test]
    fn a_folder_is_not_opened_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(open_folder(dir.path()).is_ok());
        assert!(open_folder(&link).is_err());
    }

    #[test]
    fn what_we_create_belongs_to_the_uid_that_we_act_as() {
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(tempfile::tempfile().unwrap().metadata().unwrap().uid(), effective_uid());
    }

    #[test]
    fn root_is_uid_0_and_a_strange_name_is_nobody() {
        assert_eq!(uid_of("root").ok(), Some(Some(0)));
        assert_eq!(uid_of("no-such-user-of-postern").ok(), Some(None));
        assert_eq!(uid_of("root\0").ok(), Some(None));
    }
}
