//! What everything here stands on: a folder, certificates of both kinds, the user that servers run as, programs that end with
//! their value.

use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519};
use tempfile::TempDir;

use crate::world::World;

/// Of which kind all keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keys {
    Ecdsa,
    Rsa,
}

/// The folder and the certificates.
pub struct Stage {
    folder: TempDir,
    ecdsa: World,
    rsa: World,
    /// Whom servers run as that refuse to be root; `None` where we are not root.
    user: Option<User>,
}

/// A running program; leaving the scope ends it, and nothing else.
pub struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// What asks it to end.
    farewell: Signal,
}

impl Stage {
    pub fn set_up() -> Self {
        let folder = tempfile::Builder::new().prefix("postern-bench-").permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
        let found = || ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = Uid::effective().is_root().then(|| found().unwrap());
        Self { folder, ecdsa: World::new(&PKCS_ECDSA_P256_SHA256), rsa: World::new(&PKCS_RSA_SHA256), user }
    }

    /// The files of TLS: server.crt, server.key, client-ca.crt, alice.crt, alice.key.
    pub fn files(&self, keys: Keys) -> &Path {
        self.world(keys).folder.path()
    }

    /// The client's side of TLS: X25519 first, as OpenSSL 3.0 and libpq have it.
    pub fn client(&self, keys: Keys) -> Arc<ClientConfig> {
        self.world(keys).client_offering(&[X25519, SECP256R1])
    }

    fn world(&self, keys: Keys) -> &World {
        match keys {
            Keys::Ecdsa => &self.ecdsa,
            Keys::Rsa => &self.rsa,
        }
    }

    /// A new folder that the servers' user owns, with the files of TLS.
    pub fn room(&self, name: &str, keys: Keys) -> PathBuf {
        let room = (0..).map(|number| self.folder.path().join(format!("{name}-{number}"))).find(|room| !room.exists()).unwrap();
        fs::create_dir(&room).unwrap();
        for file in ["server.crt", "server.key", "client-ca.crt"] {
            fs::copy(self.files(keys).join(file), room.join(file)).unwrap();
            self.give(&room.join(file));
        }
        self.give(&room);
        room
    }

    /// Gives a file to the servers' user.
    pub fn give(&self, file: &Path) {
        if let Some(user) = &self.user {
            chown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
    }

    /// Has `command` run as the servers' user.
    pub fn as_server<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Program {
    /// Starts it; what it says goes to a file in `room`.
    pub fn start(name: &'static str, command: &mut Command, room: &Path, farewell: Signal) -> Self {
        let log = room.join("said.log");
        let out = File::create(&log).unwrap();
        let child = command.current_dir("/").stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} cannot be started: {error}; tests/setup.sh bench installs it"));
        Self { name, child, log, farewell }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !ready() {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > Duration::from_secs(30) {
                panic!("{} is not ready: {}", self.name, fs::read_to_string(&self.log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), self.farewell);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Whether somebody listens there. A connection to a port where nobody does may come from that very port, and be one to itself.
pub fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok_and(|stream| stream.local_addr().is_ok_and(|own| own != address))
}
