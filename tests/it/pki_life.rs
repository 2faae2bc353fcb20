//! The life of certificates by `postern pki`: of whatever key, renewed, revoked, below an intermediate CA, as OpenSSL, PostgreSQL, Java
//! and Postern see it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::clients::{Clients, failed, succeeded};
use crate::harness::daemon::{Config, Daemon, postern, postern_path};
use crate::harness::pki::Pki;
use crate::harness::postgres::{Installation, Postgres, give_to_server_user};
use crate::pki::{empty, openssl, pki, text};

#[test]
fn a_revoked_certificate_is_refused_by_postgresql_and_by_postern() {
    for intermediate in [false, true] {
        let mut doors = Doors::new(if intermediate { &["--intermediate"] } else { &[] });
        doors.issue("alice", &[]);
        doors.issue("bob", &[]);
        doors.open();
        doors.admit("alice", "alice");
        doors.admit("bob", "bob");

        doors.postern_pki("revoke", &["--cn", "alice", "--reason", "keyCompromise"]);
        doors.postern_pki("crl", &[]);
        doors.open();
        doors.refuse("alice", "alice", "certificate revoked");
        doors.admit("bob", "bob");
    }
}

#[test]
fn a_renewed_certificate_lives_beside_the_old_one_until_that_is_revoked() {
    let mut doors = Doors::new(&[]);
    let first = doors.issue("alice", &[]);
    assert!(failed(pki(&["client", doors.path(), "--cn", "alice"])).contains("With --renew another one is issued beside it"));
    let renewed = doors.issue("alice", &["--renew"]);
    assert!(renewed.contains("alice-2.crt") && renewed.contains("still good: alice.crt \"alice\", client, serial number "), "{renewed}");
    doors.open();
    doors.admit("alice", "alice");
    doors.admit("alice", "alice-2");

    let old = serial(&doors.at("alice.crt"));
    assert!(!first.contains("still good"));
    let revoked = doors.postern_pki("revoke", &["--serial", &old, "--reason", "superseded"]);
    assert!(revoked.starts_with("revoked alice.crt \"alice\", client, "), "{revoked}");
    doors.postern_pki("crl", &[]);
    doors.open();
    doors.refuse("alice", "alice", "certificate revoked");
    doors.admit("alice", "alice-2");
}

#[test]
fn conninfo_names_the_newest_certificate_that_is_good() {
    let mut doors = Doors::new(&[]);
    doors.issue("alice", &[]);
    doors.issue("alice", &["--renew"]);
    doors.open();
    let config = doors.config.write();
    let conninfo = |format| succeeded(postern(&["conninfo", "-c", text(&config), "--user", "alice", "--format", format]));
    let keywords = conninfo("keywords");
    assert!(keywords.contains("/alice-2.crt") && keywords.contains("/alice-2.key"), "{keywords}");
    assert_eq!(succeeded(Clients::debian().psql(keywords.trim(), "select session_user")), "alice\n");
    assert!(conninfo("jdbc").contains("alice-2.pk8"));

    doors.postern_pki("revoke", &["--serial", &serial(&doors.at("alice-2.crt"))]);
    assert!(conninfo("keywords").contains("/alice.crt"));
    let given = ["conninfo", "-c", text(&config), "--user", "alice", "--format", "keywords", "--sslcert", "/a.crt", "--sslkey", "/a.key"];
    assert!(succeeded(postern(&given)).contains("sslcert=/a.crt sslkey=/a.key"));
    fs::remove_file(doors.at("index.jsonl")).unwrap();
    fs::remove_dir_all(doors.at("issued")).unwrap();
    assert!(conninfo("keywords").contains("/alice.crt"), "without an index it is the first");
}

#[test]
fn every_kind_of_key_logs_in_by_psql_and_by_pgjdbc() {
    let kinds = ["p256", "p384", "ed25519", "rsa2048", "rsa3072", "rsa4096"];
    let mut doors = Doors::new(&["--key", "p384", "--intermediate"]);
    for kind in kinds {
        doors.issue(kind, &["--key", kind, "--pk8"]);
    }
    doors.open();
    for kind in kinds {
        doors.admit(kind, kind);
    }
    let logins: Vec<_> = kinds.iter().map(|kind| (format!("{kind}.crt"), format!("{kind}.pk8"), *kind)).collect();
    let logins: Vec<_> = logins.iter().map(|(certificate, key, role)| (certificate.as_str(), key.as_str(), *role)).collect();
    assert_eq!(doors.by_pgjdbc("", &logins), kinds);
}

#[test]
fn every_kind_of_key_serves() {
    for kind in ["p384", "ed25519", "rsa2048"] {
        let mut doors = Doors::served_by(&["--key", kind], &["--key", kind]);
        doors.issue("alice", &["--key", kind, "--pk8"]);
        doors.open();
        doors.admit("alice", "alice");
        assert_eq!(doors.by_pgjdbc("", &[("alice.crt", "alice.pk8", "alice")]), ["alice"], "{kind}");
    }
}

#[test]
fn java_reads_the_pkcs12_file_that_openssl_makes_of_a_certificate() {
    let mut doors = Doors::new(&["--intermediate"]);
    doors.issue("alice", &[]);
    let (passphrase, file) = (doors.at("passphrase"), doors.at("alice.p12"));
    fs::write(&passphrase, "correct horse\n").unwrap();
    let (certificate, key, from) = (doors.at("alice.crt"), doors.at("alice.key"), format!("file:{}", passphrase.display()));
    let export = ["pkcs12", "-export", "-name", "user", "-in", text(&certificate), "-inkey", text(&key), "-out", text(&file)];
    succeeded(openssl(&[&export[..], &["-passout", &from]].concat()));
    succeeded(openssl(&["pkcs12", "-in", text(&file), "-noout", "-passin", &from]));
    let mut keytool = Command::new("keytool");
    keytool.args(["-list", "-v", "-keystore", text(&file), "-storepass:file", text(&passphrase)]);
    let listed = succeeded(keytool.output().unwrap());
    assert!(listed.contains("Certificate chain length: 2") && listed.contains("Owner: CN=alice"), "{listed}");
    doors.open();
    assert_eq!(doors.by_pgjdbc("correct horse", &[("alice.crt", "alice.p12", "alice")]), ["alice"]);
}

#[test]
fn openssl_verifies_by_the_revocation_lists() {
    let dir = tempfile::tempdir().unwrap();
    let path = text(dir.path());
    let at = |file: &str| dir.path().join(file);
    succeeded(pki(&["init", path, "--intermediate", "--name", "Example"]));
    for name in ["alice", "bob"] {
        succeeded(pki(&["client", path, "--cn", name]));
    }
    succeeded(pki(&["server", path, "--host", "db.example"]));
    let verify = |leaf: &str, ca: &str| {
        let (leaf, ca, crl) = (at(&format!("{leaf}.crt")), at(&format!("{ca}.crt")), at(&format!("{ca}.crl")));
        let checks = ["verify", "-x509_strict", "-crl_check", "-crl_check_all", "-CAfile", text(&ca), "-CRLfile", text(&crl)];
        openssl(&[&checks[..], &["-untrusted", text(&leaf), text(&leaf)]].concat())
    };
    for (leaf, ca) in [("alice", "client-ca"), ("bob", "client-ca"), ("server", "server-ca")] {
        succeeded(verify(leaf, ca));
    }
    let shown = |command: &str| succeeded(Command::new("sh").args(["-c", command, "sh", path]).output().unwrap());
    let root = shown(r#"openssl x509 -in "$1/client-root.crt" -noout -subject -issuer -ext basicConstraints,keyUsage"#);
    assert!(root.contains("CN = Example client root CA") && root.contains("pathlen:1"), "{root}");

    succeeded(pki(&["revoke", path, "--cn", "alice", "--reason", "keyCompromise"]));
    succeeded(pki(&["crl", path, "--days", "10"]));
    assert!(failed(verify("alice", "client-ca")).contains("certificate revoked"));
    succeeded(verify("bob", "client-ca"));
    let list = shown(r#"openssl crl -in "$1/client-ca.crl" -noout -text"#);
    for part in ["Version 2 (0x1)", "Issuer: CN = Example client CA", "Authority Key Identifier", "Key Compromise"] {
        assert!(list.contains(part), "no {part} in {list}");
    }
    assert!(list.contains("X509v3 CRL Number: \n                2\n"), "{list}");
    let serial = serial(&at("alice.crt")).to_uppercase();
    assert!(list.contains(&format!("Serial Number: {serial}")), "{list}");

    // A server's too: clients have sslcrl.
    let listed = succeeded(pki(&["list", path, "--json"]));
    let server = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).find(|line| line["kind"] == "server");
    let said = succeeded(pki(&["revoke", path, "--serial", server.unwrap()["serial"].as_str().unwrap()]));
    assert!(said.contains("where the clients' sslcrl points"), "{said}");
    succeeded(pki(&["crl", path]));
    assert!(failed(verify("server", "server-ca")).contains("certificate revoked"));
}

#[test]
fn crl_fails_where_the_clients_list_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let path = text(dir.path());
    succeeded(pki(&["init", path, "--intermediate"]));
    let away = |key: &str| fs::rename(dir.path().join(key), dir.path().join("away")).unwrap();
    let back = |key: &str| fs::rename(dir.path().join("away"), dir.path().join(key)).unwrap();
    for (key, signed) in [("client-root.key", true), ("server-ca.key", true), ("client-ca.key", false)] {
        away(key);
        let output = pki(&["crl", path]);
        assert_eq!(output.status.success(), signed, "{key}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(!String::from_utf8_lossy(&output.stderr).contains("was not signed; run this where"), signed, "{key}");
        back(key);
    }
}

#[test]
fn what_was_issued_and_revoked_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let path = text(dir.path());
    succeeded(pki(&["init", path]));
    succeeded(pki(&["client", path, "--cn", "al\u{202e}ice"]));
    succeeded(pki(&["client", path, "--cn", "bob", "--days", "7", "--san-uri", "spiffe://example.org/bob"]));
    succeeded(pki(&["revoke", path, "--cn", "bob"]));
    let listed = succeeded(pki(&["list", path]));
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines.len() == 5 && lines[0].starts_with("SERIAL "), "{listed}");
    assert!(
        lines[1].contains("  ca      server-ca ")
            && lines[1].contains("Z  365")
            && lines[1].ends_with(" days left                            server-ca.crt"),
        "{listed}"
    );
    assert!(lines[3].contains(r"al\u{202e}ice") && !listed.contains('\u{202e}'), "{listed}");
    assert!(
        lines[4].contains("  client  bob ") && lines[4].contains("revoked 20") && lines[4].ends_with("Z unspecified  bob.crt"),
        "{listed}"
    );
    assert!(failed(pki(&["revoke", path, "--cn", "bob"])).contains("(unspecified); `postern pki crl "));
    assert_eq!(pki(&["revoke", path]).status.code(), Some(2));
    assert_eq!(pki(&["revoke", path, "--cn", "bob", "--reason", "boredom"]).status.code(), Some(2));
    assert_eq!(pki(&["list", "/nonexistent"]).status.code(), Some(1));
}

#[test]
fn processes_that_issue_at_once_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = text(dir.path());
    succeeded(pki(&["init", path]));
    let issue = |_| Command::new(postern_path()).args(["pki", "client", path, "--cn", "alice", "--renew"]).stdout(Stdio::null()).spawn();
    let issuing: Vec<_> = (0..8).map(issue).collect();
    for process in issuing {
        assert!(process.unwrap().wait().unwrap().success());
    }
    let listed = succeeded(pki(&["list", path, "--json"]));
    let files = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let files: Vec<_> = files.filter(|line| line["cn"] == "alice").map(|line| (line["serial"].clone(), line["file"].clone())).collect();
    assert_eq!(files.len(), 8);
    for (recorded, file) in files {
        assert_eq!(serial(&dir.path().join(file.as_str().unwrap())), recorded.as_str().unwrap());
    }
    let left = fs::read_dir(dir.path()).unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count();
    assert_eq!(left, 0);
}

/// PostgreSQL's own `hostssl ... cert`, and Postern, by the files that `postern pki` made.
struct Doors {
    postern: Option<Daemon>,
    native: Postgres,
    isolated: Postgres,
    config: Config,
}

impl Doors {
    fn new(init: &[&str]) -> Self {
        Self::served_by(init, &[])
    }

    fn served_by(init: &[&str], server: &[&str]) -> Self {
        let installation = Installation::debian();
        let native = Postgres::native(&installation, &Pki::new(), true, "hostssl all all all cert\n");
        let isolated = Postgres::isolated(&installation);
        let config = empty(Config::new(&Pki::new(), isolated.dir.path(), isolated.port)).with_crl();
        let doors = Self { postern: None, native, isolated, config };
        doors.postern_pki("init", init);
        doors.postern_pki("server", &[server, &["--host", "localhost"]].concat());
        doors
    }

    fn at(&self, file: &str) -> PathBuf {
        self.config.dir().join(file)
    }

    fn path(&self) -> &str {
        text(self.config.dir())
    }

    fn postern_pki(&self, command: &str, arguments: &[&str]) -> String {
        succeeded(pki(&[&[command, self.path()], arguments].concat()))
    }

    /// A certificate of a role, and the role.
    fn issue(&self, role: &str, arguments: &[&str]) -> String {
        for server in [&self.native, &self.isolated] {
            server.sql(&format!("do $$begin if to_regrole('{role}') is null then create role {role} login; end if; end$$"));
        }
        self.postern_pki("client", &[&["--cn", role], arguments].concat())
    }

    /// Starts both with the files as they are now.
    fn open(&mut self) {
        let data = self.native.data();
        for (from, to) in
            [("server.crt", "server.crt"), ("server.key", "server.key"), ("client-ca.crt", "ca.crt"), ("client-ca.crl", "ca.crl")]
        {
            fs::copy(self.at(from), data.join(to)).unwrap();
            give_to_server_user(&data.join(to));
        }
        // It is ended as by a crash, and commits asynchronously.
        self.native.sql("checkpoint");
        self.native.stop();
        self.native.start();
        self.postern = None;
        self.postern = Some(Daemon::start(&self.config));
    }

    fn postern(&self) -> &Daemon {
        self.postern.as_ref().unwrap()
    }

    fn conninfos(&self, role: &str, stem: &str) -> [String; 2] {
        [self.native.port, self.postern().port].map(|port| {
            let dir = self.path();
            format!(
                "host=localhost port={port} user={role} dbname=postgres sslmode=verify-full sslrootcert={dir}/server-ca.crt \
                 sslcrl={dir}/server-ca.crl sslcert={dir}/{stem}.crt sslkey={dir}/{stem}.key"
            )
        })
    }

    fn admit(&self, role: &str, stem: &str) {
        for conninfo in self.conninfos(role, stem) {
            assert_eq!(succeeded(Clients::debian().psql(&conninfo, "select session_user")), format!("{role}\n"), "{conninfo}");
        }
    }

    fn refuse(&self, role: &str, stem: &str, words: &str) {
        for conninfo in self.conninfos(role, stem) {
            let said = failed(Clients::debian().psql(&conninfo, "select session_user"));
            assert!(said.contains(words), "{conninfo}: {said}");
        }
    }

    /// Whom pgjdbc logs in as at Postern's door, by certificate, key and role.
    fn by_pgjdbc(&self, passphrase: &str, logins: &[(&str, &str, &str)]) -> Vec<String> {
        let mut java = Command::new("java");
        java.args(["-Duser.home=/nonexistent", "-cp", "/usr/share/java/postgresql.jar"]);
        java.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/drivers/PgjdbcLogins.java"));
        java.arg(self.postern().port.to_string()).arg(self.at("server-ca.crt")).arg(passphrase);
        for (certificate, key, role) in logins {
            java.arg(self.at(certificate)).arg(self.at(key)).arg(role);
        }
        succeeded(java.output().unwrap()).lines().map(str::to_owned).collect()
    }
}

/// A certificate's serial number, as OpenSSL prints it, in lower case.
fn serial(certificate: &Path) -> String {
    let printed = succeeded(openssl(&["x509", "-in", text(certificate), "-noout", "-serial"]));
    printed.trim().trim_start_matches("serial=").to_lowercase()
}
