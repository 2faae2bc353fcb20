//! `scram-sha-256` with `clientcert: verify-full`: the certificate counts and the password too. The backend asks, the client answers,
//! and a backend that does not ask lets nobody in.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::Receiver;
use std::thread;

use crate::harness::clients::{Clients, failed, psycopg, succeeded};
use crate::harness::daemon::{Config, Daemon};
use crate::harness::pki::{CredentialFiles, Pki};
use crate::harness::postgres::{Installation, Postgres};
use crate::harness::wait_until;
use crate::harness::wire::{PATIENCE, Refusal, TlsOptions, Wire, message, startup};
use crate::scram::{admit, authentication, challenge, impostor, read_body, read_message};

/// Rules that ask alice for a password beside her certificate.
const BOTH: &str = "hba:
  - { database: all, user: alice, address: all, method: scram-sha-256, clientcert: verify-full }
  - { database: replication, user: alice, address: all, method: scram-sha-256, clientcert: verify-full }";

struct Stage {
    // Fields are dropped from top to bottom: the daemon leaves before its database does.
    postern: Daemon,
    pki: Pki,
    config: Config,
    postgres: Option<Postgres>,
    /// What an impostor still heard when it had said all it had to say.
    heard: Option<Receiver<Vec<u8>>>,
}

impl Stage {
    /// In front of a PostgreSQL that asks for alice's password, `secret`.
    fn before(installation: &Installation, hba: &str) -> Self {
        let postgres = Postgres::local(installation, hba);
        postgres.sql("create role alice login replication password 'secret'; create role bob login password 'secret'");
        let host = postgres.dir.path().display().to_string();
        let port = postgres.port;
        Self { postgres: Some(postgres), ..Self::at(&host, port) }
    }

    fn scram(installation: &Installation) -> Self {
        Self::before(installation, "local all all scram-sha-256\nlocal replication all scram-sha-256\n")
    }

    /// In front of a listener that hands each connection, its StartupMessage read, to `act`.
    fn impostor(act: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let (port, heard) = impostor(act);
        Self { heard: Some(heard), ..Self::at("127.0.0.1", port) }
    }

    /// With a password file that would let everybody in: such a rule must not use it.
    fn at(host: &str, port: u16) -> Self {
        let pki = Pki::new();
        let config = Config::new(&pki, "/nonexistent".as_ref(), 0)
            .backend(&format!("{{ host: {host}, port: {port}, passfile: passfile }}"))
            .with(BOTH);
        let passfile = config.dir().join("passfile");
        std::fs::write(&passfile, "*:*:*:*:secret\n").unwrap();
        std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { postern: Daemon::start(&config), pki, config, postgres: None, heard: None }
    }

    /// How `user` connects by the certificate of `owner`, for libpq.
    fn conninfo(&self, user: &str, owner: &str, more: &str) -> String {
        let CredentialFiles { certificate, key } = self.pki.named(owner).write(self.config.dir(), owner);
        format!(
            "host=127.0.0.1 port={} user={user} dbname=postgres sslmode=require sslcert={} sslkey={} {more}",
            self.postern.port,
            certificate.display(),
            key.display()
        )
    }

    fn psql(&self, conninfo: &str) -> std::process::Output {
        let postgres = self.postgres.as_ref().unwrap();
        Clients::for_server(&postgres.installation).psql(conninfo, "select session_user")
    }

    /// Alice with her certificate, after her StartupMessage.
    fn alice(&self) -> Wire {
        let mut wire = Wire::connect_tls(self.postern.address(), &TlsOptions::with(Some(self.pki.named("alice")))).unwrap();
        wire.send(&startup(&[("user", "alice"), ("database", "postgres")]));
        wire
    }

    /// Alice with her certificate, asked for her password.
    #[track_caller]
    fn asked(&self) -> Wire {
        let mut wire = self.alice();
        assert_eq!(wire.read_message().unwrap().body, b"\0\0\0\x0aSCRAM-SHA-256\0\0", "the one mechanism that is offered");
        wire
    }

    /// Alice reads that her password failed, and nothing after it; the operator reads more.
    #[track_caller]
    fn refuses(&self, mut wire: Wire, words: &str) {
        let Err(Refusal::Error(fields)) = wire.until_ready() else { panic!("alice was to be refused") };
        assert_eq!(fields.to_string(), "FATAL 28P01 password authentication failed for user \"alice\"");
        assert!(wire.read_to_end().0.is_empty());
        let record = self.postern.wait_for_record(|record| record["event"] == "connection.refused");
        assert_eq!(record["reason"], "backend_protocol", "{record}");
        wait_until("the log says what to do", || self.postern.log().contains(words));
    }
}

#[test]
fn the_certificate_and_the_password_let_in_and_neither_does_alone() {
    for installation in Installation::both() {
        let stage = Stage::scram(&installation);
        let right = stage.conninfo("alice", "alice", "password=secret");
        assert_eq!(succeeded(stage.psql(&right)).trim_end(), "alice");
        let wrong = failed(stage.psql(&stage.conninfo("alice", "alice", "password=wrong")));
        assert!(wrong.contains("password authentication failed for user \"alice\""), "{wrong}");
        let none = failed(stage.psql(&stage.conninfo("alice", "alice", "")));
        assert!(none.contains("Password for user alice"), "{none}");
        let others = failed(stage.psql(&stage.conninfo("alice", "bob", "password=secret")));
        assert!(others.contains("password authentication failed for user \"alice\""), "{others}");
        let certless = failed(stage.psql(&stage.conninfo("alice", "alice", "password=secret sslcert=/nonexistent sslkey=/nonexistent")));
        assert!(certless.contains("connection requires a valid client certificate"), "{certless}");
    }
}

#[test]
fn the_backend_saw_the_clients_own_password() {
    let stage = Stage::scram(&Installation::eighteen());
    let conninfo = stage.conninfo("alice", "alice", "password=secret");
    let clients = Clients::eighteen();
    assert_eq!(succeeded(clients.psql(&conninfo, "select system_user")).trim_end(), "scram-sha-256:alice");
}

#[test]
fn psycopg_and_replication_come_through_it_too() {
    for installation in Installation::both() {
        let stage = Stage::scram(&installation);
        let conninfo = stage.conninfo("alice", "alice", "password=secret");
        let script = "with psycopg.connect(conninfo) as session: print(session.execute('select 42').fetchone()[0])";
        assert_eq!(succeeded(psycopg(&conninfo, script)).trim_end(), "42");
        let clients = Clients::for_server(&installation);
        let identified = succeeded(clients.psql(&format!("{conninfo} replication=true"), "IDENTIFY_SYSTEM"));
        assert!(!identified.is_empty());
    }
}

#[test]
fn a_client_that_requires_channel_binding_leaves_and_one_that_prefers_it_stays() {
    let stage = Stage::scram(&Installation::debian());
    let said = failed(stage.psql(&stage.conninfo("alice", "alice", "password=secret channel_binding=require")));
    assert!(said.contains("channel binding"), "{said}");
    succeeded(stage.psql(&stage.conninfo("alice", "alice", "password=secret channel_binding=prefer")));
}

#[test]
fn a_backend_that_asks_for_nothing_lets_nobody_in() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "local all all trust\n");
        stage.refuses(stage.alice(), "the method scram-sha-256");
    }
}

#[test]
fn a_backend_that_asks_for_the_password_otherwise_is_told_nothing() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "local all all password\n");
        stage.refuses(stage.alice(), "cleartext password");
    }
    let stage = Stage::impostor(|stream| drop(stream.write_all(&authentication(5, b"salt"))));
    stage.refuses(stage.alice(), "an MD5 password");
    assert!(stage.heard.as_ref().unwrap().recv_timeout(PATIENCE).unwrap().is_empty());
}

#[test]
fn only_scram_sha_256_is_offered_on() {
    let stage = Stage::impostor(|stream| {
        drop(stream.write_all(&authentication(10, b"SCRAM-SHA-256-PLUS\0OAUTHBEARER\0SCRAM-SHA-256\0\0")));
    });
    stage.asked();
    let stage = Stage::impostor(|stream| drop(stream.write_all(&authentication(10, b"SCRAM-SHA-256-PLUS\0OAUTHBEARER\0\0"))));
    stage.refuses(stage.alice(), "without SCRAM-SHA-256");
}

#[test]
fn a_backend_that_leaves_the_exchange_before_its_end_lets_nobody_in() {
    let stage = Stage::impostor(|stream| {
        challenge(stream, 4096);
        admit(stream);
    });
    let mut wire = stage.asked();
    wire.send_message('p', b"SCRAM-SHA-256\0\0\0\0\x08n,,n=,r=");
    assert!(wire.read_message().unwrap().body.starts_with(&[0, 0, 0, 11]));
    wire.send_message('p', b"c=biws,r=,p=");
    stage.refuses(wire, "without one");
}

#[test]
fn what_stands_behind_an_authentication_that_was_not_asked_for_reaches_nobody() {
    let stage = Stage::impostor(|stream| {
        let loud = message('S', b"trap\0sprung\0");
        drop(stream.write_all(&[authentication(0, b""), loud, message('Z', b"I")].concat()));
    });
    stage.refuses(stage.alice(), "without one");
}

#[test]
fn the_client_says_its_password_and_nothing_else() {
    for (kind, body, said) in [
        ('Q', &b"select 1\0"[..], Some("FATAL 08P01 expected SASL response, got message type 81")),
        ('p', b"PLAIN\0\0\0\0\x01x", Some("FATAL 08P01 client selected an invalid SASL authentication mechanism")),
        ('p', b"SCRAM-SHA-256-PLUS\0\0\0\0\x08n,,n=,r=", Some("FATAL 08P01 client selected an invalid SASL authentication mechanism")),
        ('p', &[b'a'; 1021], None),
    ] {
        let stage = Stage::impostor(|stream| drop(stream.write_all(&authentication(10, b"SCRAM-SHA-256\0\0"))));
        let mut wire = stage.asked();
        wire.send_message(kind, body);
        let refusal = wire.until_ready().unwrap_err();
        match (refusal, said) {
            (Refusal::Error(fields), Some(said)) => assert_eq!(fields.to_string(), said),
            (Refusal::End(end), None) => assert!(end.is_orderly(), "{end}"),
            (refusal, said) => panic!("{refusal}, expected {said:?}"),
        }
        let record = stage.postern.wait_for_record(|record| record["event"] == "connection.refused");
        assert_eq!(record["reason"], "protocol", "{record}");
        assert!(stage.heard.as_ref().unwrap().recv_timeout(PATIENCE).unwrap().is_empty(), "the backend heard nothing of it");
    }
}

#[test]
fn the_backends_refusal_before_any_password_is_the_clients() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "local all all reject\n");
        let Err(Refusal::Error(fields)) = stage.alice().until_ready() else { panic!("alice was to be refused") };
        assert_eq!((fields.sqlstate.as_str(), fields.message.starts_with("pg_hba.conf rejects connection")), ("28000", true));
    }
}

#[test]
fn who_does_not_answer_is_gone_when_the_login_has_had_its_time() {
    let pki = Pki::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let backend = format!("{{ host: 127.0.0.1, port: {} }}", listener.local_addr().unwrap().port());
    let config = Config::new(&pki, "/nonexistent".as_ref(), 0).backend(&backend).with(BOTH).with("limits: { authentication_timeout: 1s }");
    let postern = Daemon::start(&config);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_body(&mut stream);
        drop(stream.write_all(&authentication(10, b"SCRAM-SHA-256\0\0")));
        read_message(&mut stream);
    });
    let mut wire = Wire::connect_tls(postern.address(), &TlsOptions::with(Some(pki.named("alice")))).unwrap();
    wire.send(&startup(&[("user", "alice"), ("database", "postgres")]));
    assert!(wire.read_message().unwrap().is('R'));
    assert!(wire.read_to_end().1.is_orderly());
    let record = postern.wait_for_record(|record| record["event"] == "connection.refused");
    assert_eq!(record["reason"], "timeout", "{record}");
}
