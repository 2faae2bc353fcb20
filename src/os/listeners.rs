//! Who listens by TCP, by the kernel's tables (proc_net_tcp, proc_pid_fd).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::SocketAddr;

use super::socket_address;

/// TCP_LISTEN (include/net/tcp_states.h) as the table prints it.
const LISTEN: &str = "0A";

/// Listening TCP sockets.
pub struct Listeners;

impl Listeners {
    /// Those that a process holds open, in its own network namespace.
    ///
    /// # Errors
    /// It is gone, or belongs to somebody else.
    pub fn of_process(pid: u32) -> io::Result<Vec<SocketAddr>> {
        let mut inodes = HashSet::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // A descriptor that was closed meanwhile is none.
            let Ok(target) = fs::read_link(entry?.path()) else { continue };
            let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
            inodes.extend(inode);
        }
        let all = table(&format!("/proc/{pid}/net"))?;
        Ok(all.into_iter().filter(|(_, inode)| inodes.contains(inode)).map(|(address, _)| address).collect())
    }

    /// All of this network namespace.
    ///
    /// # Errors
    /// The kernel's table cannot be read.
    pub fn here() -> io::Result<Vec<SocketAddr>> {
        Ok(table("/proc/self/net")?.into_iter().map(|(address, _)| address).collect())
    }
}

fn table(folder: &str) -> io::Result<Vec<(SocketAddr, u64)>> {
    let ipv4 = fs::read_to_string(format!("{folder}/tcp"))?;
    // A kernel without IPv6 has no such table.
    let ipv6 = fs::read_to_string(format!("{folder}/tcp6")).unwrap_or_default();
    Ok(ipv4.lines().chain(ipv6.lines()).filter_map(listener).collect())
}

/// Address and inode of one line, if it listens: `sl local remote st tx:rx timer:when retransmits uid probes inode ..`.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let local = columns.next()?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?.parse().ok()?;
    (state == LISTEN).then(|| Some((socket_address(local)?, inode))).flatten()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_this_process_listens_on_is_found_and_nothing_else() {
        let mine = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = mine.local_addr().unwrap();
        assert!(Listeners::of_process(std::process::id()).unwrap().contains(&address));
        assert!(Listeners::here().unwrap().contains(&address));
        drop(mine);
        assert!(!Listeners::of_process(std::process::id()).unwrap().contains(&address));
    }
}
