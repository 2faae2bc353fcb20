//! `postern doctor`: real bad setups, each named with the line to change, and a good one without a fault.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::unistd::{Uid, User};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::clients::succeeded;
use crate::harness::daemon::postern;
use crate::harness::postgres::{Installation, Postgres, free_port, private_dir};

/// A configuration with certificates of its own, before a PostgreSQL.
struct Stage {
    dir: TempDir,
    postgres: Postgres,
    port: u16,
    /// Keys of `backend` beside its address.
    backend: String,
    more: String,
}

impl Stage {
    fn before(postgres: Postgres, days: &str) -> Self {
        postgres.sql("create role alice login; create role postern_lookup login");
        let dir = private_dir();
        let pki = dir.path().join("pki");
        succeeded(postern(&["pki", "init", pki.to_str().unwrap()]));
        succeeded(postern(&["pki", "server", pki.to_str().unwrap(), "--host", "localhost", "--days", days]));
        Self { dir, postgres, port: free_port(), backend: String::new(), more: String::new() }
    }

    /// One that lets in the administrator, and this test's user as alice and as the lookup role.
    fn locked_down(installation: &Installation) -> Self {
        let stage = Self::before(Postgres::isolated(installation), "300");
        let me = me();
        fs::write(stage.postgres.data().join("pg_ident.conf"), format!("postern {me} alice\npostern {me} postern_lookup\n")).unwrap();
        stage.postgres.write_hba("local all postgres peer\nlocal all all peer map=postern\n");
        stage.postgres.sql("select pg_reload_conf()");
        crate::harness::wait_until("the lines are in force", || stage.examined().iter().all(|finding| finding["state"] != "fault"));
        stage
    }

    fn pki(&self, file: &str) -> PathBuf {
        self.dir.path().join("pki").join(file)
    }

    fn config(&self) -> PathBuf {
        let path = self.dir.path().join("postern.yaml");
        let pki = self.dir.path().join("pki");
        let yaml = format!(
            "listen: 127.0.0.1:{}\ntls: {{ ssl_cert_file: {pki}/server.crt, ssl_key_file: {pki}/server.key, ssl_ca_file: {pki}/client-ca.crt }}\n\
             backend: {{ host: {}, port: {}{} }}\n{}",
            self.port,
            self.postgres.dir.path().display(),
            self.postgres.port,
            self.backend,
            self.more,
            pki = pki.display()
        );
        if fs::read_to_string(&path).ok().as_deref() != Some(&yaml) {
            fs::write(&path, yaml).unwrap();
        }
        path
    }

    fn examined(&self) -> Vec<Value> {
        let output = postern(&["doctor", "-c", self.config().to_str().unwrap(), "--os-user", &me(), "--json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let faults = said["faults"].as_u64().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(faults > 0)), "{said}");
        said["findings"].as_array().unwrap().clone()
    }

    /// The one check that is at fault, with what is found and the line to change.
    #[track_caller]
    fn finds(&self, check: &str, found: &str, change: &str) {
        let findings = self.examined();
        let faults: Vec<&Value> = findings.iter().filter(|finding| finding["state"] == "fault").collect();
        let fault = faults.iter().find(|finding| finding["check"] == check);
        let fault = fault.unwrap_or_else(|| panic!("{check} was to be at fault, not {faults:?}"));
        let text = |key: &str| fault[key].as_str().unwrap_or_default();
        assert!(text("found").contains(found) && text("change").contains(change), "{fault}");
    }
}

/// The OS user that this test runs as.
fn me() -> String {
    User::from_uid(Uid::effective()).unwrap().unwrap().name
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn nothing_is_at_fault_where_postern_is_the_one_way_in() {
    for installation in Installation::both() {
        let mut stage = Stage::locked_down(&installation);
        stage.backend = ", lookup_role: postern_lookup".into();
        let findings = stage.examined();
        let faults: Vec<&Value> = findings.iter().filter(|finding| finding["state"] != "ok").collect();
        assert!(faults.is_empty() || !Uid::effective().is_root(), "{faults:?}");
    }
}

#[test]
fn a_backend_that_trusts_everybody_on_the_machine_is_tried_and_named() {
    for installation in Installation::both() {
        let stage = Stage::before(Postgres::isolated(&installation), "300");
        stage.finds("backend.superuser", "the superuser postgres", "pg_ident.conf");
        if Uid::effective().is_root() {
            stage.finds("backend.others", "postgres at ", "pg_hba.conf");
        }
    }
}

#[test]
fn a_tcp_listener_beside_the_socket_is_named_and_who_gets_in_by_it() {
    for installation in Installation::both() {
        let mut stage = Stage::before(Postgres::local(&installation, "local all all trust\nhost all all all trust\n"), "300");
        let address = stage.postgres.address().to_string();
        stage.finds("backend.listeners", &address, "listen_addresses = ''");
        if Uid::effective().is_root() {
            stage.finds("backend.others", &format!("postgres at {address}"), "no host line");
        }
        stage.backend = ", lookup_role: postern_lookup".into();
        stage.finds("backend.listeners", "", "listen_addresses = ''");
    }
}

#[test]
fn an_os_user_of_a_roles_name_is_tried_too() {
    if !Uid::effective().is_root() {
        return;
    }
    let mut stage = Stage::before(Postgres::isolated(&Installation::debian()), "300");
    stage.postgres.sql("create role daemon login");
    stage.postgres.write_hba("local all all peer\n");
    stage.postgres.sql("select pg_reload_conf()");
    stage.more = "hba:\n  - { database: all, user: daemon, address: all, method: cert }\n".into();
    crate::harness::wait_until("the line is in force", || {
        stage.examined().iter().any(|finding| finding["check"] == "backend.superuser" && finding["state"] == "ok")
    });
    stage.finds("backend.others", "daemon for the OS user of that name", "peer map=postern");
}

#[test]
fn what_lies_around_postern_is_looked_at() {
    let mut stage = Stage::locked_down(&Installation::debian());
    let socket = stage.postgres.dir.path().to_owned();

    set_mode(&socket, 0o777);
    stage.finds("backend.require_peer", "mode 0777", "require_peer: ");
    set_mode(&socket, 0o755);

    let ca = stage.pki("client-ca.crt");
    set_mode(&ca, 0o664);
    stage.finds("files.mode", "tls.ssl_ca_file", "chmod go-w");
    set_mode(&ca, 0o644);

    let changed = fs::File::options().append(true).open(&ca).unwrap();
    changed.set_modified(SystemTime::now() + Duration::from_secs(86400)).unwrap();
    stage.finds("clock", "client-ca.crt was changed in the future", "set the clock");
    changed.set_modified(SystemTime::now()).unwrap();

    stage.more = "limits: { max_connections: 1000000, max_handshakes: 1000000 }\n".into();
    stage.finds("descriptors", "can need 3000064", "LimitNOFILE=3000064");

    stage.more = "admin: { listen: 0.0.0.0:9187 }\n".into();
    stage.finds("configuration", "is not loopback", "");
    stage.more.clear();

    stage.backend = ", lookup_role: nobody_such".into();
    stage.finds("backend.lookup_role", "nobody_such", "CREATE ROLE");
    stage.backend.clear();

    stage.postgres.stop();
    stage.finds("backend", "cannot be reached", "");
}

#[test]
fn a_certificate_that_expires_soon_is_named_before_it_does() {
    let stage = Stage::before(Postgres::isolated(&Installation::debian()), "3");
    stage.finds("tls.ssl_cert_file", "days", "postern pki server");
}
