//! The audit trail: one record for each fact, whole, in order, and never in the words of a stranger.

use std::fs;

use serde_json::Value;

use crate::harness::pki::Profile;
use crate::harness::wire::{TlsOptions, Wire, old_client_hello, packet, ssl_request, startup};
use crate::harness::{World, wait_until};

#[test]
fn a_session_leaves_its_beginning_and_its_end() {
    let world = World::new();
    let mut wire = world.log_in();
    let port = wire.local_port();
    wire.rows("select 1");
    wire.send_message('X', b"");
    wire.read_to_end();

    let postern = world.postern();
    let end = postern.wait_for_record(|record| record["event"] == "session.end");
    let start = postern.wait_for_record(|record| record["event"] == "session.start");
    assert_eq!(start["session"], end["session"]);
    assert_eq!((&start["client"]["address"], &start["client"]["port"]), (&"127.0.0.1".into(), &port.into()));
    assert_eq!((&start["tls"]["version"], &start["tls"]["negotiation"]), (&"TLSv1.3".into(), &"postgres".into()));
    assert_eq!((&start["cert"]["cn"], &start["cert"]["subject"]), (&"alice".into(), &"CN=alice".into()));
    assert_eq!(start["cert"]["issuer"], "CN=client-ca");
    assert_eq!((&start["startup"]["user"], &start["startup"]["database"]), (&"alice".into(), &"postgres".into()));
    assert_eq!((&start["decision"]["role"], &start["decision"]["rule"]), (&"alice".into(), &"hba[0]".into()));
    assert!(start["backend"]["pid"].is_u64() && start["setup_ms"].is_number(), "{start}");
    assert_eq!(end["reason"], "client");
    assert!(end["bytes_in"].as_u64() > Some(0) && end["bytes_out"].as_u64() > Some(0) && end["duration_ms"].is_number(), "{end}");
}

#[test]
fn the_beginning_is_written_before_the_client_is_ready() {
    let file = crate::harness::postgres::private_dir();
    let file = file.path().join("audit.jsonl");
    let world = World::configured(|config| config.audit_file(&file));
    let _session = world.log_in();
    assert!(fs::read_to_string(&file).unwrap().contains("\"session.start\""));
}

#[test]
fn every_refusal_has_its_reason() {
    let world = World::configured(|config| {
        config.with_crl().with(
            "hba:
              - { database: rejected, user: all, address: all, method: reject }
              - { database: postgres, user: all, address: all, method: cert }",
        )
    });
    let alice = || startup(&[("user", "alice"), ("database", "postgres")]);
    let with = |profile| Some(world.pki.client(profile));
    let cases: Vec<(&str, Option<_>, Vec<u8>)> = vec![
        ("no_certificate", None, alice()),
        ("cert_untrusted", with(Profile::OtherCaSameName), alice()),
        ("cert_expired", with(Profile::Expired), alice()),
        ("cert_not_yet_valid", with(Profile::NotYetValid), alice()),
        ("cert_revoked", with(Profile::Revoked), alice()),
        ("crl_expired", with(Profile::ByRootWithStaleCrl), alice()),
        ("cert_purpose", with(Profile::EkuServerOnly), alice()),
        ("identity", with(Profile::NoCn), alice()),
        ("identity", with(Profile::TwoCns), alice()),
        ("identity", with(Profile::NulInCn), alice()),
        ("identity", with(Profile::Good), startup(&[("user", "bob"), ("database", "postgres")])),
        ("hba_no_match", with(Profile::Good), startup(&[("user", "alice"), ("database", "app")])),
        ("hba_reject", with(Profile::Good), startup(&[("user", "alice"), ("database", "rejected")])),
        ("protocol", with(Profile::Good), packet(4 << 16, b"user\0alice\0\0")),
        ("protocol", with(Profile::Good), packet(3 << 16, b"user\0alice\0")),
        ("backend_refused", Some(world.pki.named("ghost")), startup(&[("user", "ghost"), ("database", "postgres")])),
    ];
    for (reason, credentials, first) in cases {
        let seen = world.postern().audit_lines().len();
        if let Ok(mut wire) = Wire::connect_tls(world.address(), &TlsOptions::with(credentials)) {
            wire.send(&first);
            wire.read_to_end();
        }
        refused_since(&world, seen, reason);
    }

    for (reason, bytes) in [("plaintext", alice()), ("protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec())] {
        let seen = world.postern().audit_lines().len();
        let mut wire = Wire::connect(world.address());
        wire.send(&bytes);
        wire.read_to_end();
        refused_since(&world, seen, reason);
    }

    for (reason, bytes) in [("tls_version", old_client_hello(0x0303)), ("protocol", alice())] {
        let seen = world.postern().audit_lines().len();
        let mut wire = Wire::connect(world.address());
        wire.send(&ssl_request());
        wire.read_exactly(1).unwrap();
        wire.send(&bytes);
        wire.read_to_end();
        refused_since(&world, seen, reason);
    }

    for alpn in [None, Some("h2")] {
        let seen = world.postern().audit_lines().len();
        let options = alpn.iter().fold(TlsOptions::with(with(Profile::Good)), |options, protocol| options.alpn(protocol));
        let mut wire = Wire::connect(world.address());
        if wire.start_tls(&options).is_ok() {
            wire.read_to_end();
        }
        refused_since(&world, seen, "tls_alpn");
    }
}

#[track_caller]
fn refused_since(world: &World, seen: usize, reason: &str) {
    let mut record = Value::Null;
    wait_until(&format!("a refusal is recorded, for {reason}"), || {
        let found = world.postern().records().into_iter().skip(seen).find(|record| record["event"] == "connection.refused");
        record = found.unwrap_or_default();
        !record.is_null()
    });
    assert_eq!(record["reason"], reason, "{record}");
}

#[test]
fn a_refusal_says_what_the_client_was_told() {
    let world = World::new();
    assert!(Wire::log_in(world.address(), &world.alice, "bob").is_err());
    let refused = world.postern().wait_for_record(|record| record["event"] == "connection.refused");
    assert_eq!((&refused["reason"], &refused["sqlstate"]), (&"identity".into(), &"28000".into()));
    assert_eq!(refused["message"], "certificate authentication failed for user \"bob\"");
    assert_eq!((&refused["cert"]["cn"], &refused["startup"]["user"]), (&"alice".into(), &"bob".into()));
}

#[test]
fn a_probe_leaves_no_record() {
    let world = World::new();
    for _ in 0..5 {
        let mut probe = Wire::connect(world.address());
        probe.shutdown_write();
        probe.read_to_end();
    }
    Wire::connect(world.address()).reset();
    world.log_in();
    world.postern().wait_for_record(|record| record["event"] == "session.start");
    let refused = world.postern().records().into_iter().find(|record| record["event"] == "connection.refused");
    assert_eq!(refused, None);
}

#[test]
fn the_chain_of_records_holds() {
    let world = World::new();
    for i in 0..20 {
        if i % 2 == 0 {
            world.log_in();
        } else {
            assert!(Wire::log_in(world.address(), &world.alice, "bob").is_err());
        }
    }
    let mut ended = 0;
    world.postern().wait_for_record(|record| {
        ended += u32::from(record["event"] == "session.end");
        ended == 10
    });

    let lines = world.postern().audit_lines();
    let records = world.postern().records();
    assert_eq!(records[0]["event"], "daemon.start");
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record["v"], 1);
        assert_eq!(record["boot"], records[0]["boot"]);
        assert_eq!(record["seq"].as_u64(), records[0]["seq"].as_u64().map(|first| first + i as u64));
        if i > 0 {
            assert_eq!(record["prev"], sha256(&lines[i - 1]), "line {i} does not continue the one before");
        }
    }
}

#[test]
fn nobody_writes_a_line_of_their_own() {
    let world = World::new();
    let forged = "{\"event\":\"session.start\",\"session\":\"forged\"}";
    let texts: [&[u8]; 8] = [
        b"plain",
        b"a\nb",
        b"a\r\nb",
        b"\x1b[2Jcleared",
        b"\xff\xfe\x80",
        b"quote\"back\\slash",
        "line\u{2028}separator\u{85}\u{feff}".as_bytes(),
        forged.as_bytes(),
    ];
    for text in texts {
        let framed = [b"x\n", text, b"\n"].concat();
        let parameters = [&b"user\0"[..], &framed, b"\0database\0", &framed, b"\0application_name\0", &framed, b"\0\0"].concat();
        let mut clear = Wire::connect(world.address());
        clear.send(&packet(3 << 16, &parameters));
        clear.read_to_end();
        let mut inside = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
        inside.send(&packet(3 << 16, &parameters));
        inside.read_to_end();
    }
    for profile in [Profile::NewlineInOrganization, Profile::EscInCn, Profile::NewlineInCn, Profile::InvalidUtf8Cn, Profile::QuotedCn] {
        let refused = Wire::log_in(world.address(), &world.pki.client(profile), "bob");
        assert!(refused.is_err());
    }
    world.log_in();
    world.postern().wait_for_record(|record| record["event"] == "session.start");

    let boot = world.postern().records()[0]["boot"].clone();
    for (line, record) in world.postern().audit_lines().iter().zip(world.postern().records()) {
        assert_eq!(record["boot"], boot, "{line}");
        assert_ne!(record["session"], "forged", "{line}");
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line:?}");
        assert!(line.len() <= 64 * 1024);
    }
    assert!(!world.postern().log().contains('\x1b'), "the log passes escape sequences on");
}

#[test]
fn a_name_that_is_not_clean_text_stands_beside_its_bytes_in_hex() {
    let world = World::new();
    let mut wire = Wire::connect(world.address());
    wire.send(&packet(3 << 16, b"user\0al\xffice\0\0"));
    wire.read_to_end();
    let refused = world.postern().wait_for_record(|record| record["event"] == "connection.refused");
    assert_eq!(refused["startup"]["user"], "al\u{fffd}ice");
    assert_eq!(refused["startup"]["user_hex"], "616cff696365");
}

#[test]
fn a_trail_in_a_file_goes_on_where_it_was() {
    let dir = crate::harness::postgres::private_dir();
    let file = dir.path().join("audit.jsonl");
    fs::write(&file, "a torn line").unwrap();
    for boots in 1..=2 {
        let world = World::configured(|config| config.audit_file(&file));
        world.log_in();
        drop(world);
        let text = fs::read_to_string(&file).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("a torn line"));
        let records: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.iter().filter(|record| record["event"] == "daemon.start").count(), boots);
        assert_eq!(records.iter().filter(|record| record["event"] == "session.end").count(), boots);
    }
}

#[test]
fn a_flood_of_certless_refusals_is_merged() {
    let world = World::new();
    for _ in 0..60 {
        let mut wire = Wire::connect(world.address());
        wire.send(&startup(&[("user", "alice")]));
        wire.read_to_end();
    }
    let mut counted = 0;
    let mut records = 0;
    wait_until("all sixty are accounted for", || {
        let refused: Vec<Value> = world.postern().records().into_iter().filter(|record| record["event"] == "connection.refused").collect();
        counted = refused.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
        records = refused.len();
        counted >= 60
    });
    assert_eq!(counted, 60);
    assert!(records < 60, "{records} records for 60 refusals");
}

/// In lower-case hex.
fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
