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
        stage.lock_down();
        stage
    }

    fn lock_down(&self) {
        let (stage, me) = (self, me());
        fs::write(stage.postgres.data().join("pg_ident.conf"), format!("postern {me} alice\npostern {me} postern_lookup\n")).unwrap();
        stage.postgres.write_hba("local all postgres peer\nlocal all all peer map=postern\n");
        stage.reload();
        crate::harness::wait_until("the lines are in force", || {
            stage.examined().iter().all(|finding| finding["state"] != "fault" || finding["check"] == "clock.synchronized")
        });
    }

    /// Has PostgreSQL read its files again, whomever they let in.
    fn reload(&self) {
        let pid = fs::read_to_string(self.postgres.data().join("postmaster.pid")).unwrap();
        crate::harness::signal("HUP", pid.lines().next().unwrap().parse().unwrap());
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
        // Whether the clock is kept hangs on where the tests run.
        let faults = findings.iter().filter(|finding| finding["state"] != "ok" && finding["check"] != "clock.synchronized");
        let faults: Vec<&Value> = faults.collect();
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
    stage.finds("backend.others", " for the OS user of that name", "peer map=postern");
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

/// The pg_hba.conf that initdb writes, with nothing but comments, `local` lines and lines for this machine.
#[test]
fn a_stock_pg_hba_conf_is_named_line_by_line_and_its_trust_is_found() {
    for installation in Installation::both() {
        let mut stage = Stage::before(Postgres::isolated(&installation), "300");
        let stock = installation.stock_hba();
        let hba = stage.dir.path().join("pg_hba.conf");
        fs::write(&hba, format!("{stock}hostssl all all all cert\n")).unwrap();
        stage.more = "hba_file: pg_hba.conf\n".into();
        let findings = stage.examined();
        let listed: Vec<&str> = findings
            .iter()
            .filter(|finding| finding["check"] == "configuration" && finding["found"].as_str().unwrap().contains("pg_hba.conf:"))
            .map(|finding| {
                assert_eq!(finding["state"], "ok", "{finding}");
                finding["found"].as_str().unwrap()
            })
            .collect();
        let lines = stock.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        assert_eq!((lines, listed.len()), (6, 6), "{listed:?}");
        assert!(listed[0].contains("pg_hba.conf:") && listed[0].contains("local lines do not apply"), "{listed:?}");
        assert!(listed[1].contains("the method trust asks for no certificate"), "{listed:?}");
        stage.postgres.write_hba(&stock);
        stage.postgres.sql("select pg_reload_conf()");
        if Uid::effective().is_root() {
            stage.finds("backend.others", "postgres at ", "pg_hba.conf: in place of trust");
        }
    }
}

#[test]
fn a_line_for_one_database_or_for_replication_alone_is_found_too() {
    if !Uid::effective().is_root() {
        return;
    }
    for installation in Installation::both() {
        let mut stage = Stage::before(Postgres::isolated(&installation), "300");
        stage.postgres.sql("create database app; create role walreceiver login replication");
        stage.more = "hba:\n  - { database: [app, replication], user: [alice, walreceiver], address: all, method: cert }\n".into();
        for (line, found) in [("local app all trust", "alice at "), ("local replication all trust", "physical replication")] {
            stage.postgres.write_hba(&format!("local all postgres peer\n{line}\nlocal all all reject\n"));
            stage.reload();
            crate::harness::wait_until("the lines are in force", || {
                stage.examined().iter().any(|finding| finding["check"] == "backend.superuser" && finding["state"] == "ok")
            });
            stage.finds("backend.others", found, "pg_hba.conf");
        }
    }
}

#[test]
fn a_superuser_of_any_name_is_found_where_postgresql_can_be_asked() {
    let mut stage = Stage::before(Postgres::isolated(&Installation::eighteen()), "300");
    stage.backend = ", lookup_role: postern_lookup".into();
    stage.postgres.sql("create role chief superuser login");
    stage.lock_down();
    let ident = stage.postgres.data().join("pg_ident.conf");
    let lines = fs::read_to_string(&ident).unwrap();
    fs::write(&ident, format!("{lines}postern {} chief\n", me())).unwrap();
    stage.reload();
    crate::harness::wait_until("the line is in force", || {
        stage.examined().iter().any(|finding| finding["check"] == "backend.superuser" && finding["state"] == "fault")
    });
    stage.finds("backend.superuser", "as the superuser chief", "pg_ident.conf");
}

#[test]
fn a_server_certificate_without_a_name_or_of_version_1_says_what_to_make_in_its_place() {
    let stage = Stage::before(Postgres::isolated(&Installation::debian()), "300");
    let dir = stage.dir.path();
    let openssl = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.replace("DIR", dir.to_str().unwrap())).collect();
        succeeded(std::process::Command::new("openssl").args(&arguments).output().unwrap())
    };
    let pki = stage.pki("server.crt");
    let key = stage.pki("server.key");
    let request = ["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost"];
    openssl(&[&request[..], &["-keyout", "DIR/new.key", "-out", "DIR/new.csr"]].concat());
    let sign = ["x509", "-req", "-days", "300", "-in", "DIR/new.csr", "-signkey", "DIR/new.key", "-out", "DIR/new.crt"];
    fs::write(dir.join("v3.ext"), "basicConstraints=CA:FALSE\n").unwrap();
    for (more, found) in [(&[][..], "X.509 v1"), (&["-extfile", "DIR/v3.ext"][..], "has no subject alternative name")] {
        openssl(&[&sign[..], more].concat());
        fs::copy(dir.join("new.crt"), &pki).unwrap();
        fs::copy(dir.join("new.key"), &key).unwrap();
        set_mode(&key, 0o600);
        stage.finds("configuration", found, "postern pki server");
        stage.finds("configuration", "tls.ssl_cert_file", "postern pki server");
    }
}

#[test]
fn a_rule_that_can_never_match_is_named_with_the_rule_before_it() {
    let mut stage = Stage::before(Postgres::isolated(&Installation::debian()), "300");
    stage.more = "hba:\n  - { database: all, user: all, address: all, method: cert }\n  - { database: app, user: bob, address: all, method: reject }\n".into();
    stage.finds("configuration", "hba[1]: can never match: hba[0]", "move or remove one of them");
}

/// Postern as an OS user of its own, whose key it is, whom PostgreSQL lets in as alice and as the lookup role; root looks.
#[test]
fn root_looks_as_the_os_user_that_postern_is() {
    if !Uid::effective().is_root() {
        return;
    }
    let mut stage = Stage::before(Postgres::isolated(&Installation::eighteen()), "300");
    let daemon = User::from_name("daemon").unwrap().unwrap();
    fs::write(stage.postgres.data().join("pg_ident.conf"), "postern daemon alice\npostern daemon postern_lookup\n").unwrap();
    stage.postgres.write_hba("local all postgres peer\nlocal all all peer map=postern\n");
    stage.reload();
    stage.backend = ", lookup_role: postern_lookup".into();
    let config = stage.config();
    for file in [stage.dir.path(), &stage.pki("."), &stage.pki("server.key")] {
        std::os::unix::fs::chown(file, Some(daemon.uid.as_raw()), Some(daemon.gid.as_raw())).unwrap();
    }
    let doctor = |more: &[&str]| {
        let output = postern(&[&["doctor", "-c", config.to_str().unwrap()], more].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    crate::harness::wait_until("the lines are in force", || doctor(&["--os-user", "daemon"]).1.contains("ok       backend.lookup_role"));
    let (_, said) = doctor(&["--os-user", "daemon"]);
    let faults: Vec<&str> = said.lines().filter(|line| line.starts_with("fault") && !line.contains("clock.synchronized")).collect();
    assert!(faults.is_empty(), "{said}");
    let (code, said) = doctor(&[]);
    assert!(code == Some(78) && said.contains("server.key: its owner is uid"), "{said}");
}
