//! Refusals: every client learns why, or is left in the silence that PostgreSQL would leave it in.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::World;
use crate::harness::clients::{Clients, failed};
use crate::harness::pki::{Credentials, Profile};
use crate::harness::wire::{End, Refusal, TlsOptions, Wire, gssenc_request, ssl_request, startup};

#[test]
fn a_thousand_refusals_are_all_explained() {
    let world = World::new();
    let kinds: [(&str, Option<Credentials>, &str); 5] = [
        ("FATAL 28000 connection requires a valid client certificate", None, "alice"),
        ("FATAL 28000 certificate authentication failed for user \"bob\"", Some(world.alice.clone()), "bob"),
        ("alert CertificateExpired", Some(world.pki.client(Profile::Expired)), "alice"),
        ("alert UnknownCA", Some(world.pki.client(Profile::SelfSigned)), "alice"),
        ("alert UnsupportedCertificate", Some(world.pki.client(Profile::EkuServerOnly)), "alice"),
    ];

    let unexplained: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..250)
                        .map(|i| &kinds[i % kinds.len()])
                        .filter_map(|(expected, credentials, user)| {
                            let found = attempt(&world, credentials.clone(), user);
                            (found != *expected).then(|| format!("{expected}: {found}"))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });

    assert!(unexplained.is_empty(), "{} of 1000: {:?}", unexplained.len(), &unexplained[..unexplained.len().min(5)]);
}

fn attempt(world: &World, credentials: Option<Credentials>, user: &str) -> String {
    let mut wire = match Wire::connect_tls(world.address(), &TlsOptions::with(credentials)) {
        Ok(wire) => wire,
        Err(end) => return end.to_string(),
    };
    wire.send(&startup(&[("user", user), ("database", "postgres")]));
    match wire.until_ready() {
        Ok(_) => "logged in".into(),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn a_refused_client_that_keeps_talking_still_reads_why() {
    let world = World::new();
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(None)).unwrap();
    wire.send(&startup(&[("user", "alice")]));
    // More than socket buffers hold: a server that closed with this unread would answer with a reset.
    wire.send(&vec![b'x'; 1 << 20]);
    let refusal = wire.until_ready().unwrap_err();
    assert_eq!(refusal.to_string(), "FATAL 28000 connection requires a valid client certificate");
}

#[test]
fn the_backend_is_not_asked_about_a_client_that_is_refused() {
    let world = World::new();
    world.postern();
    let connections = || world.postgres.log().matches("connection received").count();
    let before = connections();
    for (credentials, user) in [(None, "alice"), (Some(world.alice.clone()), "bob"), (Some(world.pki.client(Profile::Revoked)), "nobody")] {
        attempt(&world, credentials, user);
    }
    assert_eq!(connections(), before);
}

#[test]
fn the_login_time_is_absolute_and_its_end_silent() {
    let world = World::configured(|config| config.with("limits: { authentication_timeout: 1s }"));
    let in_tls = || Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    let in_the_clear = |bytes: &[u8]| {
        let mut wire = Wire::connect(world.address());
        wire.send(bytes);
        wire
    };
    let stages: Vec<(&str, Wire, &[u8])> = vec![
        ("nothing", in_the_clear(b""), b""),
        ("half a length", in_the_clear(&[0, 0]), b""),
        ("half a packet", in_the_clear(&startup(&[("user", "alice")])[..15]), b""),
        ("SSLRequest", in_the_clear(&ssl_request()), b"S"),
        ("GSSENCRequest", in_the_clear(&gssenc_request()), b"N"),
        ("half a ClientHello", in_the_clear(&[&ssl_request()[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]].concat()), b"S"),
        ("a handshake", in_tls(), b""),
        ("a handshake and half a packet", in_tls().and_sends(&startup(&[("user", "alice")])[..15]), b""),
    ];
    let begun = Instant::now();
    for (stage, mut wire, expected) in stages {
        let (said, end) = wire.read_to_end();
        assert_eq!(said, expected, "after {stage}");
        assert!(matches!(end, End::Fin | End::Closed), "after {stage}: {end}");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
}

#[test]
fn bytes_that_trickle_do_not_extend_the_login_time() {
    let world = World::configured(|config| config.with("limits: { authentication_timeout: 1s }"));
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    wire.set_patience(Duration::from_millis(100));
    let begun = Instant::now();
    let end = startup(&[("user", "alice"), ("application_name", &"x".repeat(200))])
        .iter()
        .find_map(|byte| {
            wire.send(&[*byte]);
            wire.read_exactly(1).err().filter(|end| *end != End::Timeout)
        })
        .unwrap();
    assert!(matches!(end, End::Fin | End::Closed), "{end}");
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    world.postern().wait_for_record(|record| record["event"] == "connection.refused" && record["reason"] == "timeout");
}

#[test]
fn a_client_that_knows_tls_1_2_only_is_told_so_by_an_alert() {
    let world = World::new();
    for clients in [Clients::debian(), Clients::eighteen()] {
        let conninfo = format!("{} ssl_max_protocol_version=TLSv1.2", world.conninfo());
        let complaint = failed(clients.psql(&conninfo, "select 1"));
        assert!(complaint.contains("alert protocol version"), "{complaint}");
    }
}

#[test]
fn a_client_byte_by_byte_is_served() {
    let world = World::new();
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    for byte in startup(&[("user", "alice"), ("database", "postgres")]) {
        wire.send(&[byte]);
    }
    wire.until_ready().unwrap();
    assert_eq!(wire.rows("select session_user"), [[Some("alice".to_owned())]]);
}

#[test]
fn a_second_startup_message_is_no_second_chance() {
    let world = World::new();
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    let alice = startup(&[("user", "alice"), ("database", "postgres")]);
    let bob = startup(&[("user", "bob"), ("database", "postgres")]);
    wire.send(&[alice, bob].concat());
    // To the backend, the second is a message of an invalid type.
    wire.until_ready().unwrap();
    let refusal = wire.until_ready().unwrap_err();
    assert!(matches!(&refusal, Refusal::Error(fields) if fields.severity == "FATAL" && fields.sqlstate == "08P01"), "{refusal}");
}

impl Wire {
    fn and_sends(mut self, bytes: &[u8]) -> Self {
        self.send(bytes);
        self
    }
}
