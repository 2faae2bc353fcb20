//! Postern itself, as its users run it: a configuration file and `postern serve`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::cluster::Target;
use super::error::DemoError;
use super::interrupt::Interrupt;
use super::process::Process;
use super::trail;
use super::workplace::Workplace;
use crate::cli::conninfo::absolute;
use crate::pki::{Folder, Purpose};

/// A running Postern.
pub(super) struct Door {
    process: Process,
    /// Where it listens, on 127.0.0.1.
    pub(super) port: u16,
}

impl Door {
    /// Writes the configuration, starts `postern serve`, and waits until it says that it has started.
    pub(super) fn open(workplace: &Workplace, folder: &Folder, target: Target, interrupt: &Interrupt) -> Result<Self, DemoError> {
        let mut tries = 0u8;
        loop {
            let mut door = Self::start(workplace, folder, &target)?;
            let started = interrupt.wait_for(Duration::from_secs(30), || {
                let said = trail::records(&workplace.audit());
                let started = said.iter().any(|record| record.event() == "daemon.start");
                Ok(if started { Some(Ok(())) } else { door.check().err().map(Err) })
            })?;
            match started {
                Some(Ok(())) => return Ok(door),
                // Somebody else was quicker to take the free port.
                Some(Err(_)) if tries < 3 && door.process.last_words().to_lowercase().contains("in use") => tries = tries.saturating_add(1),
                Some(Err(error)) => return Err(error),
                None => return Err(door.process.failed()),
            }
        }
    }

    fn start(workplace: &Workplace, folder: &Folder, target: &Target) -> Result<Self, DemoError> {
        let port = free_port().map_err(|error| DemoError::io("find a free port", error))?;
        let path = workplace.own.join("postern.yaml");
        fs::write(&path, configuration(port, folder, target, &workplace.audit())?)
            .map_err(|error| DemoError::io(format!("write {}", path.display()), error))?;
        let program = std::env::current_exe().map_err(|error| DemoError::io("find this program", error))?;
        let mut serve = Command::new(program);
        serve.arg("serve").arg("-c").arg(&path);
        Ok(Self { process: Process::start("postern serve", &mut serve, workplace.own.join("postern.log"))?, port })
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        self.process.check()
    }
}

fn configuration(port: u16, folder: &Folder, target: &Target, audit: &Path) -> Result<String, DemoError> {
    // A JSON string is a YAML string.
    let quoted = |path: PathBuf| absolute(&path).map(Value::from).map_err(DemoError::Text);
    Ok(format!(
        "listen: 127.0.0.1:{port}\n\
         tls:\n  ssl_cert_file: {}\n  ssl_key_file: {}\n  ssl_ca_file: {}\n\
         backend:\n  host: {}\n  require_peer: {}\n\
         audit:\n  file: {}\n",
        quoted(folder.server_certificate())?,
        quoted(folder.server_key())?,
        quoted(folder.authority_certificate(Purpose::Client))?,
        quoted(target.folder.clone())?,
        target.owner,
        quoted(audit.to_owned())?,
    ))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
