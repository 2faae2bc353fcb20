//! Reload: every file changes under a running daemon, and nobody who may be here notices.

mod expiry;
mod faults;
mod groups;
mod live;
mod polling;
mod signal;
mod sni;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, postern};
use crate::harness::pki::Credentials;
use crate::harness::wire::{TlsOptions, Wire};
use crate::harness::{World, signal, wait_until};

/// A daemon whose files the test can change.
pub struct Site {
    pub world: World,
    pub config: Config,
}

impl Site {
    pub fn with(configure: impl FnOnce(Config) -> Config) -> Self {
        let mut kept = None;
        let world = World::configured(|config| kept.insert(configure(config).with("admin: { socket: admin.sock }")).clone());
        Self { world, config: kept.unwrap() }
    }

    pub fn new() -> Self {
        Self::with(|config| config.with("reload: { poll: 0 }"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.config.dir().join(name)
    }

    /// Writes a file as a careful tool does: whole, under another name, then renamed.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let temporary = self.path(&format!(".{name}.new"));
        fs::write(&temporary, content).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(temporary, self.path(name)).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn postern(&self, arguments: &[&str]) -> Output {
        let config = self.path("postern.yaml").display().to_string();
        postern(&[arguments, &["-c", &config]].concat())
    }

    /// `postern reload`, which is applied; what it printed.
    #[track_caller]
    pub fn reload(&self) -> String {
        succeeded(self.postern(&["reload"]))
    }

    pub fn hup(&self) {
        signal("HUP", self.world.postern().pid());
    }

    /// The reloads on record so far.
    pub fn reloads(&self) -> Vec<Value> {
        self.world.postern().records().into_iter().filter(|record| record["event"] == "config.reload").collect()
    }

    /// The reload of this number, counted from 1, once it is on record.
    #[track_caller]
    pub fn reload_number(&self, number: usize) -> Value {
        wait_until("the reload is on record", || self.reloads().len() >= number);
        self.reloads()[number - 1].clone()
    }

    /// The certificate that the server shows.
    pub fn shown(&self) -> Vec<u8> {
        let wire = Wire::connect_tls(self.world.address(), &TlsOptions::with(Some(self.world.alice.clone()))).unwrap();
        wire.server_certificate()
    }

    pub fn replace_server(&self) -> Credentials {
        let server = self.world.pki.server();
        self.write_server(&server);
        server
    }

    pub fn write_server(&self, server: &Credentials) {
        let dir = tempfile::tempdir().unwrap();
        let files = server.write(dir.path(), "server");
        self.write("server.key", fs::read(files.key).unwrap());
        self.write("server.crt", fs::read(files.certificate).unwrap());
    }

    pub fn status(&self) -> String {
        succeeded(self.postern(&["status"]))
    }
}
