//! `postern explain`: what it says is what the running daemon does.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, Daemon, postern};
use crate::harness::pki::{Credentials, Pki, Profile};
use crate::harness::postgres::{Installation, Postgres, private_dir};
use crate::harness::wire::{TlsOptions, Wire, startup};

const RULES: &str = "hba:
  - { database: all, user: postgres, address: all, method: reject }
  - { database: app, user: [alice, bob], address: 127.0.0.0/8, method: cert }
  - { database: [postgres, replication], user: all, address: 127.0.0.1/32, method: cert }";

struct Town {
    files: tempfile::TempDir,
    pki: Pki,
    config: Config,
    path: PathBuf,
}

impl Town {
    fn new() -> Self {
        let pki = Pki::new();
        let config = Config::new(&pki, Path::new("/var/run/postgresql"), 5432).with(RULES);
        let path = config.write();
        Self { files: private_dir(), pki, config, path }
    }

    fn explain(&self, credentials: &Credentials, more: &[&str]) -> Output {
        let file = credentials.write(self.files.path(), "one").certificate;
        let mut arguments = vec!["explain", "-c", self.path.to_str().unwrap(), "--cert", file.to_str().unwrap()];
        arguments.extend(more);
        postern(&arguments)
    }

    fn json(&self, credentials: &Credentials, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.explain(credentials, &[more, &["--json"]].concat());
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}")))
    }
}

#[test]
fn who_is_let_in_sees_by_which_rule() {
    let town = Town::new();
    let output = town.explain(&town.pki.named("alice"), &["--user", "alice", "--database", "app"]);
    assert_eq!(output.status.code(), Some(0));
    let text = succeeded(output);
    for line in ["hba[0]: the user differs", "hba[1]: matches, and decides", "let in as alice, by rule hba[1]"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let (code, json) = town.json(&town.pki.named("alice"), &["--user", "alice", "--database", "app"]);
    assert_eq!((code, json["outcome"]["admitted"].as_bool(), json["outcome"]["rule"].as_str()), (Some(0), Some(true), Some("hba[1]")));
}

#[test]
fn who_is_refused_reads_what_the_client_would() {
    let town = Town::new();
    let (code, json) = town.json(&town.pki.named("alice"), &["--user", "bob", "--database", "app"]);
    let outcome = &json["outcome"];
    assert_eq!((code, outcome["reason"].as_str(), outcome["sqlstate"].as_str()), (Some(1), Some("identity"), Some("28000")));
    assert_eq!(outcome["message"], "certificate authentication failed for user \"bob\"");
    let (code, json) = town.json(&town.pki.client(Profile::Expired), &["--user", "alice"]);
    assert_eq!((code, json["outcome"]["reason"].as_str()), (Some(1), Some("cert_expired")));
    assert_eq!(json["chain"]["alert"], "certificate_expired");
    let text = town.explain(&town.pki.client(Profile::Expired), &["--user", "alice"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("TLS alert certificate_expired"), "{text:?}");
}

/// Every combination, against a daemon with the same file: nothing that explain says is other than what happens.
#[test]
fn explain_says_what_the_daemon_does() {
    let town = Town::new();
    let postgres = Postgres::isolated(&Installation::debian());
    postgres.sql("create role alice login; create role bob login; create database app");
    let config = Config::new(&town.pki, postgres.dir.path(), postgres.port).with(RULES);
    let daemon = Daemon::start(&config);
    let (mut admitted, mut refused) = (0, 0);
    for credentials in [town.pki.named("alice"), town.pki.named("bob"), town.pki.named("postgres")] {
        for user in ["alice", "bob", "postgres"] {
            for database in ["app", "postgres", "template1"] {
                let (code, json) = town.json(&credentials, &["--user", user, "--database", database]);
                let mut wire = Wire::connect_tls(daemon.address(), &TlsOptions::with(Some(credentials.clone()))).unwrap();
                wire.send(&startup(&[("user", user), ("database", database)]));
                match wire.until_ready() {
                    Ok(_) => {
                        assert_eq!(code, Some(0), "{user} {database}: {json}");
                        admitted += 1;
                    }
                    Err(refusal) => {
                        let outcome = &json["outcome"];
                        let said = format!("FATAL {} {}", outcome["sqlstate"].as_str().unwrap(), outcome["message"].as_str().unwrap());
                        assert_eq!((code, refusal.to_string()), (Some(1), said));
                        refused += 1;
                    }
                }
            }
        }
    }
    assert_eq!((admitted, refused), (4, 23));
}

#[test]
fn physical_replication_is_asked_for_by_its_own_option() {
    let town = Town::new();
    let (code, json) = town.json(&town.pki.named("alice"), &["--user", "alice", "--replication"]);
    assert_eq!((code, json["outcome"]["rule"].as_str()), (Some(0), Some("hba[2]")));
    let (code, json) = town.json(&town.pki.named("alice"), &["--user", "alice", "--replication", "--address", "10.0.0.1"]);
    assert_eq!((code, json["outcome"]["reason"].as_str()), (Some(1), Some("hba_no_match")));
}

#[test]
fn a_folder_of_certificates_is_told_who_may_be_what_and_where() {
    let town = Town::new();
    for name in ["alice", "bob", "carol"] {
        town.pki.named(name).write(town.files.path(), name);
    }
    town.pki.client(Profile::Expired).write(town.files.path(), "expired");
    let folder = town.files.path().to_str().unwrap();
    let text = succeeded(postern(&["explain", "-c", town.path.to_str().unwrap(), "--all", folder]));
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let in_app: Vec<&str> = rows.iter().filter(|row| row.get(2) == Some(&"app")).map(|row| row[1]).collect();
    assert_eq!(in_app, ["alice", "bob"], "{text}");
    assert!(text.lines().any(|line| line.starts_with("nowhere:") && line.contains("cert_expired")), "{text}");
    assert!(rows.iter().any(|row| row[1] == "carol" && row[2] == "postgres" && row[3] == "hba[2]"), "{text}");
}

#[test]
fn what_cannot_be_explained_says_why() {
    let town = Town::new();
    let config = town.path.to_str().unwrap();
    let output = postern(&["explain", "-c", config, "--cert", "/nonexistent.crt", "--user", "alice"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent.crt"), "{output:?}");
    assert_eq!(postern(&["explain", "-c", config]).status.code(), Some(2));
    std::fs::write(&town.path, town.config.yaml() + "\ncolour: red\n").unwrap();
    let output = town.explain(&town.pki.named("alice"), &["--user", "alice"]);
    assert_eq!(output.status.code(), Some(78));
}

const GROUP_RULES: &str = "hba:
  - { database: app, user: bob, address: all, method: cert }
  - { database: [postgres, app], user: +staff, address: all, method: cert }
  - { database: samerole, user: all, address: all, method: cert }";

/// A town before a PostgreSQL in which alice is in dev and dev in staff, and bob in nothing.
fn town_with_groups(installation: &Installation) -> (Town, Postgres) {
    let postgres = Postgres::isolated(installation);
    postgres.sql(
        "create role lookup login; create role staff; create role dev in role staff; create role alice login in role dev;
         create role bob login; create database dev",
    );
    let pki = Pki::new();
    let config =
        Config::new(&pki, postgres.dir.path(), postgres.port).backend_key("lookup_role: lookup, connect_timeout: 2s").with(GROUP_RULES);
    let path = config.write();
    (Town { files: private_dir(), pki, config, path }, postgres)
}

#[test]
fn memberships_are_asked_of_the_backend_where_a_rule_depends_on_them() {
    for installation in Installation::both() {
        let (town, _postgres) = town_with_groups(&installation);
        let decided = |name: &str, database: &str| {
            let (code, json) = town.json(&town.pki.named(name), &["--user", name, "--database", database]);
            assert_eq!(code, Some(i32::from(json["outcome"]["admitted"] != true)), "{json}");
            let rule = json["outcome"]["rule"].as_str().map(str::to_owned);
            (rule, json["memberships"]["roles"].clone())
        };
        let roles = |names: &[&str]| Value::from(names.to_vec());
        assert_eq!(decided("alice", "postgres"), (Some("hba[1]".into()), roles(&["alice", "dev", "staff"])));
        assert_eq!(decided("alice", "dev"), (Some("hba[2]".into()), roles(&["alice", "dev", "staff"])));
        assert_eq!(decided("bob", "postgres"), (None, roles(&["bob"])));
        assert_eq!(decided("nobody-such", "postgres"), (None, roles(&[])));
        assert_eq!(decided("bob", "app"), (Some("hba[0]".into()), Value::Null), "nothing depends on memberships");
        let text = succeeded(town.explain(&town.pki.named("alice"), &["--user", "alice", "--database", "postgres"]));
        assert!(text.contains("memberships  alice, dev, staff, by backend.lookup_role"), "{text}");
    }
}

#[test]
fn memberships_that_cannot_be_known_are_said_to_be() {
    let (town, mut postgres) = town_with_groups(&Installation::debian());
    postgres.stop();
    let (code, json) = town.json(&town.pki.named("alice"), &["--user", "alice", "--database", "postgres"]);
    let outcome = &json["outcome"];
    assert_eq!((code, outcome["reason"].as_str(), outcome["sqlstate"].as_str()), (Some(1), Some("backend_unreachable"), Some("57P03")));
    assert!(json["memberships"]["fault"].as_str().unwrap().contains("cannot be reached"), "{json}");
    let text = town.explain(&town.pki.named("alice"), &["--user", "alice", "--database", "postgres"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for line in ["memberships   not known: as backend.lookup_role, ", "hba[1]: whether the user matches is not known"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let named = ["--user", "alice", "--database", "postgres", "--member-of", "staff"];
    let (code, json) = town.json(&town.pki.named("alice"), &named);
    assert_eq!((code, json["memberships"]["source"].as_str()), (Some(0), Some("--member-of")));

    let all = postern(&["explain", "-c", town.path.to_str().unwrap(), "--all", town.files.path().to_str().unwrap()]);
    let text = String::from_utf8(all.stdout).unwrap();
    assert_eq!(all.status.code(), Some(1), "{text}");
    assert!(text.lines().any(|line| line.starts_with("not known: rule hba[1] depends on role memberships")), "{text}");
}
