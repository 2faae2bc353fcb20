//! Where operators look: metrics, probes and the status page by HTTP, verbs by the admin socket.

mod endpoint;
mod metrics;
mod socket;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, postern};
use crate::harness::http::get;
use crate::harness::postgres::free_port;
use crate::harness::{World, wait_until};

/// A world whose operators can look.
struct Office {
    world: World,
    endpoint: SocketAddr,
    config: Config,
}

impl Office {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut kept = None;
        let world = World::configured(|config| {
            let admin = format!("admin: {{ listen: \"{endpoint}\", hosts: [metrics.example], socket: admin.sock }}\n{more}");
            kept.insert(config.with(&admin)).clone()
        });
        let office = Self { world, endpoint, config: kept.unwrap() };
        office.wait_until_ready();
        office
    }

    fn wait_until_ready(&self) {
        wait_until("the daemon is ready", || get(self.endpoint, "/readyz").status == 200);
    }

    fn socket(&self) -> PathBuf {
        self.config.dir().join("admin.sock")
    }

    /// Runs a verb of the command line.
    fn postern(&self, arguments: &[&str]) -> Output {
        let config = self.config.dir().join("postern.yaml").display().to_string();
        postern(&[arguments, &["-c", &config]].concat())
    }

    fn sessions(&self) -> Vec<Value> {
        let reply: Value = serde_json::from_str(&succeeded(self.postern(&["sessions", "--json"]))).unwrap();
        reply["sessions"].as_array().unwrap().clone()
    }

    /// Says this to the admin socket, and reads the reply.
    fn ask(&self, line: &str) -> Value {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let _ = stream.write_all(line.as_bytes());
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
    }

    fn metric(&self, series: &str) -> f64 {
        let text = get(self.endpoint, "/metrics").body;
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}
