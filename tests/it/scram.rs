//! A backend that asks for a password: SCRAM-SHA-256 is answered from `backend.passfile`, everything weaker is refused, and who
//! listens in the backend's place on loopback learns nothing and lets nobody in.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::daemon::{Config, Daemon, postern};
use crate::harness::pki::Pki;
use crate::harness::postgres::{Installation, Postgres};
use crate::harness::wire::{PATIENCE, Refusal, TlsOptions, Wire, message, startup};
use crate::harness::{OPEN_TO_ALL, wait_until};

/// It has what a password file must escape, and what SASLprep changes.
const PASSWORD: &str = "se:cr\\et \u{bd}\u{fc}";
const ESCAPED: &str = "se\\:cr\\\\et \u{bd}\u{fc}";

/// Postern with a password file, in front of whoever is at the backend's address.
struct Stage {
    // Fields are dropped from top to bottom: the daemon leaves before its database does.
    postern: Daemon,
    pki: Pki,
    config: Config,
    _postgres: Option<Postgres>,
    /// What an impostor still heard when it had said all it had to say.
    heard: Option<Receiver<Vec<u8>>>,
}

/// How Postern reaches its backend.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    UnixSocket,
    Loopback,
}

impl Way {
    /// The pg_hba.conf lines that ask for this method where Postern arrives.
    fn asking(self, method: &str) -> String {
        match self {
            Self::UnixSocket => format!("local all all {method}\nlocal replication all {method}\n"),
            Self::Loopback => format!("host all all 127.0.0.1/32 {method}\nhost replication all 127.0.0.1/32 {method}\n"),
        }
    }
}

impl Stage {
    /// In front of a PostgreSQL that asks for `method`; its role `alice` has [`PASSWORD`], stored as `encryption` says.
    fn before(installation: &Installation, way: Way, method: &str, encryption: &str, passfile: &str) -> Self {
        let postgres = Postgres::local(installation, &way.asking(method));
        postgres.sql(&format!(
            "set password_encryption = '{encryption}'; set client_min_messages = error;
             create role alice login password '{PASSWORD}'; create role walreceiver login replication password '{PASSWORD}'"
        ));
        let port = postgres.port;
        let host = match way {
            Way::UnixSocket => postgres.dir.path().display().to_string(),
            Way::Loopback => "127.0.0.1".into(),
        };
        Self { _postgres: Some(postgres), ..Self::at(&host, port, passfile) }
    }

    fn scram(way: Way, passfile: &str) -> Self {
        Self::before(&Installation::debian(), way, "scram-sha-256", "scram-sha-256", passfile)
    }

    /// In front of a listener on loopback that hands each connection, its StartupMessage read, to `act`.
    fn impostor(passfile: &str, act: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let (port, heard) = impostor(act);
        Self { heard: Some(heard), ..Self::at("127.0.0.1", port, passfile) }
    }

    fn at(host: &str, port: u16, passfile: &str) -> Self {
        let pki = Pki::new();
        let config = Config::new(&pki, "/nonexistent".as_ref(), 0)
            .backend(&format!("{{ host: {host}, port: {port}, passfile: passfile }}"))
            .with(OPEN_TO_ALL);
        write_passfile(&config, passfile, 0o600);
        Self { postern: Daemon::start(&config), pki, config, _postgres: None, heard: None }
    }

    fn log_in(&self, parameters: &[(&str, &str)]) -> Result<Wire, Refusal> {
        let credentials = self.pki.named(parameters[0].1);
        let mut wire = Wire::connect_tls(self.postern.address(), &TlsOptions::with(Some(credentials)))?;
        wire.send(&startup(parameters));
        wire.until_ready()?;
        Ok(wire)
    }

    fn alice(&self) -> Result<Wire, Refusal> {
        self.log_in(&[("user", "alice"), ("database", "postgres")])
    }

    /// Alice reads that the database is not accepting connections, and this; the operator reads more.
    #[track_caller]
    fn refuses(&self, reason: &str, detail: &str, advice: &[&str]) {
        let Err(Refusal::Error(fields)) = self.alice() else { panic!("alice was to be refused") };
        let expected = "FATAL 57P03 the database system is not accepting connections";
        assert_eq!((fields.to_string().as_str(), fields.detail.as_deref()), (expected, Some(detail)));
        let record = self.postern.wait_for_record(|record| record["event"] == "connection.refused");
        assert_eq!(record["reason"], reason, "{record}");
        wait_until("the log says what to do", || advice.iter().all(|words| self.postern.log().contains(words)));
        self.keeps_the_secret();
    }

    /// The impostor heard no more: least of all the proof of a password.
    #[track_caller]
    fn says_no_more(&self) {
        let heard = self.heard.as_ref().unwrap().recv_timeout(PATIENCE).unwrap();
        assert!(heard.is_empty(), "the impostor was told {}", heard.escape_ascii());
    }

    #[track_caller]
    fn keeps_the_secret(&self) {
        let said = self.postern.log() + &self.postern.audit_lines().concat();
        assert!(!said.contains("se:cr"), "{said}");
    }
}

#[test]
fn a_backend_that_asks_for_scram_is_given_the_password_of_the_role() {
    for installation in Installation::both() {
        for way in [Way::UnixSocket, Way::Loopback] {
            let passfile = format!("# the first line that matches counts\n*:1:*:*:wrong\n*:*:postgres:alice:{ESCAPED}\n*:*:*:*:wrong\n");
            let stage = Stage::before(&installation, way, "scram-sha-256", "scram-sha-256", &passfile);
            let mut wire = stage.alice().unwrap_or_else(|refusal| panic!("{way:?}: {refusal}"));
            assert_eq!(wire.rows("select session_user"), [[Some("alice".to_owned())]]);
            stage.keeps_the_secret();
        }
    }
}

#[test]
fn the_backend_authenticated_the_role_by_scram_and_nothing_else() {
    let stage = Stage::before(&Installation::eighteen(), Way::UnixSocket, "scram-sha-256", "scram-sha-256", &format!("*:*:*:*:{ESCAPED}"));
    assert_eq!(stage.alice().unwrap().rows("select system_user"), [[Some("scram-sha-256:alice".to_owned())]]);
}

#[test]
fn physical_replication_finds_its_password_under_the_database_replication() {
    let stage = Stage::scram(Way::UnixSocket, &format!("*:*:replication:walreceiver:{ESCAPED}\n"));
    let mut wire = stage.log_in(&[("user", "walreceiver"), ("replication", "true")]).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(wire.rows("IDENTIFY_SYSTEM").len(), 1);
}

#[test]
fn a_backend_that_trusts_postern_needs_no_password() {
    for way in [Way::UnixSocket, Way::Loopback] {
        let stage = Stage::before(&Installation::debian(), way, "trust", "scram-sha-256", "*:*:*:bob:unused\n");
        stage.alice().unwrap_or_else(|refusal| panic!("{way:?}: {refusal}"));
    }
}

#[test]
fn a_password_that_the_backend_does_not_take_is_named_to_the_operator() {
    for way in [Way::UnixSocket, Way::Loopback] {
        Stage::scram(way, "*:*:*:alice:se:cr\n").refuses(
            "backend_refused",
            "The database server did not accept the password that is configured here.",
            &["28P01", "backend.passfile", "correct the line"],
        );
    }
}

#[test]
fn a_role_without_a_line_in_the_password_file_is_refused() {
    for way in [Way::UnixSocket, Way::Loopback] {
        Stage::scram(way, &format!("*:*:*:bob:{ESCAPED}\n")).refuses(
            "backend_refused",
            NO_PASSWORD,
            &["backend.passfile has none", "add a line"],
        );
    }
}

#[test]
fn md5_and_cleartext_are_refused_with_the_line_to_change() {
    for installation in Installation::both() {
        for (method, encryption) in [("md5", "md5"), ("password", "scram-sha-256")] {
            let way = if method == "md5" { Way::UnixSocket } else { Way::Loopback };
            let stage = Stage::before(&installation, way, method, encryption, &format!("*:*:*:alice:{ESCAPED}\n"));
            let advice = [&format!("(method {method}"), "pg_hba.conf", "peer", "scram-sha-256"];
            stage.refuses("backend_refused", NO_PASSWORD, &advice);
        }
    }
}

#[test]
fn the_method_md5_is_no_fault_where_the_password_is_stored_for_scram() {
    let stage = Stage::before(&Installation::debian(), Way::UnixSocket, "md5", "scram-sha-256", &format!("*:*:*:alice:{ESCAPED}\n"));
    stage.alice().unwrap_or_else(|refusal| panic!("{refusal}"));
}

#[test]
fn who_lets_alice_in_without_her_password_is_not_the_backend() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", admit);
    stage.refuses("backend_protocol", NOT_VERIFIED, &["did not prove that it knows the role's password"]);
    stage.says_no_more();
}

#[test]
fn a_role_without_a_password_expects_no_proof() {
    let stage = Stage::impostor("*:*:*:bob:se:cr\n", admit);
    stage.alice().unwrap_or_else(|refusal| panic!("{refusal}"));
}

#[test]
fn who_leaves_the_exchange_before_its_proof_is_not_the_backend() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", |stream| {
        challenge(stream, 4096);
        read_message(stream);
        admit(stream);
    });
    stage.refuses("backend_protocol", NOT_VERIFIED, &["did not prove"]);
}

#[test]
fn who_signs_wrongly_is_not_the_backend() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", |stream| {
        challenge(stream, 4096);
        read_message(stream);
        let signature = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        stream.write_all(&authentication(12, signature)).unwrap();
        admit(stream);
    });
    stage.refuses("backend_protocol", NOT_VERIFIED, &["did not prove"]);
}

#[test]
fn a_refusal_ahead_of_any_proof_is_no_wrong_password_and_reaches_nobody_but_the_operator() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", |stream| {
        let negotiated = message('v', b"\0\x03\0\0\0\0\0\x01_pq_.words for alice\0");
        let starting = message('E', b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0");
        stream.write_all(&[negotiated, starting].concat()).unwrap();
    });
    let advice = ["57P03 the database system is starting up", "not passed on", "if PostgreSQL is starting"];
    stage.refuses("backend_refused", "The database server refused the connection before it could be verified.", &advice);
    stage.says_no_more();
}

#[test]
fn ten_million_iterations_are_refused_and_not_computed() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", |stream| challenge(stream, 10_000_000));
    let begun = Instant::now();
    stage.refuses("backend_protocol", INVALID, &["too many iterations"]);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    stage.says_no_more();
}

#[test]
fn a_challenge_with_another_nonce_is_not_answered() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", |stream| {
        stream.write_all(&authentication(10, b"SCRAM-SHA-256\0\0")).unwrap();
        read_message(stream);
        stream.write_all(&authentication(11, b"r=replayed,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096")).unwrap();
    });
    stage.refuses("backend_protocol", INVALID, &["SCRAM exchange is malformed"]);
    stage.says_no_more();
}

#[test]
fn mechanisms_without_scram_sha_256_are_refused() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", |stream| {
        stream.write_all(&authentication(10, b"SCRAM-SHA-256-PLUS\0OAUTHBEARER\0\0")).unwrap();
    });
    stage.refuses("backend_refused", NO_PASSWORD, &["without SCRAM-SHA-256"]);
    stage.says_no_more();
}

#[test]
fn check_faults_a_password_file_that_others_may_read_and_every_line_that_is_none() {
    let stage = Stage::impostor("*:*:*:alice:se:cr\n", |_| {});
    let check = |passfile: &str, mode: u32| {
        write_passfile(&stage.config, passfile, mode);
        let output = postern(&["check", "-c", stage.config.write().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    let line = stage.config.yaml().lines().position(|line| line.starts_with("backend:")).unwrap() + 1;
    let faults = check("*:*:*:alice:se:cr\n", 0o644);
    assert!(faults.contains(&format!("postern.yaml:{line}:")) && faults.contains("backend.passfile"), "{faults}");
    let advice = format!("chmod 0600 {}", stage.config.dir().join("passfile").display());
    assert!(faults.contains("mode 0644") && faults.contains(&advice), "{faults}");

    let faults = check("*:*:*:alice:se:cr\nse:cr\n*:*:*:alice:\n", 0o600);
    assert!(faults.contains("/passfile: line 2: ") && faults.contains("/passfile: line 3: ") && !faults.contains("se:cr"), "{faults}");
}

fn write_passfile(config: &Config, lines: &str, mode: u32) {
    let path = config.dir().join("passfile");
    fs::write(&path, lines).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn authentication(code: u32, body: &[u8]) -> Vec<u8> {
    message('R', &[&code.to_be_bytes(), body].concat())
}

/// AuthenticationOk, BackendKeyData, ReadyForQuery.
pub fn admit(stream: &mut TcpStream) {
    let key = message('K', &[0, 0, 0, 7, 0, 0, 0, 9]);
    drop(stream.write_all(&[authentication(0, b""), key, message('Z', b"I")].concat()));
}

/// Offers SCRAM-SHA-256, reads the client's first message and answers it as PostgreSQL does, but for the number of iterations.
pub fn challenge(stream: &mut TcpStream, iterations: u32) {
    stream.write_all(&authentication(10, b"SCRAM-SHA-256\0\0")).unwrap();
    let first = String::from_utf8(read_message(stream)).unwrap();
    let nonce = first.split("r=").nth(1).unwrap();
    let challenge = format!("r={nonce}more,s=c2FsdHNhbHRzYWx0c2FsdA==,i={iterations}");
    stream.write_all(&authentication(11, challenge.as_bytes())).unwrap();
}

pub fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    stream.read_exact(&mut [0]).unwrap();
    read_body(stream)
}

/// A listener on loopback that hands each connection, its StartupMessage read, to `act`; and what it heard after that.
pub fn impostor(act: impl Fn(&mut TcpStream) + Send + 'static) -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            read_body(&mut stream);
            act(&mut stream);
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest));
            drop(tell.send(rest));
        }
    });
    (port, heard)
}

pub fn read_body(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body).unwrap();
    body
}

const NO_PASSWORD: &str = "The database server asks for a password that is not configured here.";
const NOT_VERIFIED: &str = "The database server could not be verified.";
const INVALID: &str = "The database server sent an invalid answer.";
