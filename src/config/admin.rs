//! The section `admin`: where operators look.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::diagnostic::Faults;
use super::raw::{Node, Value};
use super::reader::{Read, Section, Wrong};
use super::settings::AdminSettings;
use super::values::{listen, nullable, path, text};

/// The settings of the section. `clients` are the addresses that clients connect to.
pub(super) fn settings(root: &Section<'_>, folder: &Path, clients: &[SocketAddr], faults: &mut Faults) -> Option<AdminSettings> {
    let section = root.section("admin", faults);
    let listen = section.optional("listen", None, nullable(|node| admin_listen(node, clients)), faults);
    let hosts = match section.find("hosts") {
        None => Some(Vec::new()),
        Some(Node { value: Value::List(items), .. }) if items.is_empty() => Some(Vec::new()),
        Some(_) => section.one_or_more("hosts", host, faults),
    };
    let socket = section.optional("socket", None, nullable(|node| socket(node, folder)), faults);
    Some(AdminSettings { listen: listen?, hosts: hosts?, socket: socket? })
}

fn admin_listen(node: &Node, clients: &[SocketAddr]) -> Read<SocketAddr> {
    text(node, || Wrong::new("HOST:PORT with an IP address or localhost", "write 127.0.0.1:9187"))?;
    let address = listen(node)?;
    if clients.contains(&address) {
        let wrong = Wrong::new("an address of its own", "write another port, as 127.0.0.1:9187");
        return Err(wrong.which("which clients connect to"));
    }
    Ok(address)
}

/// A name that stands in a Host header, in lower case.
fn host(node: &Node) -> Read<String> {
    let wrong = |advice: &str| Wrong::new("a host name", advice);
    let written = text(node, || wrong("write it without a port, as metrics.example"))?;
    if written.contains('*') {
        return Err(wrong("write each name in full").which("which has a wildcard"));
    }
    if written.contains(':') || written.contains('/') {
        return Err(wrong("write the name alone, as metrics.example").which("which has a scheme, a port or a path"));
    }
    let label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if written.len() > LONGEST_NAME || !written.split('.').all(label) {
        return Err(wrong("write letters, digits, hyphens and dots, as metrics.example"));
    }
    Ok(written.to_ascii_lowercase())
}

fn socket(node: &Node, folder: &Path) -> Read<PathBuf> {
    let socket = path(folder)(node)?;
    if socket.as_os_str().len() > LONGEST_SOCKET {
        let wrong = Wrong::new(format!("a path of at most {LONGEST_SOCKET} bytes"), "use a shorter folder, as /run/postern");
        return Err(wrong.which("which is longer with its folder"));
    }
    if socket.file_name().is_none() {
        return Err(Wrong::new("the path of a socket", "write one in a folder that only Postern may write to, as /run/postern/admin.sock"));
    }
    Ok(socket)
}

/// A name of the DNS (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;

/// `sun_path` without its NUL is 107 bytes (unix(7)); the socket is made under its name with the process ID behind it.
const LONGEST_SOCKET: usize = 107 - ".4194304".len();
